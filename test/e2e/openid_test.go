package e2e_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oauth2-proxy/mockoidc"

	"github.com/seed-16d79997/zot/test/e2e/harness"
	"github.com/seed-16d79997/zot/test/e2e/images"
)

// dexUser is somebody of whom a provider says what dex would.
type dexUser struct {
	name   string
	groups []string
}

func (u dexUser) ID() string { return "CgV1c2VyLRIEbGRhcA" + u.name }

func (u dexUser) Userinfo([]string) ([]byte, error) {
	return json.Marshal(u.claims(jwt.MapClaims{"sub": u.ID()}))
}

func (u dexUser) Claims(_ []string, base *mockoidc.IDTokenClaims) (jwt.Claims, error) {
	text, err := json.Marshal(base)
	if err != nil {
		return nil, err
	}
	all := jwt.MapClaims{}
	return u.claims(all), json.Unmarshal(text, &all)
}

func (u dexUser) claims(all jwt.MapClaims) jwt.MapClaims {
	all["email"], all["email_verified"] = u.name+"@example.org", true
	all["name"], all["preferred_username"], all["groups"] = u.name, u.name, u.groups
	all["federated_claims"] = map[string]string{"connector_id": "ldap", "user_id": u.name}
	return all
}

// page is a browser with one of zot's pages.
type page struct {
	http.Client

	registry string
}

func newPage(t *testing.T, address string) *page {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &page{http.Client{Jar: jar}, "http://" + address}
}

// get asks for something, follows all redirects, and returns where they led to.
func (p *page) get(t *testing.T, path string) (status int, at string) {
	t.Helper()
	status, at, _ = p.do(t, http.MethodGet, path, "")
	return status, at
}

func (p *page) do(t *testing.T, method, path, body string) (status int, at, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, p.registry+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-ZOT-API-CLIENT", "zot-ui")
	answer, err := p.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // it is only read
	all, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Request.URL.String(), string(all)
}

// logsInAs has the provider take whoever comes for somebody.
func (p *page) logsInAs(t *testing.T, provider *mockoidc.MockOIDC, u dexUser) {
	t.Helper()
	provider.QueueUser(u)
	if status, at := p.get(t, "/zot/auth/login?provider=dex&callback_ui="+url.QueryEscape(p.registry+"/v2/")); status != http.StatusOK || at != p.registry+"/v2/" {
		t.Fatalf("%s: %d at %s", u.name, status, at)
	}
}

// key makes an API key.
func (p *page) key(t *testing.T) string {
	t.Helper()
	status, _, text := p.do(t, http.MethodPost, "/zot/auth/apikey", `{"label": "docker"}`)
	made := struct{ APIKey string }{}
	if err := json.Unmarshal([]byte(text), &made); err != nil || made.APIKey == "" {
		t.Fatalf("%d %s: %v", status, text, err)
	}
	return made.APIKey
}

// Who logs in with a provider, as a browser does, can make a key for Docker, whichever node answers each request.
func TestOpenID(t *testing.T) {
	harness.Program(t, "ZOT")
	provider, err := mockoidc.Run()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = provider.Shutdown() })
	section := map[string]any{
		"auth": map[string]any{"openid": map[string]any{"providers": map[string]any{"dex": map[string]any{
			"issuer": provider.Issuer(), "clientid": provider.ClientID, "clientsecret": provider.ClientSecret, "scopes": []string{"openid", "profile", "email", "groups"},
		}}}},
		"accessControl": map[string]any{"repositories": map[string]any{"**": map[string]any{
			"policies":      []any{map[string]any{"groups": []string{"devs"}, "actions": []string{"read", "create", "update"}}},
			"defaultPolicy": []string{"read"},
		}}},
	}
	nodes := harness.StartEach(t, slices.Repeat([]harness.Plan{{HTTP: section}}, 3)...)
	balancer := harness.Balance(t, ours, nodes...)

	ann, bob := newPage(t, balancer.Address), newPage(t, balancer.Address)
	if status, _ := ann.get(t, "/v2/"); status != http.StatusUnauthorized {
		t.Errorf("nobody: %d", status)
	}
	ann.logsInAs(t, provider, dexUser{"ann", []string{"devs"}})
	bob.logsInAs(t, provider, dexUser{"bob", nil})
	for range nodes {
		if status, _ := ann.get(t, "/v2/_catalog"); status != http.StatusOK {
			t.Errorf("ann: %d", status)
		}
	}

	t.Setenv("DOCKER_CONFIG", t.TempDir())
	engine := harness.StartEngine(t)
	key := ann.key(t)
	engine.Feed(t, strings.NewReader(key), "login", "--username", "ann@example.org", "--password-stdin", balancer.Address)
	name := balancer.Address + "/team/app:1"
	part := images.Part{Seed: 1700, Size: 1 << 20}
	id := load(t, engine, name, 0, part)
	engine.Run(t, "push", name)
	engine.Forget(t, name)
	engine.Feed(t, strings.NewReader(bob.key(t)), "login", "--username", "bob@example.org", "--password-stdin", balancer.Address)
	engine.Run(t, "pull", name)
	holds(t, engine, name, id, part)
	if err := engine.Try(t, "push", name); err == nil || !strings.Contains(err.Error(), "denied") {
		t.Errorf("bob, who is in no group, pushed: %v", err)
	}
	if err := engine.Try(t, "login", "--username", "bob@example.org", "--password", key, balancer.Address); err == nil {
		t.Error("bob logs in with ann's key")
	}

	// What the provider says is asked at a login alone.
	if err := provider.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if status, _ := ann.get(t, "/v2/"); status != http.StatusOK {
		t.Errorf("while the provider is down: %d", status)
	}
	if status, _, text := ann.do(t, http.MethodPost, "/zot/auth/logout", ""); status != http.StatusOK || text != "{}" {
		t.Errorf("logout: %d %s", status, text)
	}
	for range nodes {
		if status, _ := ann.get(t, "/v2/"); status != http.StatusUnauthorized {
			t.Errorf("after a logout: %d", status)
		}
		if status, _ := bob.get(t, "/v2/"); status != http.StatusOK {
			t.Errorf("after the logout of another: %d", status)
		}
	}
	balancer.EveryServer(t, nodes)
}
