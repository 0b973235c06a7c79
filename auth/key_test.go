package auth_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
)

// keys are API keys by their secrets.
type keys map[string]auth.Key

var errUntold = errors.New("no quorum")

func (k keys) Key(_ context.Context, secret string) (auth.Key, error) {
	if k == nil {
		return auth.Key{}, errUntold
	}
	key, known := k[secret]
	if !known {
		return auth.Key{}, auth.ErrUnknown
	}
	return key, nil
}

func (k keys) KeyOf(_ context.Context, owner, id string) (auth.Key, error) {
	if k == nil {
		return auth.Key{}, errUntold
	}
	for _, key := range k {
		if key.Owner == owner && key.ID == id {
			return key, nil
		}
	}
	return auth.Key{}, auth.ErrUnknown
}

// password is one that everybody has.
type password string

func (p password) Verify(_ context.Context, _, given string) ([]string, error) {
	if given != string(p) {
		return nil, auth.ErrWrong
	}
	return nil, nil
}

// asking is a request with credentials.
func asking(t *testing.T, name, password string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v2/", http.NoBody)
	r.SetBasicAuth(name, password)
	return r
}

func TestKeysAreOfTheirOwner(t *testing.T) {
	t.Parallel()
	all, some, strange := auth.NewKey(), auth.NewKey(), auth.NewKey()
	if len(all) != 36 || !strings.HasPrefix(all, "zak_") || all == some {
		t.Fatalf("made up %q and %q", all, some)
	}
	rules, err := access.Compile(access.Config{Repositories: map[string]access.Repository{
		"**": {Policies: []access.Policy{{Groups: []string{"devs"}, Actions: access.Read}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	g := auth.New(auth.Config{Methods: []auth.Method{password("zak_is mine")}, Rules: rules, Keys: keys{
		all:  {Owner: "ann", Groups: []string{"devs"}},
		some: {Owner: "ann", Groups: []string{"devs"}, Scopes: []string{"team/*", "one"}},
	}})
	for _, test := range []struct {
		name, password string
		err            error
		lent           bool
		reads          string // of these, what may be read
	}{
		{"ann", all, nil, true, "team/app team/app/x one other"},
		{"ann", some, nil, true, "team/app one"},
		{"bob", all, auth.ErrCredentials, false, ""},
		{"", all, auth.ErrCredentials, false, ""},
		{"ann", strange, auth.ErrCredentials, false, ""},
		{"ann", strings.ToUpper(all), auth.ErrCredentials, false, ""},
		{"ann", "zak_is mine", nil, false, ""},
	} {
		caller, err := g.Identify(asking(t, test.name, test.password))
		if !errors.Is(err, test.err) {
			t.Errorf("%s with %s: %v, want %v", test.name, test.password, err, test.err)
		}
		if err != nil {
			continue
		}
		for range 2 { // the second time as another node takes it
			var reads []string
			for _, repository := range []string{"team/app", "team/app/x", "one", "other"} {
				if caller.May(access.Read, repository) {
					reads = append(reads, repository)
				}
			}
			if caller.Lent() != test.lent || strings.Join(reads, " ") != test.reads {
				t.Errorf("%s with %s: lent %t, reads %q", test.name, test.password, caller.Lent(), reads)
			}
			if caller, err = g.Decode(caller.Encode()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if text := must(g.Identify(asking(t, "ann", some))).Encode(); strings.Contains(text, some) {
		t.Errorf("the key goes along: %s", text)
	}
}

// Where only the node that was asked has rules, the limits of a key hold all the same.
func TestScopesHoldWithoutRules(t *testing.T) {
	t.Parallel()
	secret := auth.NewKey()
	g := auth.New(auth.Config{Methods: []auth.Method{password("p")}, Keys: keys{secret: {Owner: "ann", Scopes: []string{"a"}}}})
	caller := must(g.Identify(asking(t, "ann", secret)))
	var none *auth.Gate
	for _, c := range []auth.Caller{caller, must(none.Decode(caller.Encode()))} {
		if !c.May(access.Delete, "a") || c.May(access.Read, "b") {
			t.Errorf("%+v: a %t, b %t", c, c.May(access.Delete, "a"), c.May(access.Read, "b"))
		}
	}
}

// Who cannot be told apart from a stranger is no stranger, and no method is asked in place of that.
func TestKeysThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	secret := auth.NewKey()
	g := auth.New(auth.Config{Methods: []auth.Method{password(secret)}, Keys: keys(nil)})
	if _, err := g.Identify(asking(t, "ann", secret)); !errors.Is(err, errUntold) || errors.Is(err, auth.ErrCredentials) || strings.Contains(err.Error(), secret) {
		t.Errorf("%v", err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
