package api_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
)

// passwords is a method whose passwords are "of " and the name.
type passwords map[string][]string // groups by name

func (p passwords) Verify(_ context.Context, name, password string) ([]string, error) {
	groups, known := p[name]
	switch {
	case !known:
		return nil, auth.ErrUnknown
	case password != "of "+name:
		return nil, auth.ErrWrong
	}
	return groups, nil
}

// gated is the registry of a world behind a gate.
func (w *world) gated(c auth.Config) *api.Registry {
	w.t.Helper()
	config := api.DefaultConfig()
	config.UploadKeys = [][]byte{[]byte("a key of tests, long enough")}
	config.RetryAfter = 7 * time.Second // of what is not said otherwise
	gate := auth.New(c)
	g, err := api.New(config, api.Deps{Proposer: w.proposer, Consistency: w.consistency, State: w.state, Stores: only(w.blobs, nil), Gate: func() *auth.Gate { return gate }})
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

func compiled(t *testing.T, c access.Config) *access.Rules {
	t.Helper()
	r, err := access.Compile(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// as are the credentials of a name.
func as(name string) string {
	if name == "" {
		return "X-Nothing: 1"
	}
	user, password, given := strings.Cut(name, ":")
	if !given {
		password = "of " + user
	}
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

const everything = access.Read | access.Create | access.Update | access.Delete

// TestWhoMayDoWhat asks everything that can be asked, by everybody, and knows each answer.
func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	policies := func(anonymous access.Action) access.Config {
		return access.Config{
			Repositories: map[string]access.Repository{
				"a/*": {
					Policies: []access.Policy{
						{Users: []string{"creator"}, Actions: access.Read | access.Create},
						{Users: []string{"updater"}, Actions: access.Read | access.Update},
						{Groups: []string{"owners"}, Actions: everything},
						{Users: []string{"careful"}, Actions: everything | access.DetectCollision},
					},
					Default: access.Read, Anonymous: anonymous,
				},
				"hidden/*": {},
			},
			Admin: access.Policy{Users: []string{"admin"}, Actions: access.Read | access.Delete},
		}
	}
	people := []string{"", "nobody", "admin:wrong", "reader", "creator", "updater", "owner", "careful", "admin"}
	names := passwords{"reader": nil, "creator": nil, "updater": nil, "owner": {"owners"}, "careful": nil, "admin": nil}
	const (
		image1 = "/v2/a/b/manifests/1"
		new1   = "/v2/a/b/manifests/new"
	)
	config := digest.FromString("config").String()
	other := digest.FromString("other").String()
	same, changed := image(config, ""), image(config, `,"annotations":{"x":"y"}`)
	put := func(path, body string) call {
		return call{method: http.MethodPut, path: path, header: []string{"Content-Type: " + typeImage}, body: body}
	}
	for _, test := range []struct {
		what string
		call call
		// one for each of the people, in their order; the first with a policy for everybody, and without
		open, none int
		rest       [8]int
	}{
		{"greeting", call{method: "GET", path: "/v2/"}, 401, 401, [8]int{401, 401, 200, 200, 200, 200, 200, 200}},
		{"pull by tag", call{method: "GET", path: image1}, 200, 401, [8]int{401, 401, 200, 200, 200, 200, 200, 200}},
		{"look by tag", call{method: "HEAD", path: image1}, 200, 401, [8]int{401, 401, 200, 200, 200, 200, 200, 200}},
		{"pull of a blob", call{method: "GET", path: "/v2/a/b/blobs/" + config}, 200, 401, [8]int{401, 401, 200, 200, 200, 200, 200, 200}},
		{"look at a blob", call{method: "HEAD", path: "/v2/a/b/blobs/" + config}, 200, 401, [8]int{401, 401, 200, 200, 200, 200, 200, 200}},
		{"tags", call{method: "GET", path: "/v2/a/b/tags/list"}, 200, 401, [8]int{401, 401, 200, 200, 200, 200, 200, 200}},
		{"referrers", call{method: "GET", path: "/v2/a/b/referrers/" + config}, 200, 401, [8]int{401, 401, 200, 200, 200, 200, 200, 200}},
		{"catalog", call{method: "GET", path: "/v2/_catalog"}, 200, 401, [8]int{401, 401, 200, 200, 200, 200, 200, 200}},
		{"hidden tags", call{method: "GET", path: "/v2/hidden/x/tags/list"}, 401, 401, [8]int{401, 401, 403, 403, 403, 403, 403, 200}},
		{"what no pattern is for", call{method: "GET", path: "/v2/else/where/x/tags/list"}, 401, 401, [8]int{401, 401, 403, 403, 403, 403, 403, 404}},
		{"begin of a push", call{method: "POST", path: "/v2/a/b/blobs/uploads/"}, 401, 401, [8]int{401, 401, 403, 202, 403, 202, 202, 403}},
		{"push of a blob", call{method: "POST", path: "/v2/a/b/blobs/uploads/?digest=" + other, body: "other"}, 401, 401, [8]int{401, 401, 403, 201, 403, 201, 201, 403}},
		{"an upload", call{method: "GET", path: "/v2/a/b/blobs/uploads/x"}, 401, 401, [8]int{401, 401, 403, 404, 403, 404, 404, 403}},
		{"its end", call{method: "DELETE", path: "/v2/a/b/blobs/uploads/x"}, 401, 401, [8]int{401, 401, 403, 404, 403, 404, 404, 403}},
		{"mount of what may be read", call{method: "POST", path: "/v2/a/c/blobs/uploads/?from=a/b&mount=" + config}, 401, 401, [8]int{401, 401, 403, 201, 403, 201, 201, 403}},
		{"mount of what may not", call{method: "POST", path: "/v2/a/c/blobs/uploads/?from=hidden/x&mount=" + digest.FromString("hidden").String()}, 401, 401, [8]int{401, 401, 403, 202, 403, 202, 202, 403}},
		{"mount from anywhere", call{method: "POST", path: "/v2/a/c/blobs/uploads/?mount=" + digest.FromString("hidden").String()}, 401, 401, [8]int{401, 401, 403, 202, 403, 202, 202, 403}},
		{"a new tag", put(new1, same), 401, 401, [8]int{401, 401, 403, 201, 403, 201, 201, 403}},
		{"a tag again", put(image1, same), 401, 401, [8]int{401, 401, 403, 201, 201, 201, 201, 403}},
		{"another image by a tag", put(image1, changed), 401, 401, [8]int{401, 401, 403, 403, 201, 201, 201, 403}},
		{"an image without a tag", put("/v2/a/b/manifests/"+digest.FromString(changed).String(), changed), 401, 401, [8]int{401, 401, 403, 201, 403, 201, 201, 403}},
		{"a second tag that exists", put(new1+"?tag=1", changed), 401, 401, [8]int{401, 401, 403, 403, 403, 201, 201, 403}},
		{"delete of a tag", call{method: "DELETE", path: image1}, 401, 401, [8]int{401, 401, 403, 403, 403, 202, 202, 202}},
		{"delete of two tags by digest", call{method: "DELETE", path: "/v2/a/b/manifests/" + digest.FromString(same).String()}, 401, 401, [8]int{401, 401, 403, 403, 403, 202, 409, 202}},
		{"delete of a blob", call{method: "DELETE", path: "/v2/a/b/blobs/" + other}, 401, 401, [8]int{401, 401, 403, 403, 403, 404, 404, 404}},
		{"no such path", call{method: "GET", path: "/v2/a/b/x/y"}, 404, 401, [8]int{401, 401, 404, 404, 404, 404, 404, 404}},
	} {
		for _, anonymous := range []access.Action{0, access.Read} {
			for i, who := range people {
				want := test.none
				switch {
				case i > 0:
					want = test.rest[i-1]
				case anonymous != 0:
					want = test.open
				}
				t.Run(fmt.Sprintf("%s/%s/%d", test.what, who, anonymous), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t)
					w.pushImage("1", "")
					w.pushImage("2", "")
					w.push("hidden/x", "hidden")
					g := w.gated(auth.Config{Methods: []auth.Method{names}, Rules: compiled(t, policies(anonymous))})
					c := test.call
					c.header = append([]string{as(who)}, c.header...)
					got := send(t, g, c)
					challenged := got.Header().Get("WWW-Authenticate") == `Basic realm="Authorization Required"`
					if got.Code != want || challenged != (want == 401 || want == 403) {
						t.Errorf("%d %s, challenge %v; want %d", got.Code, got.Body, challenged, want)
					}
				})
			}
		}
	}
}

// TestCatalogShowsWhatMayBeRead has full pages of the few among many.
func TestCatalogShowsWhatMayBeRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 40 {
		repository := fmt.Sprintf("no/%02d", i)
		if i%8 == 7 {
			repository = fmt.Sprintf("ok/%02d", i)
		}
		body := image(w.push(repository, "config"), "")
		w.must(http.StatusCreated, call{method: "PUT", path: "/v2/" + repository + "/manifests/1", header: []string{"Content-Type: " + typeImage}, body: body})
	}
	g := w.gated(auth.Config{Rules: compiled(t, access.Config{Repositories: map[string]access.Repository{"ok/*": {Anonymous: access.Read}}})})
	path, pages := "/v2/_catalog?n=2", ""
	for path != "" {
		got := send(t, g, call{method: "GET", path: path})
		pages += strings.TrimSpace(got.Body.String())
		path, _, _ = strings.Cut(strings.TrimPrefix(got.Header().Get("Link"), "<"), ">")
	}
	const want = `{"repositories":["ok/07","ok/15"]}{"repositories":["ok/23","ok/31"]}{"repositories":["ok/39"]}`
	if pages != want {
		t.Errorf("%s, want %s", pages, want)
	}
}

