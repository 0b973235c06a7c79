package auth_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/bearer"
)

// behind is a gate before another token service, at which ann has the password "p", and nobody can tell of "?".
func behind(t *testing.T, more ...bearer.Issuer) (g *auth.Gate, asked *atomic.Int32) {
	t.Helper()
	asked = &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		name, password, given := r.BasicAuth()
		if r.Method == http.MethodPost {
			name, password, given = r.FormValue("username"), r.FormValue("password"), true
		}
		switch {
		case password == "?":
			w.WriteHeader(http.StatusBadGateway)
		case given && (name != "ann" || password != "p"):
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(server.Close)
	tokens := must(bearer.Open(bearer.Config{Issuers: more, Upstream: &bearer.Upstream{URL: server.URL, Service: "theirs"}}))
	t.Cleanup(tokens.Close)
	return auth.New(auth.Config{Bearer: tokens}), asked
}

func TestHandsOn(t *testing.T) {
	t.Parallel()
	g, _ := behind(t, bearer.Issuer{URL: "https://issuer.example"})
	ours := "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://issuer.example"}`)) + ".c2ln" // it does not hold
	with := func(query string) *http.Request {
		r := nobody(t)
		r.URL.RawQuery = query
		return r
	}
	for name, test := range map[string]struct {
		r    *http.Request
		form url.Values
		want bool
	}{
		"nobody":             {nobody(t), nil, true},
		"a password":         {asking(t, "ann", "p"), nil, true},
		"as a password":      {asking(t, "ann", ours), nil, false},
		"as a name":          {asking(t, ours, "x"), nil, false},
		"as a token":         {bearing(t, ours), nil, false},
		"in the query":       {with("refresh_token=x&id_token=" + ours), nil, false},
		"in a form":          {asking(t, "ann", "p"), url.Values{"refresh_token": {"x", ours}}, false},
		"instead of a form":  {nobody(t), url.Values{ours: {""}}, false},
		"a form":             {nobody(t), url.Values{"username": {"ann"}, "password": {"p"}}, true},
		"a query":            {with("account=ann&scope=repository:a:pull"), nil, true},
		"a token of another": {bearing(t, "e30.e30.c2ln"), nil, true},
	} {
		if got := g.HandsOn(test.r, test.form); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	for _, other := range []*auth.Gate{nil, auth.New(auth.Config{}), auth.New(auth.Config{Bearer: must(bearer.Open(bearer.Config{}))})} {
		if other.HandsOn(nobody(t), nil) {
			t.Error("there is nobody to hand it on to")
		}
	}
}

// Passwords that another token service refuses count here, by whatever way they come.
func TestGuessesAtUpstream(t *testing.T) {
	t.Parallel()
	byForm := func(name, password string) (*http.Request, url.Values) {
		return nobody(t), url.Values{"grant_type": {"password"}, "username": {name}, "password": {password}}
	}
	g, asked := behind(t)
	for n := range 5 {
		r, form := asking(t, "ann", "x"), url.Values(nil)
		if n%2 == 1 {
			r, form = byForm("Ann", "x")
		}
		if answer, err := g.AskUpstream(r, form); err != nil || answer.Status != http.StatusUnauthorized {
			t.Fatalf("try %d: %d, %v", n, answer.Status, err)
		}
	}
	for range 3 {
		if _, err := g.AskUpstream(asking(t, "ann", "p"), nil); !errors.Is(err, auth.ErrTooMany) {
			t.Errorf("the right one, after five wrong ones: %v", err)
		}
		if _, err := g.AskUpstream(byForm("ann", "p")); !errors.Is(err, auth.ErrTooMany) {
			t.Errorf("the same in a form: %v", err)
		}
	}
	if n := asked.Load(); n != 5 {
		t.Errorf("asked %d times", n)
	}
	if answer, err := g.AskUpstream(nobody(t), nil); err != nil || answer.Status != http.StatusOK {
		t.Errorf("who is nobody waits: %d, %v", answer.Status, err)
	}

	g, _ = behind(t)
	for n := range 22 { // a little of one is forgotten meanwhile
		r := asking(t, "ann", "x")
		r.RemoteAddr = fmt.Sprintf("10.0.0.%d:1", n)
		if _, err := g.AskUpstream(r, nil); errors.Is(err, auth.ErrTooMany) != (n == 21) {
			t.Errorf("from the address %d: %v", n, err)
		}
	}

	g, _ = behind(t)
	for range 4 {
		if answer, err := g.AskUpstream(asking(t, "ann", "?"), nil); err != nil || answer.Status != http.StatusBadGateway {
			t.Fatalf("nobody can tell: %d, %v", answer.Status, err)
		}
	}
	for range 20 {
		if answer, err := g.AskUpstream(asking(t, "ann", "p"), nil); err != nil || answer.Status != http.StatusOK {
			t.Fatalf("the right one: %d, %v", answer.Status, err)
		}
	}
}

// What one reads otherwise than another is handed on to nobody.
func TestSeveralCredentials(t *testing.T) {
	t.Parallel()
	g, asked := behind(t)
	changed := func(change func(r *http.Request)) *http.Request {
		r := asking(t, "ann", "p")
		change(r)
		return r
	}
	header := func(lines ...string) *http.Request {
		return changed(func(r *http.Request) { r.Header["Authorization"] = lines })
	}
	basic := asking(t, "ann", "p").Header.Get("Authorization")
	for name, test := range map[string]struct {
		r    *http.Request
		form url.Values
		want error
	}{
		"two headers":             {header(basic, basic), nil, auth.ErrCredentials},
		"what is no Base64":       {header("Basic YW5uOn_="), nil, auth.ErrCredentials},
		"another kind":            {header("Digest username=ann"), nil, auth.ErrCredentials},
		"an empty header":         {header(""), nil, auth.ErrCredentials},
		"a header and a form":     {asking(t, "ann", "p"), url.Values{"username": {"bob"}, "password": {"x"}}, auth.ErrSeveral},
		"a header and a name":     {asking(t, "ann", "p"), url.Values{"username": {"ann"}}, auth.ErrSeveral},
		"a header and a query":    {changed(func(r *http.Request) { r.URL.RawQuery = "password=x" }), nil, auth.ErrSeveral},
		"two names in a form":     {nobody(t), url.Values{"username": {"bob", "ann"}, "password": {"p"}}, auth.ErrSeveral},
		"two passwords in a form": {nobody(t), url.Values{"username": {"ann"}, "password": {"p", "p"}}, auth.ErrSeveral},
	} {
		if _, err := g.AskUpstream(test.r, test.form); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("asked %d times", n)
	}
}
