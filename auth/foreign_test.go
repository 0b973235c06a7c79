package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/auth/bearer"
	"github.com/seed-16d79997/zot/auth/token"
)

// service is another token service, as far as its tokens go.
type service struct {
	key    *ecdsa.PrivateKey
	tokens *bearer.Verifier
}

func newService(t *testing.T) service {
	t.Helper()
	s := service{key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
	file := filepath.Join(t.TempDir(), "key.pem")
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(s.key.Public()))})
	if err := os.WriteFile(file, public, 0o600); err != nil {
		t.Fatal(err)
	}
	s.tokens = must(bearer.Open(bearer.Config{Realm: "https://auth.example/token", Service: "zot", KeyFile: file}))
	return s
}

// grants is a token for some scopes.
func (s service) grants(name, scope string) string {
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: s.key}, nil))
	return must(jwt.Signed(signer).Claims(map[string]any{"sub": name, "aud": "zot", "exp": time.Now().Add(time.Hour).Unix(), "access": scopes(scope)}).Serialize())
}

// What a foreign token is for decides alone, and nothing else lets anybody in.
func TestForeignTokens(t *testing.T) {
	t.Parallel()
	s := newService(t)
	all := access.Read | access.Create | access.Update | access.Delete
	g := auth.New(auth.Config{
		Bearer: s.tokens, Methods: []auth.Method{password("p")}, Certificates: &auth.Certificates{Attributes: []auth.Attribute{auth.CommonName}},
		Rules: compiled(t, map[string]access.Repository{
			"team/*": {Policies: []access.Policy{{Users: []string{"ann"}, Actions: all | access.DetectCollision}}, Anonymous: access.Read}, "not/*": {},
		}),
	})
	for name, r := range map[string]*http.Request{"nobody": nobody(t), "a password": asking(t, "ann", "p"), "an empty one": asking(t, "", ""), "no token": bearing(t, "x")} {
		if c, err := g.Identify(r); !errors.Is(err, auth.ErrCredentials) {
			t.Errorf("%s: %q, %v", name, c.Name(), err)
		}
	}
	if g.Everybody(access.Read, "team/a") || g.HasTokens() {
		t.Error("something is granted to everybody, or there is a token service")
	}
	for _, test := range []struct {
		scope      string
		do         access.Action
		repository string
		want       bool
	}{
		{"repository:team/a:pull", access.Read, "team/a", true},
		{"repository:team/a:pull", access.Create, "team/a", false},
		{"repository:team/a:pull", access.DetectCollision, "team/a", false}, // the duty is of the rules
		{"repository:team/a:pull repository:team/a:push", access.Create, "team/a", true},
		{"repository:team/a:push", access.Update, "team/a", true},
		{"repository:team/a:push", access.Read, "team/a", false},
		{"repository:team/a:push", access.Delete, "team/a", false},
		{"repository:team/a:delete", access.Delete, "team/a", true},
		{"repository:not/a:*", access.Delete, "not/a", true}, // although the rules deny it
		{"repository:not/a:*", access.Read, "not/ab", false},
		{"repository:team/*:pull", access.Read, "team/a", false},
		{"registry:catalog:*", access.Read, "team/a", false},
		{"plugin:team/a:pull", access.Read, "team/a", false},
		{"", access.Read, "team/a", false},
	} {
		c := must(g.Identify(bearing(t, s.grants("ann", test.scope))))
		for range 2 { // the second time as another node takes it
			err := c.Must(test.repository, test.do)
			if c.May(test.do, test.repository) != test.want || (err == nil) != test.want || err != nil && !errors.Is(err, auth.ErrCredentials) {
				t.Errorf("%d to %s with %q: %v", test.do, test.repository, test.scope, err)
			}
			if !c.Greets() || !c.Lent() || c.Name() != "ann" || c.MustList() != nil {
				t.Errorf("%q: greets %t, lent %t, lists %v", c.Name(), c.Greets(), c.Lent(), c.MustList())
			}
			c = must(g.Decode(c.Encode()))
		}
	}
	c := must(g.Identify(bearing(t, s.grants("", "repository:a:pull repository:b:push")))) // it need not be anybody's
	if !c.Sees("a") || c.Sees("b") || !errors.Is(c.Denied(), auth.ErrCredentials) {
		t.Error("a list does not show what may be pulled alone")
	}
	if c = must(g.Identify(bearing(t, s.grants("", "registry:catalog:*")))); !c.Sees("whatever") || c.May(access.Read, "whatever") {
		t.Error("a token for the catalog is not for all of it, or for more")
	}
	if _, err := g.Grant(c, "", []token.Access{}); !errors.Is(err, auth.ErrCredentials) {
		t.Errorf("a token for a foreign token: %v", err)
	}
}

func TestForeignChallenge(t *testing.T) {
	t.Parallel()
	s := newService(t)
	g := auth.New(auth.Config{Bearer: s.tokens})
	only := auth.New(auth.Config{Bearer: must(bearer.Open(bearer.Config{}))})
	const service, scope = `Bearer realm="https://auth.example/token",service="zot"`, `,scope="repository:a:pull repository:b:pull"`
	good := bearing(t, s.grants("ann", ""))
	curl := nobody(t)
	curl.Header.Set("User-Agent", "curl/8.5.0")
	for name, test := range map[string]struct {
		gate   *auth.Gate
		r      *http.Request
		scopes string
		want   string
	}{
		"nobody":                 {g, nobody(t), "repository:a:pull repository:b:pull", service + scope},
		"for nothing":            {g, nobody(t), "", service},
		"with curl":              {g, curl, "", service},
		"a password":             {g, asking(t, "ann", "p"), "", service},
		"a bad token":            {g, bearing(t, "x"), "", service + `,error="invalid_token"`},
		"a token for too little": {g, good, "repository:a:pull repository:b:pull", service + scope + `,error="insufficient_scope"`},
		"issuers alone":          {only, nobody(t), "", "Bearer"},
		"a bad one":              {only, bearing(t, "x"), "repository:a:pull", `Bearer scope="repository:a:pull",error="invalid_token"`},
	} {
		c, _ := test.gate.Identify(test.r) // nobody for all but one
		if got := test.gate.Challenge(test.r, c, "https://registry.example", strings.Fields(test.scopes)); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
