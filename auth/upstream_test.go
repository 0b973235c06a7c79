package auth_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/bearer"
)

// before is a gate before another token service.
func before(t *testing.T, answer http.HandlerFunc, issuers ...bearer.Issuer) *auth.Gate {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	tokens := must(bearer.Open(bearer.Config{Issuers: issuers, Upstream: &bearer.Upstream{URL: server.URL + "/?tenant=a", Service: "theirs"}}))
	t.Cleanup(tokens.Close)
	return auth.New(auth.Config{Bearer: tokens})
}

// atOnce runs a test for which no time passes: in a bubble that waits for a network it stands still, and a wait that begins
// with a wrong password does not end before the test has seen it.
func atOnce(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

// given are the name and password of a request, as a token service reads it that looks in each place.
func given(r *http.Request) (name, password string, are bool) {
	if r.Method == http.MethodPost {
		return r.PostFormValue("username"), r.PostFormValue("password"), r.PostFormValue("grant_type") == "password"
	}
	return r.BasicAuth()
}

// behind is a gate before a token service at which ann has the password "p", and nobody can tell of "?".
func behind(t *testing.T, more ...bearer.Issuer) (g *auth.Gate, asked *atomic.Int32) {
	t.Helper()
	asked = &atomic.Int32{}
	return before(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch name, password, are := given(r); {
		case password == "?":
			w.WriteHeader(http.StatusBadGateway)
		case are && (name != "ann" || password != "p"):
			w.WriteHeader(http.StatusUnauthorized)
		}
	}, more...), asked
}

// posting is the form of a POST with a password.
func posting(name, password string) url.Values {
	return url.Values{"grant_type": {"password"}, "username": {name}, "password": {password}}
}

// from is a request by somebody's address.
func from(address string, r *http.Request) *http.Request {
	r.RemoteAddr = address + ":1"
	return r
}

// hears fails if a request is not answered with a status, or not with an error where that is 0.
func hears(t *testing.T, g *auth.Gate, r *http.Request, form url.Values, status int, want error) {
	t.Helper()
	if answer, _, err := g.AskUpstream(r, form); answer.Status != status || !errors.Is(err, want) {
		t.Errorf("%d, %v; want %d, %v", answer.Status, err, status, want)
	}
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
	for way, by := range map[string]func(t *testing.T, name, password string) (*http.Request, url.Values){
		"GET": func(t *testing.T, name, password string) (*http.Request, url.Values) {
			t.Helper()
			return asking(t, name, password), nil
		},
		"POST": func(t *testing.T, name, password string) (*http.Request, url.Values) {
			t.Helper()
			return nobody(t), posting(name, password)
		},
	} {
		t.Run(way, func(t *testing.T) {
			atOnce(t, func(t *testing.T) {
				tries := func(g *auth.Gate, at, name, password string, status int, want error) {
					t.Helper()
					r, form := by(t, name, password)
					hears(t, g, from(at, r), form, status, want)
				}
				g, asked := behind(t)
				for n := range 5 {
					tries(g, "10.0.0.1", []string{"ann", "Ann"}[n%2], fmt.Sprint("guess", n), 401, nil)
				}
				for range 3 {
					tries(g, "10.0.0.1", "ann", "p", 0, auth.ErrTooMany)
				}
				if n := asked.Load(); n != 5 {
					t.Errorf("asked %d times", n)
				}
				hears(t, g, from("10.0.0.1", nobody(t)), nil, 200, nil)

				g, _ = behind(t)
				tries(g, "10.0.1.1", "ann", "p", 200, nil)
				tries(g, "10.0.1.2", "ann", "p", 200, nil) // it is remembered
				for n := range 21 {
					status, want := 401, error(nil)
					if n == 20 {
						status, want = 0, auth.ErrTooMany
					}
					tries(g, fmt.Sprintf("10.0.0.%d", n), "ann", "x", status, want)
				}
				tries(g, "10.0.1.1", "ann", "p", 200, nil) // who was right is not locked out by them
				tries(g, "10.0.1.2", "ann", "p", 200, nil)
				tries(g, "10.0.1.3", "ann", "p", 0, auth.ErrTooMany)

				g, _ = behind(t)
				for range 4 {
					tries(g, "10.0.0.1", "ann", "?", 502, nil)
				}
				for range 20 {
					tries(g, "10.0.0.1", "ann", "p", 200, nil)
				}
				for n := range 5 {
					tries(g, "10.0.0.1", "ann", fmt.Sprint("guess", n), 401, nil)
				}
				tries(g, "10.0.0.1", "ann", "p", 0, auth.ErrTooMany) // else a guess that is right would show, as it is remembered
			})
		})
	}
}

