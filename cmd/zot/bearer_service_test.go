package main

import (
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// tokenService makes tokens for alice, by Docker's protocol.
type tokenService struct {
	t   *testing.T
	key *ecdsa.PrivateKey

	mu    sync.Mutex
	asked int
}

const alicesPassword = "a password of alice's"

// newTokenService runs one until the test ends.
func newTokenService(t *testing.T, key *ecdsa.PrivateKey) (s *tokenService, url string) {
	t.Helper()
	s = &tokenService{t: t, key: key}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server.URL + "/token?tenant=a"
}

func (s *tokenService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	name, password, given := r.BasicAuth()
	if r.Method == http.MethodPost {
		name, password, given = r.PostFormValue("username"), r.PostFormValue("password"), true
	}
	if r.FormValue("service") != "theirs" || r.FormValue("tenant") != "a" || r.URL.Path != "/token" {
		s.t.Errorf("asked for %s", r.URL)
	}
	for name := range r.Header {
		switch name {
		case "Authorization", "Accept-Encoding", "User-Agent", "Content-Type", "Content-Length", "Via":
		default:
			s.t.Errorf("it is told %s: %s", name, r.Header.Get(name))
		}
	}
	w.Header().Set("Set-Cookie", "theirs=1")
	w.Header().Set("X-Theirs", "1")
	switch {
	case r.FormValue("scope") == "a page":
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<script>"))
	case r.FormValue("scope") == "elsewhere":
		http.Redirect(w, r, "/token", http.StatusFound)
	case given && (name != "alice" || password != alicesPassword):
		w.Header().Set("WWW-Authenticate", `Basic realm="theirs"`)
		w.WriteHeader(http.StatusUnauthorized)
	default:
		var access []any
		for scope := range strings.FieldsSeq(r.FormValue("scope")) {
			parts := strings.Split(scope, ":")
			access = append(access, map[string]any{"type": parts[0], "name": parts[1], "actions": strings.Split(parts[2], ",")})
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: s.key}, (&jose.SignerOptions{}).WithHeader("kid", "one"))
		text, failed := jwt.Signed(signer).Claims(map[string]any{"sub": name, "aud": "theirs", "exp": time.Now().Add(time.Hour).Unix(), "access": access}).Serialize()
		if err := errors.Join(err, failed); err != nil {
			s.t.Error(err)
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_ = json.NewEncoder(w).Encode(map[string]any{"token": text, "expires_in": 3600})
	}
}

// spared sees to it that it is not asked for something.
func (s *tokenService) spared(t *testing.T, f func()) {
	t.Helper()
	before := s.count()
	f()
	if n := s.count() - before; n != 0 {
		t.Errorf("the other token service is asked %d times", n)
	}
}

func (s *tokenService) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// tokenIn is the header with the token in an answer.
func tokenIn(t *testing.T, answer heard) []string {
	t.Helper()
	got := struct{ Token string }{}
	if err := json.Unmarshal([]byte(answer.body), &got); err != nil || got.Token == "" {
		t.Fatalf("%s: %v", answer.body, err)
	}
	return []string{bearingScheme + got.Token}
}

// TestTokenServiceBehindThreeNodes has clients log in as Docker does, workloads with their own tokens and people at another token
// service, of which clients know nothing.
func TestTokenServiceBehindThreeNodes(t *testing.T) {
	t.Parallel()
	key, file := signing(t)
	issuers, _ := signing(t)
	var url string
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/keys" {
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{KeyID: "1", Key: issuers.Public()}}})
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": url, "jwks_uri": url + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"}})
	}))
	defer issuer.Close()
	url = issuer.URL
	service, realm := newTokenService(t, key)
	all := threeLike(t, fmt.Sprintf(`, "auth": {"bearer": {"realm": "https://registry.example/zot/auth/token", "service": "ours", "cert": %q,
		"upstreamTokenEndpoint": {"realm": %q, "service": "theirs", "allowInsecureHttp": true},
		"oidc": [{"issuer": %q, "audiences": ["zot"], "claimMapping": {"username": "claims.sub"}}]}},
		"accessControl": {"repositories": {"**": {"policies": [{"users": ["build"], "actions": ["read"]}]}}}`, file, realm, url), "", "")
	at := all.at
	workload := strings.TrimPrefix(bearing(t, issuers, map[string]any{"iss": url, "aud": "zot", "sub": "build"})[0], bearingScheme)
	forged := strings.TrimPrefix(bearing(t, key, map[string]any{"iss": url, "aud": "zot", "sub": "build"})[0], bearingScheme)
	const query = "/zot/auth/token?service=ours&account=alice&scope=repository:team/app:pull,push"
	for n := range at {
		next := at[(n+1)%3]
		challenge := wish{method: "POST", url: at[n] + "/v2/team/app/blobs/uploads/"}.must(t, 401).header.Get("WWW-Authenticate")
		if want := `Bearer realm="https://registry.example/zot/auth/token",service="ours",scope="repository:team/app:pull,push"`; challenge != want {
			t.Errorf("the challenge is %s", challenge)
		}
		forwarded := []string{"Cookie: ours=1", "X-Forwarded-For: 10.0.0.1", "X-Zot-Anything: 1", "Accept: application/json", "X-ZOT-API-CLIENT: zot-ui"}
		for what, asks := range map[string]wish{
			"GET":  {method: "GET", url: at[n] + query, name: "alice", password: alicesPassword, header: forwarded},
			"POST": {method: "POST", url: at[n] + "/zot/auth/token", body: "grant_type=password&service=ours&client_id=docker&username=alice&password=" + strings.ReplaceAll(alicesPassword, " ", "+") + "&scope=repository:team/app:pull,push"},
		} {
			answer := asks.must(t, 200)
			if got := answer.header; len(answer.cookies) != 0 || got.Get("X-Theirs") != "" || got.Get("Content-Type") != "application/json" || got.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %v", what, got)
			}
			token := tokenIn(t, answer)
			begun := wish{method: "POST", url: next + "/v2/team/app/blobs/uploads/", header: token}.must(t, 202).header.Get("Location")
			wish{method: "DELETE", url: at[n] + begun, header: token}.must(t, 204)
			wish{method: "POST", url: next + "/v2/team/other/blobs/uploads/", header: token}.must(t, 401)
			logged(t, strings.TrimPrefix(token[0], bearingScheme))
		}
		anonymous := tokenIn(t, wish{method: "GET", url: at[n] + "/zot/auth/token?scope=repository:public/app:pull"}.must(t, 200))
		wish{method: "GET", url: next + "/v2/", header: anonymous}.must(t, 200)

		if got := (wish{method: "GET", url: at[n] + "/zot/auth/token?scope=a+page"}).must(t, 200); got.header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("a page comes as %v", got.header)
		}
		lost := wish{method: "GET", url: at[n] + "/zot/auth/token?scope=elsewhere"}.must(t, 503)
		if !strings.Contains(lost.body, `"UNAVAILABLE"`) || strings.Contains(lost.body, "127.0.0.1") || lost.header.Get("Location") != "" {
			t.Errorf("a redirection is answered with %s, %v", lost.body, lost.header)
		}
		for range 5 {
			if got := (wish{method: "GET", url: at[n] + query, name: "alice", password: "wrong"}).must(t, 401).header.Get("WWW-Authenticate"); got != `Basic realm="theirs"` {
				t.Errorf("the challenge is %s", got)
			}
		}
		// The wait after five begins with a second, which a busy machine may let go by. Each more that is wrong doubles it.
		for wait := 6; ; wait++ {
			asked := service.count()
			got := wish{method: "GET", url: at[n] + query, name: "alice", password: alicesPassword}.ask(t)
			if got.status == http.StatusTooManyRequests {
				if got.header.Get("Retry-After") == "" || service.count() != asked {
					t.Errorf("who guesses is not told how long to wait, or the other token service is asked: %v", got.header)
				}
				break
			}
			if got.status != http.StatusOK || wait > 10 {
				t.Fatalf("who guesses is answered %d %s", got.status, got.body)
			}
			for wrongs := 0; wrongs < wait; {
				switch status := (wish{method: "GET", url: at[n] + query, name: "alice", password: "wrong"}).ask(t).status; status {
				case http.StatusUnauthorized:
					wrongs++
				case http.StatusTooManyRequests:
					sleep(t.Context(), 100*time.Millisecond)
				default:
					t.Fatalf("a wrong password is answered %d", status)
				}
			}
		}
		service.spared(t, func() {
			if got := tokenIn(t, wish{method: "GET", url: at[n] + query, name: "any", password: workload, header: []string{"X-Request-Id: of-a-workload"}}.must(t, 200)); got[0] != bearingScheme+workload {
				t.Error("a workload gets another token")
			}
			eventually(t, "a line of the workload", func() bool {
				text, err := os.ReadFile(all.files[n] + ".log")
				if err != nil {
					t.Fatal(err)
				}
				_, line, _ := strings.Cut(string(text), "request_id=of-a-workload ")
				line, _, _ = strings.Cut(line, "\n")
				return strings.Contains(line, " username=build")
			})
			wish{method: "GET", url: at[n] + query, name: "any", password: forged}.must(t, 401)
			wish{method: "POST", url: at[n] + query, body: "grant_type=refresh_token&refresh_token=" + forged}.must(t, 401)
			wish{method: "GET", url: at[n] + query + "&token=" + forged}.must(t, 401)
			wish{method: "POST", url: at[n] + query, name: "alice", password: "x", body: "username=bob"}.must(t, 400)
			wish{method: "POST", url: at[n] + query, body: `{"password": "x"}`, header: []string{"Content-Type: application/json"}}.must(t, 400)
			wish{method: "GET", url: at[n] + query, header: []string{"Authorization: Negotiate x"}}.must(t, 401)
			wish{method: "POST", url: at[n] + query, body: "username=alice&more=" + strings.Repeat("x", 64<<10)}.must(t, 413)
			wish{method: "PUT", url: at[n] + query}.must(t, 405)
		})
		wish{method: "GET", url: next + "/v2/", header: []string{bearingScheme + workload}}.must(t, 200)
	}
	logged(t, alicesPassword, "a+password+of", base64.StdEncoding.EncodeToString([]byte("alice:"+alicesPassword)), workload, forged)
}

