package bearer_test

import (
	"crypto"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/seed-16d79997/zot/auth/bearer"
	"github.com/seed-16d79997/zot/auth/condition"
)

// provider is an OpenID issuer with TLS.
type provider struct {
	*httptest.Server

	mu    sync.Mutex
	keys  map[string]crypto.Signer // by their ids
	down  bool
	asked map[string]int // requests by path
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{keys: map[string]crypto.Signer{}, asked: map[string]int{}}
	p.Server = httptest.NewTLSServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[r.URL.Path]++
	w.Header().Set("Content-Type", "application/json")
	switch {
	case p.down:
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.URL.Path == "/keys":
		set := jose.JSONWebKeySet{}
		for id, key := range p.keys {
			set.Keys = append(set.Keys, jose.JSONWebKey{KeyID: id, Key: key.Public(), Use: "sig"})
		}
		_ = json.NewEncoder(w).Encode(set)
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": p.URL, "jwks_uri": p.URL + "/keys", "id_token_signing_alg_values_supported": []string{"ES256", "HS256", "none"},
		})
	}
}

func (p *provider) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// ca is who has signed the provider's certificate.
func (p *provider) ca() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}))
}

// token is one that the provider makes with a key.
func (p *provider) token(t *testing.T, id string, key crypto.Signer, change map[string]any) string {
	t.Helper()
	c := claims(time.Now(), map[string]any{"iss": p.URL, "aud": []string{"zot"}, "sub": "build"})
	maps.Copy(c, change)
	return said(t, key, jose.ES256, (&jose.SignerOptions{}).WithHeader("kid", id), c)
}

func TestIssuer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, all, foreign := newProvider(t), pairs(), pairs()
		key := all["P-256"]
		p.change(func() { p.keys["1"] = key })
		v := must(bearer.Open(bearer.Config{Service: "registry", KeyFile: file(t, inPEM(foreign["P-256"])), Issuers: []bearer.Issuer{
			{URL: "https://other.example", Audiences: []string{"zot"}},
			{URL: p.URL, Audiences: []string{"others", "zot"}, CA: p.ca(), Mapping: condition.Mapping{Username: `"ci:" + claims.sub`, Groups: `["builds"]`}},
		}}))
		defer v.Close()
		now := time.Now()
		c, err := v.Verify(t.Context(), p.token(t, "1", key, nil), now)
		if err != nil || c.Subject != "ci:build" || len(c.Groups) != 1 || !c.Workload || c.Access != nil || c.All["iss"] != p.URL {
			t.Errorf("%+v, %v", c, err)
		}
		for name, text := range map[string]string{
			"of another audience":  p.token(t, "1", key, map[string]any{"aud": "zott"}),
			"over":                 p.token(t, "1", key, map[string]any{"exp": now.Add(-time.Hour).Unix()}),
			"not yet":              p.token(t, "1", key, map[string]any{"nbf": now.Add(2 * time.Minute).Unix()}),
			"made later":           p.token(t, "1", key, map[string]any{"iat": now.Add(2 * time.Minute).Unix()}),
			"of nobody's":          p.token(t, "1", key, map[string]any{"sub": 3}),
			"by a key of its own":  p.token(t, "1", foreign["P-256"], nil),
			"by an unknown key":    p.token(t, "2", foreign["P-256"], nil),
			"of a secret":          said(t, []byte(inPEM(key)), jose.HS256, (&jose.SignerOptions{}).WithHeader("kid", "1"), claims(now, map[string]any{"iss": p.URL, "aud": "zot"})),
			"of an unknown issuer": p.token(t, "1", key, map[string]any{"iss": p.URL + "/"}),
		} {
			if c, err := v.Verify(t.Context(), text, now); !errors.Is(err, bearer.ErrInvalid) {
				t.Errorf("%s: %+v, %v", name, c, err)
			}
		}
		if c, err := v.Verify(t.Context(), said(t, foreign["P-256"], jose.ES256, nil, claims(now, nil)), now); err != nil || c.Workload {
			t.Errorf("a token of the token service beside it: %+v, %v", c, err)
		}
		p.change(func() {
			if n := p.asked["/keys"]; n != 1 { // of many unknown ids and signatures, within moments
				t.Errorf("the issuer was asked %d times for its keys", n)
			}
		})
	})
}

