package bearer_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/seed-16d79997/zot/auth/bearer"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// pairs is a private key of each kind that signs tokens.
func pairs() map[string]crypto.Signer {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	return map[string]crypto.Signer{
		"RSA": must(rsa.GenerateKey(rand.Reader, 2048)), "P-256": must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		"P-384": must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)), "P-521": must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)), "Ed25519": must(ed, err),
	}
}

// inPEM is a public key as a file has it.
func inPEM(private crypto.Signer) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(private.Public()))}))
}

// certificate is a certificate of a key, whose time is over.
func certificate(private crypto.Signer) string {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}
	der := must(x509.CreateCertificate(rand.Reader, template, template, private.Public(), private))
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// file writes a file of the test.
func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func opened(t *testing.T, content string) *bearer.Verifier {
	t.Helper()
	v, err := bearer.Open(bearer.Config{Realm: "https://tokens.example", Service: "registry", KeyFile: file(t, content)})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// said is a token with a claim for each name.
func said(t *testing.T, key any, algorithm jose.SignatureAlgorithm, options *jose.SignerOptions, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// claims are those of a token for now, with others in their place.
func claims(now time.Time, change map[string]any) map[string]any {
	c := map[string]any{
		"iss": "tokens.example", "sub": "alice", "aud": "registry", "exp": now.Add(time.Hour).Unix(), "nbf": now.Unix(), "iat": now.Unix(),
		"access": []any{map[string]any{"type": "repository", "name": "team/app", "actions": []string{"pull"}}},
	}
	for name, value := range change {
		if value == nil {
			delete(c, name)
			continue
		}
		c[name] = value
	}
	return c
}

// TestAlgorithms has each key believe what it can have signed itself, and nothing else.
func TestAlgorithms(t *testing.T) {
	t.Parallel()
	now, all := time.Now(), pairs()
	kinds := map[jose.SignatureAlgorithm]string{
		jose.RS256: "RSA", jose.RS384: "RSA", jose.RS512: "RSA", jose.PS256: "RSA", jose.PS384: "RSA", jose.PS512: "RSA",
		jose.ES256: "P-256", jose.ES384: "P-384", jose.ES512: "P-521", jose.EdDSA: "Ed25519",
	}
	for kind, private := range all {
		for form, content := range map[string]string{"key": inPEM(private), "certificate": certificate(private)} {
			v := opened(t, content)
			for algorithm, of := range kinds {
				c, err := v.Verify(t.Context(), said(t, all[of], algorithm, nil, claims(now, nil)), now)
				if of == kind != (err == nil) || err != nil && !errors.Is(err, bearer.ErrInvalid) {
					t.Errorf("%s of %s, signed with %s: %v", form, kind, algorithm, err)
				}
				if err == nil && (c.Subject != "alice" || c.Workload || len(c.Access) != 1 || c.Access[0].Name != "team/app") {
					t.Errorf("%s: %+v", algorithm, c)
				}
			}
			for _, secret := range []string{content, strings.TrimSpace(content), string(must(x509.MarshalPKIXPublicKey(private.Public())))} { // what an attacker has, too
				for _, algorithm := range []jose.SignatureAlgorithm{jose.HS256, jose.HS384, jose.HS512} {
					if len(secret) < 64 && algorithm != jose.HS256 {
						continue // too short for the library
					}
					if _, err := v.Verify(t.Context(), said(t, []byte(secret), algorithm, nil, claims(now, nil)), now); !errors.Is(err, bearer.ErrInvalid) {
						t.Errorf("%s, with the public %s of %s for a secret: %v", algorithm, form, kind, err)
					}
				}
			}
		}
	}
}

// TestForgeries has a token by a key that it brings along itself, and others that are none.
func TestForgeries(t *testing.T) {
	t.Parallel()
	now := time.Now()
	private, other := must(rsa.GenerateKey(rand.Reader, 2048)), must(rsa.GenerateKey(rand.Reader, 2048))
	v := opened(t, inPEM(private))
	good := said(t, private, jose.RS256, nil, claims(now, nil))
	if _, err := v.Verify(t.Context(), good, now); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	encoded := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	with := func(name jose.HeaderKey, value any) string {
		return said(t, other, jose.RS256, (&jose.SignerOptions{}).WithHeader(name, value), claims(now, nil))
	}
	der, _ := pem.Decode([]byte(certificate(other)))
	chain := base64.StdEncoding.EncodeToString(der.Bytes)
	for name, text := range map[string]string{
		"nothing":                   "",
		"no token":                  "a.b.c",
		"two parts":                 parts[0] + "." + parts[1],
		"none":                      encoded(`{"alg":"none"}`) + "." + parts[1] + ".",
		"None":                      encoded(`{"alg":"None","typ":"JWT"}`) + "." + parts[1] + "." + parts[2],
		"no alg":                    encoded(`{}`) + "." + parts[1] + "." + parts[2],
		"the wrong key":             said(t, other, jose.RS256, nil, claims(now, nil)),
		"a key that it brings":      said(t, other, jose.RS256, &jose.SignerOptions{EmbedJWK: true}, claims(now, nil)),
		"a certificate":             with("x5c", []string{chain}),
		"the address of a key":      with("jku", "https://evil.example/keys"),
		"the address of a chain":    with("x5u", "https://evil.example/chain"),
		"the name of a file":        with("kid", "../../../../dev/null"),
		"a header that must be":     said(t, private, jose.RS256, (&jose.SignerOptions{}).WithHeader("crit", []string{"x"}).WithHeader("x", 1), claims(now, nil)),
		"other claims":              parts[0] + "." + encoded(`{"sub":"root","exp":9999999999}`) + "." + parts[2],
		"another signature":         parts[0] + "." + parts[1] + "." + encoded("x"),
		"JSON":                      must(jose.ParseSignedCompact(good, []jose.SignatureAlgorithm{jose.RS256})).FullSerialize(),
		"too large":                 said(t, private, jose.RS256, nil, claims(now, map[string]any{"more": strings.Repeat("x", 16<<10)})),
		"claims that are a list":    parts[0] + "." + encoded(`[]`) + "." + parts[2],
		"an access that is a text":  said(t, private, jose.RS256, nil, claims(now, map[string]any{"access": "repository:a:pull"})),
		"a time that is a text":     said(t, private, jose.RS256, nil, claims(now, map[string]any{"exp": "never"})),
		"without an end":            said(t, private, jose.RS256, nil, claims(now, map[string]any{"exp": nil})),
		"over for a minute":         said(t, private, jose.RS256, nil, claims(now, map[string]any{"exp": now.Add(-62 * time.Second).Unix()})),
		"not for a minute":          said(t, private, jose.RS256, nil, claims(now, map[string]any{"nbf": now.Add(62 * time.Second).Unix()})),
		"made in a minute":          said(t, private, jose.RS256, nil, claims(now, map[string]any{"iat": now.Add(62 * time.Second).Unix()})),
		"for another service":       said(t, private, jose.RS256, nil, claims(now, map[string]any{"aud": "others"})),
		"for two other services":    said(t, private, jose.RS256, nil, claims(now, map[string]any{"aud": []string{"Registry", ""}})),
		"an access of another kind": said(t, private, jose.RS256, nil, claims(now, map[string]any{"access": []any{1}})),
	} {
		if c, err := v.Verify(t.Context(), text, now); !errors.Is(err, bearer.ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	for name, change := range map[string]map[string]any{
		"just over":         {"exp": now.Add(-58 * time.Second).Unix()},
		"for soon":          {"nbf": now.Add(58 * time.Second).Unix(), "iat": now.Add(58 * time.Second).Unix()},
		"for nobody":        {"aud": nil},
		"for several":       {"aud": []string{"others", "registry"}},
		"of anybody":        {"iss": "somebody else", "nbf": nil, "iat": nil},
		"without a subject": {"sub": nil},
		"for nothing":       {"access": nil},
	} {
		if _, err := v.Verify(t.Context(), said(t, private, jose.RS256, nil, claims(now, change)), now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a token is for can end before the token.
func TestEntriesEnd(t *testing.T) {
	t.Parallel()
	now := time.Now()
	private := pairs()["P-256"]
	access := func(name string, more map[string]any) map[string]any {
		a := map[string]any{"type": "repository", "name": name, "actions": []string{"pull"}}
		maps.Copy(a, more)
		return a
	}
	text := said(t, private, jose.ES256, nil, claims(now, map[string]any{"access": []any{
		access("a", nil), access("b", map[string]any{"exp": now.Add(time.Minute).Unix()}), access("c", map[string]any{"exp": now.Add(-2 * time.Minute).Unix()}),
	}}))
	c, err := opened(t, inPEM(private)).Verify(t.Context(), text, now)
	names := ""
	for _, a := range c.Access {
		names += a.Name
	}
	if err != nil || names != "ab" {
		t.Errorf("%s, %v", names, err)
	}
}

func TestKeyFiles(t *testing.T) {
	t.Parallel()
	private := pairs()["RSA"].(*rsa.PrivateKey) //nolint:forcetypeassert // it is one
	p224 := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	for name, test := range map[string]struct{ content, want string }{
		"PKCS #1":        {string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&private.PublicKey)})), ""},
		"text before":    {"subject=/CN=tokens\n" + certificate(private), ""},
		"a private key":  {string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)})), "holds a RSA PRIVATE KEY"},
		"nothing":        {"", "holds nothing in PEM"},
		"no certificate": {string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})), "x509"},
		"another curve":  {inPEM(p224), "P-224"},
		"too large":      {strings.Repeat("x", 1<<20+1), "larger"},
	} {
		if err := bearer.CheckKey([]byte(test.content)); (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	if _, err := bearer.Open(bearer.Config{KeyFile: "/does/not/exist"}); err == nil {
		t.Error("a file that is not there is used")
	}
}

// A key that takes another's place counts at once; what is none changes nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	now, all := time.Now(), pairs()
	name := file(t, inPEM(all["RSA"]))
	v := must(bearer.Open(bearer.Config{Service: "registry", KeyFile: name}))
	holds := func() string {
		var kinds []string
		for kind, algorithm := range map[string]jose.SignatureAlgorithm{"RSA": jose.PS256, "Ed25519": jose.EdDSA} {
			if _, err := v.Verify(t.Context(), said(t, all[kind], algorithm, nil, claims(now, nil)), now); err == nil {
				kinds = append(kinds, kind)
			}
		}
		slices.Sort(kinds)
		return strings.Join(kinds, " ")
	}
	for _, step := range []struct{ content, want string }{
		{inPEM(all["RSA"]), "false <nil>: RSA"},
		{"what is none", "false holds nothing in PEM: RSA"},
		{inPEM(all["Ed25519"]), "true <nil>: Ed25519"},
	} {
		if err := os.WriteFile(name, []byte(step.content), 0o600); err != nil {
			t.Fatal(err)
		}
		changed, err := v.Reload()
		if got := strings.ReplaceAll(fmt.Sprintf("%t %v: %s", changed, err, holds()), name+": ", ""); got != step.want {
			t.Errorf("%s, want %s", got, step.want)
		}
	}
}
