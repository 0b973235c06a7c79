package auth_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/bcrypt"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/auth/htpasswd"
	"github.com/seed-16d79997/zot/auth/ldap"
	"github.com/seed-16d79997/zot/auth/token"
)

// told collects what is logged, and what errors and answers say.
type told struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *told) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *told) of(what any) { _, _ = fmt.Fprintf(s, "%+v\n", what) }

// lacks fails the test if a secret was told, in whichever of the forms in which it goes about.
func (s *told) lacks(t *testing.T, secrets map[string]string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.text.String()
	for what, secret := range secrets {
		hash := sha256.Sum256([]byte(secret))
		for form, is := range map[string]string{
			"itself": secret, "its beginning": secret[:min(len(secret), 12)], "in base64": base64.StdEncoding.EncodeToString([]byte(secret)), "in hex": hex.EncodeToString([]byte(secret)),
			"its hash": hex.EncodeToString(hash[:]),
		} {
			if at := strings.Index(text, is); at >= 0 {
				t.Errorf("%s, %s, is told: ...%s...", what, form, text[max(0, at-100):min(len(text), at+200)])
			}
		}
	}
}

// stranger is a server that answers each connection in its own way.
func stranger(t *testing.T, answer func(net.Conn)) (port int) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			answer(c)
			_ = c.Close()
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return l.Addr().(*net.TCPAddr).Port
}

