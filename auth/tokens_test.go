package auth_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/auth/token"
)

// withTokens has a token service beside what is configured.
func withTokens(t *testing.T, c auth.Config) *auth.Gate {
	t.Helper()
	c.Tokens = must(token.New([][]byte{bytes.Repeat([]byte("s"), 32)}))
	return auth.New(c)
}

func compiled(t *testing.T, repositories map[string]access.Repository) *access.Rules {
	t.Helper()
	return must(access.Compile(access.Config{Repositories: repositories, Admin: access.Policy{Users: []string{"root"}, Actions: access.Read | access.Delete}}))
}

// bearing is a request with a token.
func bearing(t *testing.T, token string) *http.Request {
	t.Helper()
	r := nobody(t)
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

// scopes reads scopes as a client sends them.
func scopes(text string) (all []token.Access) {
	for one := range strings.FieldsSeq(text) {
		if a, is := auth.ParseScope(one); is {
			all = append(all, a)
		}
	}
	return all
}

func described(all []token.Access) string {
	var texts []string
	for _, a := range all {
		texts = append(texts, fmt.Sprintf("%s:%s:%s", a.Type, a.Name, strings.Join(a.Actions, ",")))
	}
	return strings.Join(texts, " ")
}

func TestParseScope(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"repository:a/b:pull,push":             "repository:a/b:pull,push",
		"repository:host:5000/a:pull":          "repository:host:5000/a:pull",
		"repository(plugin):a:pull,,pull":      "repository:a:pull",
		"registry:catalog:*":                   "registry:catalog:*",
		"repository:a":                         "",
		"repository::pull":                     "",
		"repository":                           "",
		"":                                     "",
		"repository:a:":                        "repository:a:",
		"repository:" + strings.Repeat(":", 9): "repository:" + strings.Repeat(":", 8) + ":",
	} {
		if got := described(scopes(text)); got != want && text != "" {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestTokensAreForWhatMayBeHad(t *testing.T) {
	t.Parallel()
	all := access.Read | access.Create | access.Update | access.Delete
	g := withTokens(t, auth.Config{
		Methods: []auth.Method{password("p")},
		Rules: compiled(t, map[string]access.Repository{
			"team/*":   {Policies: []access.Policy{{Users: []string{"ann"}, Actions: all}, {Users: []string{"eve"}, Actions: access.Create}}, Default: access.Read},
			"public/*": {Default: access.Read, Anonymous: access.Read},
		}),
	})
	for _, test := range []struct{ name, wanted, want string }{
		{"ann", "repository:team/a:pull,push,delete", "repository:team/a:pull,push,delete"},
		{"ann", "repository:team/a:*", "repository:team/a:*"},
		{"ann", "repository:public/a:pull,push repository:team/a:pull repository:other:pull", "repository:public/a:pull repository:team/a:pull"},
		{"ann", "registry:catalog:* registry:else:* plugin:a:pull repository:team/a:fly", "registry:catalog:*"},
		{"bob", "repository:team/a:pull,push,delete", "repository:team/a:pull"},
		{"eve", "repository:team/a:pull,push,delete", "repository:team/a:pull,push"},
		{"root", "repository:other:pull,push,delete", "repository:other:pull,delete"},
		{"", "repository:team/a:pull repository:public/a:pull,push", "repository:public/a:pull"},
		{"ann", "", ""},
	} {
		r := asking(t, test.name, "p")
		if test.name == "" {
			r = nobody(t)
		}
		caller := must(g.Identify(r))
		grant := must(g.Grant(caller, "registry", scopes(test.wanted)))
		if got := described(grant.Access); got != test.want {
			t.Errorf("%s, %s: %q, want %q", test.name, test.wanted, got, test.want)
		}
		if used, err := g.Identify(bearing(t, grant.Token)); err != nil || used.Name() != test.name || !used.Lent() || !used.Greets() {
			t.Errorf("%s: %q, %v", test.name, used.Name(), err)
		}
	}
}

// A token is for what it was granted and for no more, and never for more than the rules of the moment.
func TestTokensNarrow(t *testing.T) {
	t.Parallel()
	all := access.Read | access.Create | access.Update | access.Delete
	grants := func(a access.Action) *access.Rules {
		return compiled(t, map[string]access.Repository{"team/*": {Policies: []access.Policy{{Groups: []string{"devs"}, Actions: a}}}})
	}
	secret := auth.NewKey()
	k := keys{secret: {Owner: "ann", ID: "1", Groups: []string{"others", "devs"}, Scopes: []string{"team/a"}}}
	before := withTokens(t, auth.Config{Methods: []auth.Method{password("p")}, Rules: grants(all | access.DetectCollision), Keys: k})
	grant := must(before.Grant(must(before.Identify(asking(t, "ann", secret))), "registry", scopes("repository:team/a:pull,push repository:team/b:pull")))
	if described(grant.Access) != "repository:team/a:pull,push" {
		t.Fatalf("granted %s", described(grant.Access))
	}
	after := withTokens(t, auth.Config{Methods: []auth.Method{password("p")}, Rules: grants(access.Read | access.Delete), Keys: k})
	for _, test := range []struct {
		gate       *auth.Gate
		do         access.Action
		repository string
		want       error
	}{
		{before, access.Read, "team/a", nil},
		{before, access.Update, "team/a", nil},
		{before, access.DetectCollision, "team/a", nil},
		{before, access.Delete, "team/a", auth.ErrCredentials}, // another token may
		{before, access.Read, "team/b", auth.ErrDenied},        // of this key, none
		{after, access.Read, "team/a", nil},
		{after, access.Update, "team/a", auth.ErrDenied},
		{after, access.Delete, "team/a", auth.ErrCredentials},
	} {
		caller := must(test.gate.Identify(bearing(t, grant.Token)))
		for range 2 { // the second time as another node takes it
			if err := caller.Must(test.repository, test.do); !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Errorf("%v to %s: %v, want %v", test.do, test.repository, err, test.want)
			}
			if caller.MustList() == nil || caller.Sees("team/a") != true || caller.Sees("team/b") {
				t.Errorf("lists: %v, sees %t and %t", caller.MustList(), caller.Sees("team/a"), caller.Sees("team/b"))
			}
			caller = must(test.gate.Decode(caller.Encode()))
		}
	}
	if _, err := before.Grant(must(before.Identify(bearing(t, grant.Token))), "", nil); !errors.Is(err, auth.ErrCredentials) {
		t.Errorf("a token for a token: %v", err)
	}
	delete(k, secret)
	if _, err := before.Identify(bearing(t, grant.Token)); !errors.Is(err, auth.ErrCredentials) {
		t.Errorf("of a key that was revoked: %v", err)
	}
}

func TestTokensThatDoNotHold(t *testing.T) {
	t.Parallel()
	rules := compiled(t, map[string]access.Repository{"*": {Anonymous: access.Read}})
	g := withTokens(t, auth.Config{Methods: []auth.Method{password("p")}, Rules: rules})
	anonymous := must(g.Grant(must(g.Identify(nobody(t))), "", nil)).Token
	closed := withTokens(t, auth.Config{Methods: []auth.Method{password("p")}, Rules: compiled(t, nil)})
	none := auth.New(auth.Config{Methods: []auth.Method{password("p")}, Rules: rules})
	for name, test := range map[string]struct {
		gate  *auth.Gate
		token string
	}{
		"nothing":                        {g, ""},
		"no token":                       {g, "x"},
		"of nobody, where all are known": {closed, anonymous},
		"without a service":              {none, anonymous},
	} {
		if caller, err := test.gate.Identify(bearing(t, test.token)); !errors.Is(err, auth.ErrCredentials) {
			t.Errorf("%s: %+v, %v", name, caller, err)
		}
	}
	if _, err := g.LoginByKey(t.Context(), "p"); !errors.Is(err, auth.ErrCredentials) {
		t.Errorf("a password for a key: %v", err)
	}
}

func TestWhoIsToldOfTokens(t *testing.T) {
	t.Parallel()
	g := withTokens(t, auth.Config{Methods: []auth.Method{password("p")}})
	caller := must(g.Identify(bearing(t, must(g.Grant(must(g.Identify(asking(t, "ann", "p"))), "", nil)).Token)))
	agent := func(name string, r *http.Request) *http.Request {
		r.Header.Set("User-Agent", name)
		return r
	}
	const basic, service = `Basic realm="Authorization Required"`, `Bearer realm="https://r.example:5000/zot/auth/token",service="r.example:5000",scope="repository:a:pull repository:b:pull"`
	for name, test := range map[string]struct {
		request *http.Request
		caller  auth.Caller
		want    string
	}{
		"docker":            {agent("docker/29.0 go/go1.26", nobody(t)), auth.Caller{}, service},
		"anything":          {agent("", nobody(t)), auth.Caller{}, service},
		"a bad token":       {agent("containerd/2.2", bearing(t, "x")), auth.Caller{}, service + `,error="invalid_token"`},
		"too little of one": {agent("containerd/2.2", bearing(t, "x")), caller, service + `,error="insufficient_scope"`},
		"a password":        {agent("docker/29.0", asking(t, "ann", "q")), auth.Caller{}, basic},
		"curl":              {agent("curl/8.0", nobody(t)), auth.Caller{}, basic},
		"a browser":         {agent("Mozilla/5.0", nobody(t)), auth.Caller{}, basic},
	} {
		if got := g.Challenge(test.request, test.caller, "https://r.example:5000", []string{"repository:a:pull", "repository:b:pull"}); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	without := auth.New(auth.Config{Methods: []auth.Method{password("p")}})
	if got := without.Challenge(nobody(t), auth.Caller{}, "", nil); got != basic {
		t.Errorf("without a service: %s", got)
	}
	if r := nobody(t); g.Origin(r) != "http://example.com" || withTokens(t, auth.Config{ExternalURL: "https://r"}).Origin(r) != "https://r" {
		t.Errorf("origin %s", g.Origin(r))
	}
	if !reflect.DeepEqual(compiled(t, map[string]access.Repository{"*": {Policies: []access.Policy{{Groups: []string{"a", "b"}}}}}).Named([]string{"x", "b"}), []string{"b"}) {
		t.Error("the groups of a token")
	}
}

// Only a proxy that is named says what its own client's connection is like, and only in what it adds itself.
func TestTLSInFrontOfAProxy(t *testing.T) {
	t.Parallel()
	g := withTokens(t, auth.Config{Methods: []auth.Method{password("p")}, Proxies: auth.Proxies{netip.MustParsePrefix("10.0.0.0/8")}})
	for _, test := range []struct {
		from string
		says []string
		want string
	}{
		{"10.1.1.1:9", []string{"https"}, "https://example.com"},
		{"10.1.1.1:9", []string{"http, https"}, "https://example.com"},
		{"10.1.1.1:9", []string{"https", "http"}, "http://example.com"},
		{"10.1.1.1:9", nil, "http://example.com"},
		{"192.0.2.1:9", []string{"https"}, "http://example.com"},
	} {
		r := nobody(t)
		r.RemoteAddr, r.Header["X-Forwarded-Proto"] = test.from, test.says
		if got := g.Origin(r); got != test.want {
			t.Errorf("%s says %q: %s, want %s", test.from, test.says, got, test.want)
		}
	}
}
