package ext_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/openid"
)

// logins are sessions by their cookies.
type logins map[string]auth.Login

func (l logins) Session(_ context.Context, cookie string) (auth.Login, error) {
	one, known := l[cookie]
	if !known {
		return one, auth.ErrUnknown
	}
	return one, nil
}

func (l logins) Begin(_ context.Context, cookie string, one auth.Login, _ time.Time) error {
	l[cookie] = one
	return nil
}

func (l logins) End(_ context.Context, cookie string) error {
	delete(l, cookie)
	return nil
}

func TestLoginWithoutProviders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{"/zot/auth/login?provider=github", "/auth/login?provider=github", "/auth/callback/github?code=c&state=s", "/zot/auth/callback/github"} {
		if got := w.do(call{method: "GET", path: path}); got.Code != http.StatusNotFound || !strings.Contains(got.Body.String(), "http.auth.openid") {
			t.Errorf("%s: %d %s", path, got.Code, got.Body)
		}
	}
}

// Who logs out is told where to end the login at the provider, if that says where.
func TestLogoutAtTheProvider(t *testing.T) {
	t.Parallel()
	end := ""
	provider := httptest.NewUnstartedServer(nil)
	provider.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"issuer": %q, "authorization_endpoint": "http://a.example", "end_session_endpoint": %q}`, provider.URL, end)
	})
	provider.Start()
	t.Cleanup(provider.Close)
	for said, want := range map[string]string{
		"https://accounts.example/logout?a=b": `{"endSessionUrl":"https://accounts.example/logout?a=b\u0026client_id=i"}`,
		"":                                    `{}`,
		"javascript:alert(1)":                 `{}`,
	} {
		end = said
		vouching, err := openid.New(openid.Config{Keys: [][]byte{[]byte(strings.Repeat("k", 32))}, Providers: []openid.Provider{
			{Name: "oidc", Issuer: provider.URL, ClientID: "i"}, {Name: openid.GitHub, ClientID: "i"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		known := logins{}
		w := newWorldWith(t, func(c *auth.Config) { c.OpenID, c.Sessions = vouching, known })
		for by, want := range map[string]string{"oidc": want, openid.GitHub: `{}`, "gone": `{}`, "": `{}`} {
			cookie := strings.Repeat("1", 43)
			known[cookie] = auth.Login{Name: "ann", Provider: by}
			got := w.do(call{method: "POST", path: "/zot/auth/logout", header: []string{"X-ZOT-API-CLIENT: zot-ui", "Cookie: session=" + cookie}})
			if got.Code != http.StatusOK || got.Body.String() != want || len(known) != 0 {
				t.Errorf("by %q, which says %q: %d %s, want %s; left %v", by, said, got.Code, got.Body, want, known)
			}
		}
		vouching.Close()
	}
}