// TestReloadOfTokenKeys has keys come from a secret in AWS in place of a file, and back, while a node runs. It has its own
// environment, so no other test runs beside it.
func TestReloadOfTokenKeys(t *testing.T) {
	filed, file := signing(t)
	kept, public := signing(t)
	inSecret, err := os.ReadFile(public)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := json.Marshal(map[string]string{"1": string(inSecret)})
	if err != nil {
		t.Fatal(err)
	}
	aws := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Target") != "secretsmanager.GetSecretValue" || !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKID/") {
			t.Errorf("AWS is asked %v", r.Header)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_ = json.NewEncoder(w).Encode(map[string]string{"Name": "zot/keys", "SecretString": string(secret)})
	}))
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": aws.URL, "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "hunter2hunter2", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_MAX_ATTEMPTS": "1",
	} {
		t.Setenv(name, value)
	}
	byFile, bySecret := bearing(t, filed, map[string]any{}), bearing(t, kept, map[string]any{})
	section := func(keys string) string {
		return `, "auth": {"bearer": {"realm": "https://auth.example/token", "service": "zot", ` + keys + `}}`
	}
	inAWS := func(name string) string {
		return section(fmt.Sprintf(`"awsSecretsManager": {"region": "us-east-1", "secretName": %q, "refreshInterval": "1h"}`, name))
	}
	inFile := section(fmt.Sprintf(`"cert": %q`, file))
	n := newChanging(t, inAWS("zot/keys"))
	says := func(header []string, status int) heard {
		t.Helper()
		return wish{method: "GET", url: n.url + "/v2/", header: header}.must(t, status)
	}
	says(bySecret, 200)
	says(byFile, 401)
	aws.Close()
	n.becomes(strings.Replace(inAWS("zot/keys"), "https://auth.example", "https://others.example", 1), "") // what this secret held is known
	says(bySecret, 200)
	n.becomes(inFile, "")
	says(byFile, 200)
	says(bySecret, 401)
	n.becomes(inAWS("zot/others"), "") // what another secret held is of no use to this one
	untold := says(bySecret, 503)
	if !strings.Contains(untold.body, `"UNAVAILABLE"`) || strings.Contains(untold.body, "127.0.0.1") || strings.Contains(untold.body, "AWS") {
		t.Errorf("while AWS is down: %s", untold.body)
	}
	says(nil, 401)
	n.becomes(inFile, "")
	says(byFile, 200)
	logged(t, "hunter2hunter2", strings.TrimPrefix(bySecret[0], bearingScheme), strings.TrimPrefix(byFile[0], bearingScheme))
}
