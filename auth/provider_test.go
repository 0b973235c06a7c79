package auth_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/openid"
)

// vouching has providers that need not be asked for a login to begin.
func vouching(t *testing.T) *openid.Logins {
	t.Helper()
	l, err := openid.New(openid.Config{Providers: []openid.Provider{{Name: openid.GitHub, ClientID: "i"}}, Keys: [][]byte{[]byte(strings.Repeat("k", 32))}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// at is a request for an address.
func at(t *testing.T, address string) *http.Request {
	t.Helper()
	return httptest.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
}

func TestBeginLogin(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		external, address string
		secure            bool
		want              string
	}{
		"newer":                    {"", "http://r.example:5000/zot/auth/login", false, "http://r.example:5000/zot/auth/callback/github"},
		"older":                    {"", "http://r.example:5000/auth/login", false, "http://r.example:5000/auth/callback/github"},
		"with TLS":                 {"", "https://r.example/auth/login", true, "https://r.example/auth/callback/github"},
		"reached from outside":     {"https://out.example", "http://r.example:5000/auth/login", false, "https://out.example/zot/auth/callback/github"},
		"below a path of a server": {"https://out.example/registry", "http://r.example:5000/auth/login", false, "https://out.example/registry/zot/auth/callback/github"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := auth.New(auth.Config{OpenID: vouching(t), ExternalURL: test.external})
			r, w := at(t, test.address), httptest.NewRecorder()
			if strings.HasPrefix(test.address, "https") {
				r.TLS = &tls.ConnectionState{}
			}
			to, err := g.BeginLogin(w, r, "github", "/")
			u, _ := url.Parse(to)
			if err != nil || u.Query().Get("redirect_uri") != test.want {
				t.Fatalf("%s, %v; want back to %s", to, err, test.want)
			}
			c := w.Result().Cookies()[0]
			if c.Name != "statecookie" || c.Path != "/" || c.MaxAge != 600 || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Secure != test.secure {
				t.Errorf("cookie %+v", c)
			}
		})
	}
	provider := httptest.NewUnstartedServer(nil)
	provider.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"issuer": %q, "authorization_endpoint": "http://a.example"}`, provider.URL)
	})
	provider.Start()
	t.Cleanup(provider.Close)
	for name, want := range map[string][2]string{"dex": {"/auth", "/auth"}, "oidc": {"/zot/auth", "/zot/auth"}, "gitlab": {"/auth", "/zot/auth"}} {
		l, err := openid.New(openid.Config{Providers: []openid.Provider{{Name: name, Issuer: provider.URL, ClientID: "i"}}, Keys: [][]byte{[]byte(strings.Repeat("k", 32))}})
		if err != nil {
			t.Fatal(err)
		}
		for n, family := range []string{"/auth", "/zot/auth"} {
			to, err := auth.New(auth.Config{OpenID: l}).BeginLogin(httptest.NewRecorder(), at(t, "http://r.example"+family+"/login"), name, "")
			u, _ := url.Parse(to)
			if got := u.Query().Get("redirect_uri"); err != nil || got != "http://r.example"+want[n]+"/callback/"+name {
				t.Errorf("%s, begun below %s: %s, %v; want back below %s", name, family, to, err, want[n])
			}
		}
		l.Close()
	}
	g := auth.New(auth.Config{OpenID: vouching(t)})
	w := httptest.NewRecorder()
	if _, err := g.BeginLogin(w, at(t, "http://r.example/zot/auth/login"), "github", "//evil.example"); !errors.Is(err, openid.ErrReturn) || len(w.Header()) != 0 {
		t.Errorf("%v, %v", err, w.Header())
	}
}

// A login that fails begins no session, leaves the one that there is, and is over.
func TestFinishLoginFails(t *testing.T) {
	t.Parallel()
	before := strings.Repeat("1", 43)
	l := &logins{names: map[string]string{before: "ann"}}
	g := auth.New(auth.Config{OpenID: vouching(t), Sessions: l})
	r, w := at(t, "http://r.example/zot/auth/callback/github?state=x&code=y"), httptest.NewRecorder()
	r.AddCookie(&http.Cookie{Name: "session", Value: before})
	if _, _, err := g.FinishLogin(w, r, "github"); !errors.Is(err, openid.ErrRefused) {
		t.Error(err)
	}
	cookies := w.Result().Cookies()
	if len(cookies) != 1 || cookies[0].Name != "statecookie" || cookies[0].MaxAge >= 0 || len(l.names) != 1 {
		t.Errorf("cookies %v, sessions %v", cookies, l.names)
	}
}

// Where people have no passwords, they must come as somebody all the same; and their API keys are as good as elsewhere.
func TestProvidersAlone(t *testing.T) {
	t.Parallel()
	secret := auth.NewKey()
	g := auth.New(auth.Config{OpenID: vouching(t), Sessions: &logins{names: map[string]string{}}, Keys: keys{secret: {Owner: "ann"}}})
	if _, err := g.Identify(nobody(t)); !errors.Is(err, auth.ErrCredentials) {
		t.Errorf("nobody: %v", err)
	}
	if _, err := g.Identify(asking(t, "ann", "p")); !errors.Is(err, auth.ErrCredentials) {
		t.Errorf("a password: %v", err)
	}
	if c, err := g.Identify(asking(t, "ann", secret)); err != nil || c.Name() != "ann" {
		t.Errorf("a key: %q, %v", c.Name(), err)
	}
	without := auth.New(auth.Config{OpenID: vouching(t), Sessions: &logins{names: map[string]string{}}})
	if _, err := without.Identify(nobody(t)); !errors.Is(err, auth.ErrCredentials) {
		t.Errorf("nobody, and no keys: %v", err)
	}
}

// A neighbouring site can put a login of its own beside the one that this browser has begun: neither counts.
func TestSeveralLogins(t *testing.T) {
	t.Parallel()
	g := auth.New(auth.Config{OpenID: vouching(t), Sessions: &logins{names: map[string]string{}}})
	w := httptest.NewRecorder()
	to, err := g.BeginLogin(w, at(t, "http://r.example/zot/auth/login"), "github", "/")
	if err != nil {
		t.Fatal(err)
	}
	begun := w.Result().Cookies()[0]
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	denied := "http://r.example/zot/auth/callback/github?error=denied&state=" + u.Query().Get("state")
	one, two := at(t, denied), at(t, denied)
	one.AddCookie(begun)
	if _, _, err := g.FinishLogin(httptest.NewRecorder(), one, "github"); !errors.Is(err, openid.ErrRefused) || !strings.Contains(err.Error(), "by the provider") {
		t.Errorf("one: %v", err)
	}
	two.AddCookie(begun)
	two.AddCookie(&http.Cookie{Name: begun.Name, Value: begun.Value})
	if _, _, err := g.FinishLogin(httptest.NewRecorder(), two, "github"); !errors.Is(err, openid.ErrRefused) || strings.Contains(err.Error(), "by the provider") {
		t.Errorf("two: %v", err)
	}
}
