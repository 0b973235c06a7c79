package openid_test

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/oauth2-proxy/mockoidc"

	"github.com/seed-16d79997/zot/auth/openid"
)

// issuer is a provider of the tests. Who logs in is whoever its fields say.
type issuer struct {
	*mockoidc.MockOIDC

	mu     sync.Mutex
	claims map[string]any                     // of the ID token, beside those that all have; nil ones are left out
	info   map[string]any                     // what the userinfo endpoint answers
	sign   func(claims map[string]any) string // nil: as it should be
	says   map[string]any                     // what it says of itself, beside what it always says
	found  int                                // how often it was asked for that
	asked  []url.Values                       // of the token endpoint
	header []http.Header
}

var _ mockoidc.User = (*issuer)(nil)

// newIssuer serves until the test ends.
func newIssuer(t *testing.T) *issuer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is closed by the server
	if err != nil {
		t.Fatal(err)
	}
	return serveIssuer(t, l)
}

func serveIssuer(t *testing.T, l net.Listener) *issuer {
	t.Helper()
	m, err := mockoidc.NewServer(nil)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{MockOIDC: m, claims: map[string]any{"email": "ann@example.org", "email_verified": true, "groups": []string{"devs", "ops"}}}
	i.info = maps.Clone(i.claims)
	i.info["sub"] = i.ID()
	if err := errors.Join(m.AddMiddleware(i.between), m.Start(l, nil)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Shutdown() })
	return i
}

// between notes what the token endpoint is asked, and lets in who proves otherwise than by a secret.
func (i *issuer) between(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		switch r.URL.Path {
		case mockoidc.AuthorizationEndpoint:
			i.QueueUser(i)
			next.ServeHTTP(w, r)
		case mockoidc.TokenEndpoint:
			_ = r.ParseForm()
			i.asked, i.header = append(i.asked, maps.Clone(r.Form)), append(i.header, r.Header)
			for name, value := range map[string]string{"client_id": i.ClientID, "client_secret": i.ClientSecret} {
				if r.Form.Get(name) == "" {
					r.Form.Set(name, value)
				}
			}
			answer := httptest.NewRecorder()
			next.ServeHTTP(answer, r)
			maps.Copy(w.Header(), answer.Header())
			w.WriteHeader(answer.Code)
			_, _ = w.Write(i.signed(answer.Body.Bytes()))
		case mockoidc.DiscoveryEndpoint:
			i.found++
			answer := httptest.NewRecorder()
			next.ServeHTTP(answer, r)
			all := map[string]any{}
			_ = json.Unmarshal(answer.Body.Bytes(), &all)
			maps.Copy(all, i.says)
			_ = json.NewEncoder(w).Encode(all)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// signed is an answer of the token endpoint with another ID token, if there is to be one.
func (i *issuer) signed(body []byte) []byte {
	var answer map[string]any
	text := ""
	if json.Unmarshal(body, &answer) == nil {
		text, _ = answer["id_token"].(string)
	}
	if text == "" || i.sign == nil {
		return body
	}
	payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[1])
	var claims map[string]any
	_ = json.Unmarshal(payload, &claims)
	answer["id_token"] = i.sign(claims)
	body, _ = json.Marshal(answer)
	return body
}

func (*issuer) ID() string { return "subject of ann" }

func (i *issuer) Userinfo([]string) ([]byte, error) { return json.Marshal(i.info) }

func (i *issuer) Claims(_ []string, base *mockoidc.IDTokenClaims) (jwt.Claims, error) {
	text, err := json.Marshal(base)
	if err != nil {
		return nil, err
	}
	all := jwt.MapClaims{}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	for name, value := range i.claims {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	return all, nil
}

// signWith signs claims with a key, under the id of the provider's.
func (i *issuer) signWith(t *testing.T, algorithm jose.SignatureAlgorithm, key any, claims map[string]any) string {
	t.Helper()
	id, err := i.Keypair.KeyID()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: id}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func (i *issuer) key() *rsa.PrivateKey { return i.Keypair.PrivateKey }

// named is how the issuer is configured under a name.
func (i *issuer) named(name string) openid.Provider {
	return openid.Provider{Name: name, Issuer: i.Issuer(), ClientID: i.ClientID, ClientSecret: i.ClientSecret, Scopes: []string{"openid", "email", "groups"}}
}

// key is one that nodes share.
func key(fill byte) []byte { return []byte(strings.Repeat(string(fill), 32)) }

// logins are those of a node.
func logins(t *testing.T, providers ...openid.Provider) *openid.Logins {
	t.Helper()
	return loginsWith(t, [][]byte{key('a')}, providers...)
}

func loginsWith(t *testing.T, keys [][]byte, providers ...openid.Provider) *openid.Logins {
	t.Helper()
	l, err := openid.New(openid.Config{Providers: providers, Keys: keys, Origins: []string{"https://Pages.example/"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

const callback = "https://registry.example/zot/auth/callback/oidc"

// begun begins a login, and has the provider agree to it.
func begun(t *testing.T, l *openid.Logins) (sealed string, said url.Values) {
	t.Helper()
	at, sealed, err := l.Begin(t.Context(), "oidc", callback, "/home", "https://registry.example")
	if err != nil {
		t.Fatal(err)
	}
	return sealed, visited(t, at)
}

// visited is what a provider sends a browser back with.
func visited(t *testing.T, at string) url.Values {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	browser := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // it is not read
	to, err := answer.Location()
	if err != nil {
		t.Fatalf("%s: %v", answer.Status, err)
	}
	if !strings.HasPrefix(to.String(), callback) {
		t.Fatalf("the browser is sent to %s", to)
	}
	return to.Query()
}

// What is in a provider's files may change, as a secret does that is mounted; the rest of what it is goes on.
func TestFilesOfAProviderChange(t *testing.T) {
	t.Parallel()
	i, file := newIssuer(t), filepath.Join(t.TempDir(), "client.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"clientid": "another", "clientsecret": "hunter2"}`)
	p := i.named("oidc")
	p.ClientID, p.ClientSecret, p.CredentialsFile = "", "", file
	l := logins(t, p)
	client := func() string {
		t.Helper()
		at, _, err := l.Begin(t.Context(), "oidc", callback, "/home", "https://registry.example")
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		return u.Query().Get("client_id")
	}
	if changed, err := l.Reload(); changed || err != nil || client() != "another" {
		t.Errorf("%t, %v, client %s", changed, err, client())
	}
	write(`{"clientid": "a third", "clientsecr`)
	if changed, err := l.Reload(); changed || err == nil || strings.Contains(err.Error(), "third") || client() != "another" {
		t.Errorf("%t, %v, client %s", changed, err, client())
	}
	write(fmt.Sprintf(`{"clientid": %q, "clientsecret": %q}`, i.ClientID, i.ClientSecret))
	if changed, err := l.Reload(); !changed || err != nil || client() != i.ClientID {
		t.Errorf("%t, %v, client %s", changed, err, client())
	}
	sealed, said := begun(t, l)
	if who, _, err := l.Finish(t.Context(), "oidc", sealed, said); err != nil || who.Name != "ann@example.org" {
		t.Errorf("%+v, %v", who, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if changed, err := l.Reload(); changed || err == nil || client() != i.ClientID {
		t.Errorf("%t, %v, client %s", changed, err, client())
	}
}
