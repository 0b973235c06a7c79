package bearer_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/auth/bearer"
	"github.com/seed-16d79997/zot/auth/condition"
)

// TestKeysGoOn has a Verifier follow on another while nobody says which keys there are.
func TestKeysGoOn(t *testing.T) {
	m, p, all := newSecretsManager(t), newProvider(t), pairs()
	m.secret = map[string]any{"SecretString": `{"1": ` + string(must(json.Marshal(inPEM(all["P-256"])))) + `}`}
	p.keys["1"] = all["P-256"]
	now := time.Now()
	byService := said(t, all["P-256"], jose.ES256, (&jose.SignerOptions{}).WithHeader("kid", "1"), claims(now, nil))
	byIssuer := p.token(t, "1", all["P-256"], nil)

	var log strings.Builder
	config := func(change func(*bearer.Config)) bearer.Config {
		c := bearer.Config{
			Realm: "https://tokens.example", Service: "registry", Secret: &bearer.Secret{Region: "eu-central-1", Name: "zot/keys", Refresh: time.Minute},
			Issuers: []bearer.Issuer{{URL: "https://another.example", Audiences: []string{"zot"}, CA: p.ca()}, {URL: p.URL, Audiences: []string{"zot"}, CA: p.ca()}},
			Logger:  hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Info}),
		}
		change(&c)
		return c
	}
	open := func(c bearer.Config) *bearer.Verifier {
		v := must(bearer.Open(c))
		t.Cleanup(v.Close)
		return v
	}
	tells := func(v *bearer.Verifier, text string) string {
		switch _, err := v.Verify(t.Context(), text, now); {
		case err == nil:
			return "holds"
		case errors.Is(err, bearer.ErrInvalid):
			return "none"
		}
		return "unknown"
	}
	first := open(config(func(*bearer.Config) {}))
	if a, b := tells(first, byService), tells(first, byIssuer); a != "holds" || b != "holds" {
		t.Fatal(a, b)
	}
	p.change(func() { p.down = true })
	m.answers(func() { m.refuse = "InternalServiceError" })
	for name, test := range map[string]struct {
		change          func(*bearer.Config)
		service, issuer string
	}{
		"nothing that keys hang on": {func(c *bearer.Config) {
			c.Realm, c.Secret.Refresh = "https://others.example", time.Hour
			c.Issuers[1].Mapping = condition.Mapping{Username: "'somebody'"}
			c.Issuers = c.Issuers[1:]
		}, "holds", "holds"},
		"another secret":    {func(c *bearer.Config) { c.Secret.Name = "zot/others" }, "unknown", "holds"},
		"another region":    {func(c *bearer.Config) { c.Secret.Region = "us-east-1" }, "unknown", "holds"},
		"another CA":        {func(c *bearer.Config) { c.Issuers[1].CA = certificate(all["RSA"]) }, "holds", "unknown"},
		"any issuer's name": {func(c *bearer.Config) { c.Issuers[1].AnyIssuer = true }, "holds", "unknown"},
		"a file of keys":    {func(c *bearer.Config) { c.Secret, c.KeyFile = nil, file(t, inPEM(all["RSA"])) }, "none", "holds"},
		"who knew nothing":  {func(c *bearer.Config) { c.Former = open(config(func(*bearer.Config) {})) }, "unknown", "unknown"},
	} {
		c := config(func(c *bearer.Config) { c.Former = first })
		test.change(&c)
		v := open(c)
		if service, issuer := tells(v, byService), tells(v, byIssuer); service != test.service || issuer != test.issuer {
			t.Errorf("%s: by the service %s, want %s; by the issuer %s, want %s", name, service, test.service, issuer, test.issuer)
		}
	}
	first.Close()
	third := open(config(func(c *bearer.Config) {
		c.Former = open(config(func(c *bearer.Config) { c.Former = first }))
	}))
	if a, b := tells(third, byService), tells(third, byIssuer); a != "holds" || b != "holds" {
		t.Errorf("one after another: %s, %s", a, b)
	}
}