// What a token service says of a password by its status.
func TestStatusOfUpstream(t *testing.T) {
	t.Parallel()
	atOnce(t, func(t *testing.T) {
		for status, guesses := range map[int]int{200: 30, 404: 30, 400: 20, 401: 20, 403: 20, 429: 30, 500: 30} {
			g := before(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
			asked := 0
			for n := range 30 {
				_, name, err := g.AskUpstream(from(fmt.Sprintf("10.0.0.%d", n), nobody(t)), posting("ann", fmt.Sprint("guess", n)))
				if err != nil {
					break
				}
				if (name == "ann") != (status == 200) {
					t.Errorf("%d: it is %q", status, name)
				}
				asked++
			}
			if asked != guesses {
				t.Errorf("%d: of 30 addresses %d may guess", status, asked)
			}
		}
	})
}

// Nobody makes a token service say yes where it does not look, and so has wrong passwords forgotten.
func TestGuessesAreNotForgotten(t *testing.T) {
	t.Parallel()
	atOnce(t, func(t *testing.T) {
		var guesses atomic.Int32
		g := before(t, func(w http.ResponseWriter, r *http.Request) { // looks into Authorization alone
			if name, _, are := r.BasicAuth(); are {
				guesses.Add(1)
				if name != "bob" {
					w.WriteHeader(http.StatusUnauthorized)
				}
			}
		})
		query := nobody(t)
		query.URL.RawQuery = "username=ann&password=z"
		refresh := posting("ann", "x")
		refresh.Set("grant_type", "refresh_token")
		refresh.Set("refresh_token", "of mallory")
		for n := range 50 {
			_, _, _ = g.AskUpstream(asking(t, "ann", fmt.Sprint("guess", n)), nil)
			hears(t, g, query, nil, 0, auth.ErrTokenRequest)
			hears(t, g, nobody(t), refresh, 0, auth.ErrTokenRequest)
			hears(t, g, nobody(t), posting("ann", "z"), 200, nil)
			hears(t, g, asking(t, "bob", "his"), nil, 200, nil)
		}
		if n := guesses.Load() - 50; n != 5 {
			t.Errorf("%d guesses reach it", n)
		}
	})
}

// A program that sends many requests at once with its password is no guesser. One is judged first, and then all others are asked
// for what is theirs.
func TestManyAtOnceAreRight(t *testing.T) {
	t.Parallel()
	const most = 12
	var asked atomic.Int32
	var scopes sync.Map
	together := make(chan struct{})
	g := before(t, func(_ http.ResponseWriter, r *http.Request) {
		scopes.Store(r.FormValue("scope"), true)
		switch asked.Add(1) {
		case 1: // is judged
			return
		case most:
			close(together)
		}
		select { // the others are here at once
		case <-together:
		case <-r.Context().Done():
		}
	})
	var all sync.WaitGroup
	for n := range most {
		r := asking(t, "ann", "p")
		r.URL.RawQuery = fmt.Sprint("scope=", n)
		all.Go(func() { hears(t, g, r, nil, 200, nil) })
	}
	all.Wait()
	for n := range most {
		if _, is := scopes.Load(fmt.Sprint(n)); !is {
			t.Errorf("nobody has asked for %d", n)
		}
	}
	if n := asked.Load(); n != most {
		t.Errorf("asked %d times", n)
	}
}

// What was right is forgotten when the token service says that it is not any more.
func TestRightPasswordIsForgotten(t *testing.T) {
	t.Parallel()
	atOnce(t, func(t *testing.T) {
		var changed atomic.Bool
		g := before(t, func(w http.ResponseWriter, _ *http.Request) {
			if changed.Load() {
				w.WriteHeader(http.StatusUnauthorized)
			}
		})
		hears(t, g, asking(t, "ann", "p"), nil, 200, nil)
		changed.Store(true)
		for range 1 + 5 { // the first was right a moment ago
			hears(t, g, asking(t, "ann", "p"), nil, 401, nil)
		}
		hears(t, g, asking(t, "ann", "p"), nil, 0, auth.ErrTooMany)
	})
}

// TestTokenRequest has what is handed on of a request: what is known, and credentials in one place.
func TestTokenRequest(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	g := before(t, func(_ http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		got <- fmt.Sprintf("%s %s body %s as %q", r.Method, r.URL.Query().Encode(), r.PostForm.Encode(), r.Header["Authorization"])
	})
	with := func(r *http.Request, query string) *http.Request {
		r.URL.RawQuery = query
		r.Header.Set("Accept", "application/json")
		r.Header.Set("X-Secret", "x")
		return r
	}
	anns := asking(t, "ann", "p").Header["Authorization"]
	grant := func(pairs ...string) url.Values {
		form := url.Values{}
		for n := 0; n < len(pairs); n += 2 {
			form.Add(pairs[n], pairs[n+1])
		}
		return form
	}
	const post = "POST service=theirs&tenant=a body "
	for name, test := range map[string]struct {
		r    *http.Request
		form url.Values
		want string
	}{
		"nobody":             {nobody(t), nil, `GET service=theirs&tenant=a body  as []`},
		"nothing for a name": {asking(t, "", ""), nil, `GET service=theirs&tenant=a body  as []`},
		"a password": {
			with(asking(t, "ann", "p"), "service=ours&service=more&scope=a&scope=b&account=ann&client_id=docker&offline_token=true&more=x&Scope=c&tenant=b&a;b"), nil,
			fmt.Sprintf("GET account=ann&client_id=docker&offline_token=true&scope=a&scope=b&service=theirs&tenant=a body  as %q", anns),
		},
		"a token":          {bearing(t, "x"), nil, `GET service=theirs&tenant=a body  as ["Bearer x"]`},
		"a password there": {with(nobody(t), "scope=c"), grant("grant_type", "password", "username", "ann", "password", "p", "scope", "a", "scope", "b", "service", "ours", "client_id", "docker", "access_type", "offline", "account", "ann", "tenant", "b"), post + `access_type=offline&client_id=docker&grant_type=password&password=p&scope=a&scope=b&service=theirs&username=ann as []`},
		"a refresh token":  {nobody(t), grant("grant_type", "refresh_token", "refresh_token", "x", "scope", "a"), post + `grant_type=refresh_token&refresh_token=x&scope=a&service=theirs as []`},
	} {
		hears(t, g, test.r, test.form, 200, nil)
		if got := <-got; got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	changed := func(change func(r *http.Request)) *http.Request {
		r := asking(t, "ann", "p")
		change(r)
		return r
	}
	header := func(lines ...string) *http.Request {
		return changed(func(r *http.Request) { r.Header["Authorization"] = lines })
	}
	and := func(pairs ...string) url.Values {
		return grant(append([]string{"grant_type", "password", "username", "ann", "password", "p"}, pairs...)...)
	}
	for name, test := range map[string]struct {
		r    *http.Request
		form url.Values
		want error
	}{
		"two headers":             {header(anns[0], anns[0]), nil, auth.ErrCredentials},
		"what is no Base64":       {header("Basic YW5uOn_="), nil, auth.ErrCredentials},
		"another kind":            {header("Digest username=ann"), nil, auth.ErrCredentials},
		"an empty header":         {header(""), nil, auth.ErrCredentials},
		"a header and a query":    {with(asking(t, "ann", "p"), "password=x"), nil, auth.ErrTokenRequest},
		"a query":                 {with(nobody(t), "username=ann"), nil, auth.ErrTokenRequest},
		"a query in capitals":     {with(nobody(t), "PASSWORD=x"), nil, auth.ErrTokenRequest},
		"a long s":                {with(nobody(t), "pa%C5%BFsword=x"), nil, auth.ErrTokenRequest},
		"a secret":                {with(nobody(t), "client_secret=x"), nil, auth.ErrTokenRequest},
		"two accounts":            {with(asking(t, "ann", "p"), "account=ann&account=bob"), nil, auth.ErrTokenRequest},
		"a header and a form":     {asking(t, "ann", "p"), and(), auth.ErrTokenRequest},
		"a header and no form":    {asking(t, "ann", "p"), url.Values{}, auth.ErrTokenRequest},
		"a token and a form":      {bearing(t, "x"), and(), auth.ErrTokenRequest},
		"a query and a form":      {with(nobody(t), "password=x"), and(), auth.ErrTokenRequest},
		"two names in a form":     {nobody(t), and("username", "bob"), auth.ErrTokenRequest},
		"two passwords in a form": {nobody(t), and("password", "p"), auth.ErrTokenRequest},
		"two grants":              {nobody(t), and("grant_type", "refresh_token"), auth.ErrTokenRequest},
		"both credentials":        {nobody(t), and("refresh_token", "x"), auth.ErrTokenRequest},
		"a secret, too":           {nobody(t), and("Client_Secret", "x"), auth.ErrTokenRequest},
		"Password":                {nobody(t), and("Password", "x"), auth.ErrTokenRequest},
		"no password":             {nobody(t), grant("grant_type", "password", "username", "ann"), auth.ErrTokenRequest},
		"no name":                 {nobody(t), grant("grant_type", "password", "password", "p"), auth.ErrTokenRequest},
		"no refresh token":        {nobody(t), grant("grant_type", "refresh_token"), auth.ErrTokenRequest},
		"a name and no password":  {nobody(t), grant("grant_type", "refresh_token", "refresh_token", "x", "username", "ann"), auth.ErrTokenRequest},
		"another grant":           {nobody(t), grant("grant_type", "client_credentials"), auth.ErrTokenRequest},
		"no grant":                {nobody(t), grant("username", "ann", "password", "p"), auth.ErrTokenRequest},
		"our own":                 {changed(func(r *http.Request) { r.Header["Via"] = []string{"1.1 proxy", "1.1 other, " + bearer.Via} }), nil, auth.ErrOwnUpstream},
	} {
		if _, _, err := g.AskUpstream(test.r, test.form); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
		select {
		case got := <-got:
			t.Errorf("%s: it is asked %s", name, got)
		default:
		}
	}
}