// Whatever goes wrong, no secret is in a log or an error: neither one that somebody sends, nor one that is in a file.
func TestNoSecretIsTold(t *testing.T) {
	t.Parallel()
	said := &told{}
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: said, JSONFormat: true})
	hash, err := bcrypt.GenerateFromPassword([]byte("right-Password-1"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{
		"a right password": "right-Password-1", "a wrong password": "wrong-Password-2", "an LDAP account's password": "bind-Password-3",
		"an API key": "zak_00112233445566778899aabbccddeeff", "what looks like one": "zak_ZZ112233445566778899aabbccddeeff", "a session": strings.Repeat("SeSs10n", 7)[:43], "a bad session": strings.Repeat("badS3ss", 7)[:43],
		"a hash": string(hash), "a hash of another kind": "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "a password in a file": "plain-Password-4", "a foreign token": "Zm9yZWlnbi10b2tlbi01", "a seed": "seed-of-32-bytes-seed-of-32-byte",
	}

	// Files.
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file, notes, err := htpasswd.Open(write("htpasswd", "ann:"+string(hash)+"\nbob:"+secrets["a hash of another kind"]+"\neve:"+secrets["a password in a file"]+"\n"+secrets["a password in a file"]+"\nann:"+string(hash)+"x\n"))
	if err != nil {
		t.Fatal(err)
	}
	said.of(notes)
	for n, content := range []string{
		secrets["an LDAP account's password"], `{"bindDN": "cn=zot", "bindPassword": "` + secrets["an LDAP account's password"], `{"bindPassword": "` + secrets["an LDAP account's password"] + `"}`,
		`{"bindDN": 1, "bindPassword": "` + secrets["an LDAP account's password"] + `"}`,
	} {
		_, err := ldap.ReadAccount(write(fmt.Sprint("account", n), content))
		if err == nil {
			t.Errorf("%s is an account", content)
		}
		said.of(err)
	}
	if _, err := token.New([][]byte{[]byte(secrets["a seed"] + "x")}); err == nil {
		t.Error("33 bytes are a seed")
	} else {
		said.of(err)
	}
	tokens := must(token.New([][]byte{[]byte(secrets["a seed"])}))

	// LDAP servers that are none, or say too much.
	servers := []int{
		1, // nobody listens
		stranger(t, func(net.Conn) {}),
		stranger(t, func(c net.Conn) { _, _ = io.CopyN(c, c, 1<<10) }), // says what it hears, as far as it is that long
		stranger(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }),
	}
	for _, port := range servers {
		for _, insecure := range []bool{true, false} {
			server, err := ldap.Open(ldap.Config{
				Address: "127.0.0.1", Port: port, Insecure: insecure, BaseDN: "dc=example", UserAttribute: "uid", Logger: log, Patience: 200 * time.Millisecond,
				Account: ldap.Account{DN: "cn=zot", Password: secrets["an LDAP account's password"]},
			})
			if err != nil {
				t.Fatal(err)
			}
			for range 4 { // the last is not asked any more
				_, err = server.Verify(t.Context(), "ann", secrets["a right password"])
				said.of(err)
			}
			_, err = server.Reload()
			said.of(err)
			server.Close()
		}
	}

	// Requests, to a gate whose parts hold, and to one whose parts cannot be asked.
	known := keys{secrets["an API key"]: {Owner: "ann", ID: "1"}}
	good := &logins{names: map[string]string{secrets["a session"]: "ann"}}
	proxies := auth.Proxies{netip.MustParsePrefix("10.0.0.0/8")}
	for _, c := range []auth.Config{
		{Methods: []auth.Method{file}, Keys: known, Sessions: good, Tokens: tokens},
		{Methods: []auth.Method{&method{}}, Keys: known, Sessions: &logins{err: errUntold}, Tokens: tokens},
		{Methods: []auth.Method{file}, Rules: compiled(t, map[string]access.Repository{"a": {Anonymous: access.Read}})},
	} {
		c.Logger, c.Proxies = log, proxies
		g := auth.New(c)
		bearer := ""
		if c.Tokens != nil {
			bearer = must(g.Grant(must(g.Identify(asking(t, "ann", secrets["an API key"]))), "r", scopes("repository:a:pull"))).Token
			secrets["a token"+strconv.Itoa(len(secrets))] = bearer
		}
		for _, change := range []func(r *http.Request){
			func(r *http.Request) { r.SetBasicAuth("ann", secrets["a right password"]) },
			func(r *http.Request) { r.SetBasicAuth("ann", secrets["a wrong password"]) },
			func(r *http.Request) { r.SetBasicAuth("nobody", secrets["a wrong password"]) },
			func(r *http.Request) { r.SetBasicAuth(secrets["a wrong password"], "") }, // into the wrong field
			func(r *http.Request) { r.SetBasicAuth("ann", secrets["an API key"]) },
			func(r *http.Request) { r.SetBasicAuth("bob", secrets["an API key"]) },
			func(r *http.Request) { r.SetBasicAuth("ann", secrets["what looks like one"]) },
			func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+bearer) },
			func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+bearer+"x") },
			func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secrets["a foreign token"]) },
			func(r *http.Request) { r.Header.Set("Authorization", "Token "+secrets["a foreign token"]) },
			func(r *http.Request) { r.Header.Set("Authorization", "Basic "+secrets["a foreign token"]) },
			func(r *http.Request) { fromPages(r, secrets["a session"]) },
			func(r *http.Request) { fromPages(r, secrets["a bad session"]) },
		} {
			for range 8 { // until who guesses has to wait
				r := nobody(t)
				r.RemoteAddr = "192.0.2.1:1"
				r.Header.Set("X-Forwarded-For", "198.51.100.1") // which is told of
				change(r)
				caller, err := g.Identify(r)
				said.of(err)
				said.of(caller.Encode())
				said.of(g.Challenge(r, caller, g.Origin(r), []string{"repository:a:pull"}))
				if tooMany, is := errors.AsType[*auth.TooMany](err); is {
					said.of(tooMany.Seconds())
				}
				_, err = g.Logout(httptest.NewRecorder(), r)
				said.of(err)
			}
		}
		_, err := g.LoginByKey(t.Context(), secrets["what looks like one"])
		said.of(err)
		_, err = g.Decode(`{"Name":"ann","Secret":"` + secrets["a wrong password"])
		said.of(err)
	}
	if said.text.Len() < 1000 || !strings.Contains(said.text.String(), "X-Forwarded-For is not believed") {
		t.Errorf("little was told: %s", &said.text)
	}
	said.lacks(t, secrets)
}
