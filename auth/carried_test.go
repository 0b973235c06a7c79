package auth_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
)

// A token is one in the header Authorization, alone and as a whole; in a query, where it would be logged, it is none.
func TestWhereATokenIs(t *testing.T) {
	t.Parallel()
	g := withTokens(t, auth.Config{Methods: []auth.Method{password("p")}})
	good := must(g.Grant(must(g.Identify(asking(t, "ann", "p"))), "registry", nil)).Token
	other := must(g.Grant(must(g.Identify(asking(t, "bob", "p"))), "registry", nil)).Token
	for name, test := range map[string]struct {
		path   string
		header http.Header
		want   string
	}{
		"in its place":         {"/v2/", http.Header{"Authorization": {"Bearer " + good}}, "ann"},
		"in small":             {"/v2/", http.Header{"Authorization": {"bearer " + good}}, "ann"}, // RFC 9110, 11.1
		"in capitals":          {"/v2/", http.Header{"Authorization": {"BEARER " + good}}, "ann"},
		"two headers":          {"/v2/", http.Header{"Authorization": {"Bearer " + good, "Bearer " + other}}, ""},
		"two headers, two":     {"/v2/", http.Header{"Authorization": {"Basic " + "YWRtaW46cA==", "Bearer " + good}}, ""},
		"two in one":           {"/v2/", http.Header{"Authorization": {"Bearer " + good + " " + other}}, ""},
		"two with a comma":     {"/v2/", http.Header{"Authorization": {"Bearer " + good + ", Bearer " + other}}, ""},
		"two spaces":           {"/v2/", http.Header{"Authorization": {"Bearer  " + good}}, ""},
		"a tab":                {"/v2/", http.Header{"Authorization": {"Bearer\t" + good}}, ""},
		"a space before":       {"/v2/", http.Header{"Authorization": {" Bearer " + good}}, ""},
		"no word":              {"/v2/", http.Header{"Authorization": {good}}, ""},
		"another word":         {"/v2/", http.Header{"Authorization": {"Token " + good}}, ""},
		"a word run together":  {"/v2/", http.Header{"Authorization": {"Bearer" + good}}, ""},
		"as a password":        {"/v2/", asking(t, "ann", good).Header, ""},
		"as a name":            {"/v2/", asking(t, good, "").Header, ""},
		"to a proxy":           {"/v2/", http.Header{"Proxy-Authorization": {"Bearer " + good}}, ""},
		"in a query":           {"/v2/?access_token=" + good + "&token=" + good, http.Header{}, ""},
		"in a cookie":          {"/v2/", http.Header{"Cookie": {"session=" + good + "; token=" + good}, "X-Zot-Api-Client": {"zot-ui"}}, ""},
		"in a forwarded login": {"/v2/", http.Header{"X-Forwarded-Access-Token": {good}, "X-Auth-Request-User": {"ann"}}, ""},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, test.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = test.header
		caller, err := g.Identify(r)
		if caller.Name() != test.want || (err == nil) != (test.want != "") || err != nil && !errors.Is(err, auth.ErrCredentials) {
			t.Errorf("%s: %q, %v", name, caller.Name(), err)
		}
	}
}

// Whoever sends two kinds of credentials is not taken by the better one.
func TestTwoCredentials(t *testing.T) {
	t.Parallel()
	l := &logins{names: map[string]string{strings.Repeat("s", 43): "ann"}}
	g := withTokens(t, auth.Config{
		Methods: []auth.Method{password("p")}, Sessions: l, Rules: compiled(t, map[string]access.Repository{"open": {Anonymous: access.Read}}),
	})
	for name, authorization := range map[string]string{
		"a bad password": asking(t, "ann", "q").Header.Get("Authorization"), "a bad token": "Bearer x", "no kind": "x", "another kind": "Negotiate x", "nothing behind it": "Bearer ",
		"a name alone": asking(t, "ann", "").Header.Get("Authorization"), "a password alone": asking(t, "", "p").Header.Get("Authorization"),
	} {
		r := fromPages(nobody(t), strings.Repeat("s", 43))
		r.Header.Set("Authorization", authorization)
		if caller, err := g.Identify(r); !errors.Is(err, auth.ErrCredentials) {
			t.Errorf("%s beside a session: %q, %v", name, caller.Name(), err)
		}
	}
}