// TestCallerOfAnotherNode has a node answer for one who was let in by another, and by nobody who says so himself.
func TestCallerOfAnotherNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pushImage("1", "")
	g := w.gated(auth.Config{
		Methods: []auth.Method{passwords{"alice": nil}},
		Rules:   compiled(t, access.Config{Repositories: map[string]access.Repository{"a/*": {Policies: []access.Policy{{Groups: []string{"devs"}, Actions: access.Read}}}}}),
	})
	get := call{method: "GET", path: "/v2/a/b/manifests/1"}
	for header, want := range map[string]int{
		`X-Zot-Caller: {"Name":"alice","Groups":["devs"]}`: 200, `X-Zot-Caller: {"Name":"alice"}`: 403, "X-Zot-Caller: {}": 401, "X-Zot-Caller: alice": 500, "X-Other: 1": 500,
		`X-Zot-Caller: {"Everything":true}`: 200,
	} {
		c := get
		c.header = []string{header}
		if got := send(t, g.Forwarded(), c); got.Code != want {
			t.Errorf("%s: %d %s, want %d", header, got.Code, got.Body, want)
		}
		if got := send(t, g, c); got.Code != 401 {
			t.Errorf("%s from a client: %d", header, got.Code)
		}
	}
}

// TestOperator has nobody asked who has the operator's socket.
func TestOperator(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pushImage("1", "")
	g := w.gated(auth.Config{Methods: []auth.Method{passwords{}}, Rules: compiled(t, access.Config{})})
	for _, c := range []call{
		{method: "GET", path: "/v2/"},
		{method: "GET", path: "/v2/_catalog"},
		{method: "GET", path: "/v2/a/b/manifests/1"},
		{method: "POST", path: "/v2/a/b/blobs/uploads/"},
	} {
		if got := send(t, g.Operator(), c); got.Code >= 300 {
			t.Errorf("%s %s: %d %s", c.method, c.path, got.Code, got.Body)
		}
		if got := send(t, g, c); got.Code != 401 {
			t.Errorf("%s %s from a client: %d", c.method, c.path, got.Code)
		}
	}
}

// Who guesses is told when to try again, and nobody is asked about what they give until then.
func TestGuesses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		g := w.gated(auth.Config{Methods: []auth.Method{passwords{"alice": nil}}})
		for _, want := range []int{401, 401, 401, 401, 401, 429} {
			answer := send(t, g, call{method: http.MethodGet, path: "/v2/", header: []string{as("alice:wrong")}})
			if answer.Code != want || (want == 429) != (answer.Header().Get("Retry-After") == "1" && strings.Contains(answer.Body.String(), `"TOOMANYREQUESTS","message":"too many failed logins`)) {
				t.Fatalf("%d, Retry-After %q, %s; want %d", answer.Code, answer.Header().Get("Retry-After"), answer.Body, want)
			}
		}
		if answer := send(t, g, call{method: http.MethodGet, path: "/v2/", header: []string{as("alice")}}); answer.Code != 429 || answer.Header().Get("WWW-Authenticate") != "" {
			t.Errorf("the right one: %d, challenge %q", answer.Code, answer.Header().Get("WWW-Authenticate"))
		}
	})
}
