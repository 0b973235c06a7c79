package auth_test

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
)

// where is a rule that lets ann read and push where an expression is true.
func where(expression, message string) map[string]access.Repository {
	return map[string]access.Repository{"*": {Policies: []access.Policy{{
		Users: []string{"ann"}, Actions: access.Read | access.Create, Conditions: []access.Condition{{Expression: expression, Message: message}},
	}}}}
}

// TestConditionsOfARequest has conditions ask all that is known of one, here and at another node.
func TestConditionsOfARequest(t *testing.T) {
	t.Parallel()
	r := asking(t, "ann", "p")
	r.Method = http.MethodPut
	r.RemoteAddr = "10.0.0.7:1234"
	r.Header.Set("X-Forwarded-For", "192.0.2.9, 192.0.2.1 , 10.0.0.8")
	r.Header.Set("X-Forwarded-Proto", "https")
	r.Header.Set("User-Agent", strings.Repeat("é", 200))
	secure := r.Clone(t.Context())
	secure.TLS = &tls.ConnectionState{Version: tls.VersionTLS13}
	other := r.Clone(t.Context())
	other.RemoteAddr = "192.0.2.2:1234"
	for _, test := range []struct {
		expression string
		r          *http.Request
		want       bool
	}{
		{`req.method == "PUT" && req.user.username == "ann"`, r, true},
		{`req.client.ip == "192.0.2.1"`, r, true}, // what a proxy that is named says
		{`req.client.ip == "192.0.2.2"`, other, true},
		{`size(req.client.forwardedFor) == 3 && req.client.forwardedFor[0] == "192.0.2.9" && req.client.forwardedFor[1] == "192.0.2.1"`, other, true},
		{`req.tls.enabled && req.tls.version == ""`, r, true}, // so the proxy says
		{`req.tls.enabled`, other, false},
		{`req.tls.enabled && req.tls.version == "1.3"`, secure, true},
		{`size(req.userAgent) == 128`, r, true}, // of so many bytes as may be
		{`req.time > timestamp("2026-01-01T00:00:00Z") && req.time < timestamp("2100-01-01T00:00:00Z")`, r, true},
		{`req.tag == "v1" && req.referenceType == "tag"`, r, true},
		{`size(req.claims) == 0`, r, true},
		{`req.claims.sub == "x"`, r, false},
	} {
		rules := compiled(t, where(test.expression, "so it is <said>"))
		proxies := auth.Proxies{netip.MustParsePrefix("10.0.0.0/8")}
		first := auth.New(auth.Config{Methods: []auth.Method{password("p")}, Rules: rules, Proxies: proxies})
		second := auth.New(auth.Config{Methods: []auth.Method{password("p")}, Rules: rules})
		c := must(first.Identify(test.r)).To("v1", "")
		for _, c := range []auth.Caller{c, must(second.Decode(c.Encode()))} {
			if got := c.May(access.Read, "a"); got != test.want {
				t.Errorf("%s: %t", test.expression, got)
			}
			err := c.Must("a", access.Read)
			said := err != nil && strings.HasSuffix(err.Error(), ": so it is <said>")
			if errors.Is(err, auth.ErrDenied) == test.want || said == (test.want || strings.Contains(test.expression, "claims.sub")) {
				t.Errorf("%s: %v", test.expression, err)
			}
		}
		if strings.ContainsFunc(c.Encode(), func(r rune) bool { return r < ' ' }) {
			t.Errorf("no value of a header: %q", c.Encode())
		}
	}
}

// Without conditions nothing of a request goes with its caller.
func TestNothingIsAsked(t *testing.T) {
	t.Parallel()
	g := auth.New(auth.Config{Methods: []auth.Method{password("p")}, Rules: compiled(t, map[string]access.Repository{"*": {Default: access.Read}})})
	c := must(g.Identify(asking(t, "ann", "p"))).To("v1", "")
	if text := c.Encode(); text != `{"Name":"ann","Groups":null}` {
		t.Errorf("%s", text)
	}
}

// A token is made for what may be had where conditions are true later: they are judged when it is used.
func TestTokensAndConditions(t *testing.T) {
	t.Parallel()
	g := withTokens(t, auth.Config{Methods: []auth.Method{password("p")}, Rules: compiled(t, where(`req.tag == "v1" && req.method == "PUT"`, "v1 alone"))})
	grant := must(g.Grant(must(g.Identify(asking(t, "ann", "p"))), "registry", scopes("repository:a:pull,push,delete")))
	if got := described(grant.Access); got != "repository:a:pull,push" {
		t.Fatal(got)
	}
	r := bearing(t, grant.Token)
	r.Method = http.MethodPut
	c := must(g.Identify(r))
	if err := c.To("v1", "").Must("a", access.Create); err != nil {
		t.Error(err)
	}
	if err := c.To("v2", "").Must("a", access.Create); !errors.Is(err, auth.ErrDenied) || !strings.HasSuffix(err.Error(), ": v1 alone") {
		t.Error(err) // no other token would do
	}
}
