package e2e_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/seed-16d79997/zot/test/e2e/harness"
	"github.com/seed-16d79997/zot/test/e2e/images"
)

// issuer is a token service that is nobody's of ours, with a key of its own: it speaks Docker's token protocol.
type issuer struct {
	URL, Cert string

	t      *testing.T
	signer jose.Signer

	mu    sync.Mutex
	asked []string // "NAME scope ..." of each request that was granted
}

// newIssuer runs one until the test ends.
func newIssuer(t *testing.T) *issuer {
	t.Helper()
	harness.Program(t, "ZOT") // no keys for a test that will be skipped
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{t: t, Cert: filepath.Join(t.TempDir(), "tokens.crt")}
	if err := os.WriteFile(i.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	chain := []string{base64.StdEncoding.EncodeToString(der)} // as other services send along
	i.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithType("JWT").WithHeader("x5c", chain))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(i)
	t.Cleanup(server.Close)
	i.URL = strings.Replace(server.URL, "127.0.0.1", "localhost", 1) + "/token" // crane asks no address that is private
	return i
}

// ServeHTTP makes tokens for alice, who may do everything to team/**, and for everybody to pull from public/**.
func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, password, given := r.BasicAuth()
	if err := r.ParseForm(); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if r.Method == http.MethodPost {
		name, password, given = r.Form.Get("username"), r.Form.Get("password"), true
	}
	if given && (name != "alice" || password != "of alice") || r.Form.Get("service") != "registry.example" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	type access struct {
		Type    string   `json:"type"`
		Name    string   `json:"name"`
		Actions []string `json:"actions"`
	}
	granted := []access{}
	scopes := strings.Fields(strings.Join(r.Form["scope"], " "))
	for _, scope := range scopes {
		parts := strings.SplitN(scope, ":", 3)
		if len(parts) != 3 {
			continue
		}
		actions := strings.Split(parts[2], ",")
		switch {
		case name == "alice" && (strings.HasPrefix(parts[1], "team/") || parts[0] == "registry"):
		case strings.HasPrefix(parts[1], "public/"):
			actions = slices.DeleteFunc(actions, func(a string) bool { return a != "pull" && name != "alice" })
		default:
			actions = nil
		}
		granted = append(granted, access{parts[0], parts[1], actions})
	}
	now := time.Now()
	token, err := jwt.Signed(i.signer).Claims(map[string]any{
		"iss": "auth.example", "sub": name, "aud": "registry.example", "exp": now.Add(5 * time.Minute).Unix(), "nbf": now.Unix(), "iat": now.Unix(), "access": granted,
	}).Serialize()
	if err != nil {
		i.t.Error(err)
	}
	i.mu.Lock()
	i.asked = append(i.asked, name+" "+strings.Join(scopes, " "))
	i.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "access_token": token, "expires_in": 300})
}

// take returns what was asked since the last time.
func (i *issuer) take() (asked []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	asked, i.asked = i.asked, nil
	return asked
}

// wasAsked sees to it that a program has fetched a token as somebody.
func (i *issuer) wasAsked(t *testing.T, what, name string) {
	t.Helper()
	if asked := i.take(); !slices.ContainsFunc(asked, func(one string) bool { return strings.HasPrefix(one, name+" ") }) {
		t.Errorf("%s asks for no token as %q: %q", what, name, asked)
	}
}

// throughSkopeo has alice push the image of a layout, and pull it again, by tokens of the service.
func (i *issuer) throughSkopeo(t *testing.T, name, layout string) {
	t.Helper()
	skopeo(t, "copy", "--preserve-digests", "--dest-tls-verify=false", "--dest-creds", "alice:of alice", "oci:"+layout+":one", name)
	i.wasAsked(t, "skopeo copy to", "alice")
	pulled := t.TempDir()
	skopeo(t, "copy", "--preserve-digests", "--src-tls-verify=false", "--src-creds", "alice:of alice", name, "oci:"+pulled+":pulled")
	same(t, "pulled", in(t, pulled), in(t, layout))
	refused(t, "a wrong password", trySkopeo(t, "inspect", "--tls-verify=false", "--creds", "alice:wrong", name), "unauthorized", "401", "authentication required", "invalid username")
}