// Until an issuer answers nobody can tell whether a token holds.
func TestIssuerIsDown(t *testing.T) {
	t.Parallel()
	p, all := newProvider(t), pairs()
	key := all["P-256"]
	p.change(func() { p.keys["1"], p.down = key, true })
	open := func() *bearer.Verifier {
		return must(bearer.Open(bearer.Config{Issuers: []bearer.Issuer{{URL: p.URL, Audiences: []string{"zot"}, CA: p.ca()}}}))
	}
	text, now := p.token(t, "1", key, nil), time.Now()
	if _, err := open().Verify(t.Context(), text, now); err == nil || errors.Is(err, bearer.ErrInvalid) {
		t.Errorf("an issuer that is down: %v", err)
	}
	p.change(func() { p.down = false })
	v := open()
	if _, err := v.Verify(t.Context(), text, now); err != nil {
		t.Fatal(err)
	}
	distrusted := must(bearer.Open(bearer.Config{Issuers: []bearer.Issuer{{URL: p.URL, Audiences: []string{"zot"}}}}))
	if _, err := distrusted.Verify(t.Context(), text, now); err == nil || errors.Is(err, bearer.ErrInvalid) {
		t.Errorf("without its CA: %v", err)
	}
}

func TestIssuersThatAreNone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		issuer bearer.Issuer
		want   string
	}{
		"a CA that is none":       {bearer.Issuer{CA: "x"}, "no certificate"},
		"a file that is missing":  {bearer.Issuer{CAFile: "/does/not/exist"}, "no such file"},
		"a name that is no text":  {bearer.Issuer{Mapping: condition.Mapping{Username: "1"}}, "username: is int"},
		"an expression with slip": {bearer.Issuer{Mapping: condition.Mapping{Groups: "claim.x"}}, "undeclared reference"},
	} {
		if _, err := bearer.Open(bearer.Config{Issuers: []bearer.Issuer{test.issuer}}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An issuer whose tokens may name another comes after those that a token names, and its silence stops nobody else's.
func TestIssuerOfAnyName(t *testing.T) {
	t.Parallel()
	named, loose, all, foreign := newProvider(t), newProvider(t), pairs(), pairs()["P-256"]
	key, other := all["P-256"], pairs()["P-256"]
	named.change(func() { named.keys["1"] = other })
	loose.change(func() { loose.keys["1"] = key })
	v := must(bearer.Open(bearer.Config{Service: "registry", KeyFile: file(t, inPEM(foreign)), Issuers: []bearer.Issuer{
		{URL: loose.URL, Audiences: []string{"zot"}, CA: loose.ca(), AnyIssuer: true},
		{URL: named.URL, Audiences: []string{"zot"}, CA: named.ca()},
	}}))
	defer v.Close()
	now := time.Now()
	wants := func(what, text, want string) {
		t.Helper()
		c, err := v.Verify(t.Context(), text, now)
		got := c.Subject
		switch {
		case errors.Is(err, bearer.ErrInvalid):
			got = "invalid"
		case err != nil:
			got = "unknown"
		}
		if got != want {
			t.Errorf("%s: %s (%v), want %s", what, got, err, want)
		}
	}
	service := said(t, foreign, jose.ES256, nil, claims(now, nil))
	wants("its own name", loose.token(t, "1", key, nil), loose.URL+"/build")
	wants("a name of nobody's", loose.token(t, "1", key, map[string]any{"iss": "https://nobody.example"}), "https://nobody.example/build")
	wants("another's name", loose.token(t, "1", key, map[string]any{"iss": named.URL}), named.URL+"/build")
	wants("the other's own", named.token(t, "1", other, nil), named.URL+"/build")
	wants("its name, with the other's key", named.token(t, "1", other, map[string]any{"iss": loose.URL}), "invalid")
	wants("another audience", loose.token(t, "1", key, map[string]any{"iss": "https://nobody.example", "aud": "x"}), "invalid")
	wants("of the token service", service, "alice")
	down := must(bearer.Open(bearer.Config{Service: "registry", KeyFile: file(t, inPEM(foreign)), Issuers: []bearer.Issuer{
		{URL: "https://127.0.0.1:1", Audiences: []string{"zot"}, AnyIssuer: true}, {URL: named.URL, Audiences: []string{"zot"}, CA: named.ca()},
	}}))
	defer down.Close()
	v = down
	wants("it is down: the other's", named.token(t, "1", other, nil), named.URL+"/build")
	wants("it is down: of the token service", service, "alice")
	wants("it is down: of nobody's", loose.token(t, "1", key, nil), "unknown")
}
