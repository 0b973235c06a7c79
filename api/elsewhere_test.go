package api_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/auth"
)

// loggedIn is sessions of one user.
type loggedIn struct{ ended, begun int }

func (l *loggedIn) Session(context.Context, string) (auth.Login, error) {
	return auth.Login{Name: "alice"}, nil
}

func (l *loggedIn) Begin(context.Context, string, auth.Login, time.Time) error {
	l.begun++
	return nil
}

func (l *loggedIn) End(context.Context, string) error {
	l.ended++
	return nil
}

// countedMethod counts who is asked about.
type countedMethod struct {
	auth.Method
	asked int
}

func (c *countedMethod) Verify(ctx context.Context, name, password string) ([]string, error) {
	c.asked++
	return c.Method.Verify(ctx, name, password)
}

// ambient are what a browser adds by itself to a request, whichever page it is for.
func ambient() map[string]func(r *http.Request) {
	return map[string]func(r *http.Request){
		"a password": func(r *http.Request) { r.SetBasicAuth("alice", "of alice") },
		"a certificate": func(r *http.Request) {
			r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{Subject: pkix.Name{CommonName: "alice"}}}}}
		},
		"a cookie, and a header that it cannot send": func(r *http.Request) {
			r.Header.Set("X-Zot-Api-Client", "zot-ui")
			r.AddCookie(&http.Cookie{Name: "session", Value: strings.Repeat("s", 43)})
		},
		"nothing": func(*http.Request) {},
	}
}

// A page of another site changes nothing, by whatever the browser adds to its requests; nobody is asked whether that
// holds. What is not a browser, or acts for a page of this registry, goes on.
func TestPagesOfOtherSitesChangeNothing(t *testing.T) {
	t.Parallel()
	config := digest.FromString("config").String()
	changed := image(config, `,"annotations":{"x":"y"}`)
	calls := map[string]call{ // %s is an upload
		"begin":    {method: "POST", path: "/v2/a/b/blobs/uploads/", header: []string{"Content-Type: text/plain"}},
		"push":     {method: "POST", path: withDigest("/v2/a/b/blobs/uploads/", "evil"), body: "evil"},
		"mount":    {method: "POST", path: "/v2/a/b/blobs/uploads/?from=a/c&mount=" + digest.FromString("theirs").String()},
		"chunk":    {method: "PATCH", path: "%s", body: "evil"},
		"finish":   {method: "PUT", path: "%s?digest=" + digest.FromString("evil").String(), body: "evil"},
		"cancel":   {method: "DELETE", path: "%s"},
		"tag":      {method: "PUT", path: "/v2/a/b/manifests/1", body: changed, header: []string{"Content-Type: " + typeImage}},
		"untag":    {method: "DELETE", path: "/v2/a/b/manifests/1"},
		"delete":   {method: "DELETE", path: "/v2/a/b/blobs/" + digest.FromString("loose").String()},
		"no route": {method: "POST", path: "/v2/a/b/x"},
	}
	for with, add := range ambient() {
		t.Run(with, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tagged := w.pushImage("1", "")
			w.push("a/b", "loose")
			w.push("a/c", "theirs")
			at := w.begin()
			method, sessions := &countedMethod{Method: passwords{"alice": nil}}, &loggedIn{}
			c := auth.Config{Methods: []auth.Method{method}, Certificates: &auth.Certificates{Attributes: []auth.Attribute{auth.CommonName}}, Sessions: sessions}
			if with == "nothing" {
				c = auth.Config{} // everybody may do everything: also who has a browser inside of the network
			}
			g := w.gated(c)
			ask := func(c call, site string) *httptest.ResponseRecorder {
				r := httptest.NewRequestWithContext(t.Context(), c.method, strings.Replace(c.path, "%s", at, 1), strings.NewReader(c.body))
				for _, line := range c.header {
					name, value, _ := strings.Cut(line, ": ")
					r.Header.Set(name, value)
				}
				add(r)
				name, value, _ := strings.Cut(site, ": ")
				r.Header.Set(name, value)
				answer := httptest.NewRecorder()
				g.ServeHTTP(answer, r)
				return answer
			}
			proposed := len(w.seen)
			for name, c := range calls {
				for _, site := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: https://evil.example", "Origin: null"} {
					if got := ask(c, site); got.Code != http.StatusForbidden || !strings.Contains(got.Body.String(), `"DENIED","message":"a page of another site`) {
						t.Errorf("%s, %s: %d %s", name, site, got.Code, got.Body)
					}
				}
			}
			if len(w.seen) != proposed || method.asked+sessions.begun+sessions.ended != 0 {
				t.Errorf("%d commands were proposed, %d passwords tried, %+v", len(w.seen)-proposed, method.asked, sessions)
			}
			if got := ask(call{method: "HEAD", path: "/v2/a/b/manifests/1"}, "Sec-Fetch-Site: cross-site"); got.Code != http.StatusOK || got.Header().Get("Docker-Content-Digest") != tagged {
				t.Errorf("the tag: %d %v", got.Code, got.Header())
			}
			if got := ask(call{method: "GET", path: at}, "Sec-Fetch-Site: cross-site"); got.Code != http.StatusNoContent || got.Header().Get("Range") != "0-0" && got.Header().Get("Range") != "" {
				t.Errorf("the upload: %d %v", got.Code, got.Header())
			}
			for _, site := range []string{"X-Nothing: 1", "Sec-Fetch-Site: same-origin", "Origin: http://example.com"} {
				if got := ask(calls["tag"], site); got.Code != http.StatusCreated {
					t.Errorf("%s: %d %s", site, got.Code, got.Body)
				}
			}
		})
	}
}

// What another node sends on was judged there, and the operator's socket no browser can reach.
func TestPagesAreJudgedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.gated(auth.Config{Methods: []auth.Method{passwords{}}})
	for _, h := range []http.Handler{g.Forwarded(), g.Operator()} {
		c := call{method: "POST", path: "/v2/a/b/blobs/uploads/", header: []string{byAll, "Sec-Fetch-Site: cross-site"}}
		if got := send(t, h, c); got.Code != http.StatusAccepted {
			t.Errorf("%d %s", got.Code, got.Body)
		}
	}
}