// TestForeignTokens has programs log in at another token service, whose tokens each node believes, whichever gets a request.
func TestForeignTokens(t *testing.T) {
	tokens := newIssuer(t)
	section := map[string]any{
		"auth":          map[string]any{"bearer": map[string]any{"realm": tokens.URL, "service": "registry.example", "cert": tokens.Cert}},
		"accessControl": map[string]any{"repositories": map[string]any{"**": map[string]any{"anonymousPolicy": []string{"read", "create", "update", "delete"}}}}, // for nobody
	}
	nodes := harness.StartEach(t, slices.Repeat([]harness.Plan{{HTTP: section}}, 3)...)
	at := harness.Balance(t, ours, nodes...).Address
	one, _ := onePlatform(t, 1600, 2<<20, 100)
	want := in(t, one.Dir)

	t.Run("skopeo", func(t *testing.T) {
		name := "docker://" + at + "/team/skopeo:1"
		tokens.throughSkopeo(t, name, one.Dir)
		skopeo(t, "copy", "--preserve-digests", "--dest-tls-verify=false", "--dest-creds", "alice:of alice", "oci:"+one.Dir+":one", "docker://"+at+"/public/skopeo:1")
		tokens.take()
		skopeo(t, "inspect", "--tls-verify=false", "--no-creds", "docker://"+at+"/public/skopeo:1")
		tokens.wasAsked(t, "skopeo inspect without a name", "")
		refused(t, "skopeo without a name", trySkopeo(t, "inspect", "--tls-verify=false", "--no-creds", name), "unauthorized", "401", "authentication required")
		skopeo(t, "delete", "--tls-verify=false", "--creds", "alice:of alice", name)
	})

	t.Run("crane", func(t *testing.T) {
		t.Setenv("DOCKER_CONFIG", t.TempDir())
		crane(t, "auth", "login", at, "-u", "alice", "-p", "of alice")
		app := at + "/team/crane"
		crane(t, "push", one.Dir, app+":1")
		tokens.wasAsked(t, "crane push", "alice")
		same(t, "pulled", craneLayout(t, app+":1"), want)
		crane(t, "copy", app+":1", at+"/public/crane:1") // mounts
		lists(t, crane(t, "ls", app), "1")
		lists(t, crane(t, "catalog", at), "public/crane", "public/skopeo", "team/crane")
		crane(t, "delete", app+":1")
		t.Setenv("DOCKER_CONFIG", t.TempDir())
		tokens.take()
		crane(t, "digest", at+"/public/crane:1")
		tokens.wasAsked(t, "crane without a name", "")
	})

	t.Run("docker", func(t *testing.T) {
		engine := harness.StartEngine(t)
		t.Setenv("DOCKER_CONFIG", t.TempDir())
		engine.Feed(t, strings.NewReader("of alice"), "login", "--username", "alice", "--password-stdin", at)
		tokens.wasAsked(t, "docker login", "alice")
		name := fmt.Sprintf("%s/public/docker:1", at)
		id := load(t, engine, name, 0, images.Part{Seed: 1700, Size: 1 << 20})
		engine.Run(t, "push", name)
		tokens.wasAsked(t, "docker push", "alice")
		engine.Forget(t, name)
		engine.Run(t, "pull", name)
		holds(t, engine, name, id)
		engine.Forget(t, name)
		engine.Run(t, "logout", at)
		engine.Run(t, "pull", name)
		if err := engine.Try(t, "push", name); err == nil {
			t.Error("docker pushes without a name")
		}
		if err := engine.Try(t, "login", "--username", "alice", "--password", "wrong", at); err == nil {
			t.Error("docker logs in with a wrong password")
		}
	})
}
