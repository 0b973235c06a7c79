package token_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/auth/token"
)

// seed is one of 32 equal letters.
func seed(letter string) []byte { return bytes.Repeat([]byte(letter), 32) }

func signer(t testing.TB, seeds ...[]byte) *token.Signer {
	t.Helper()
	s, err := token.New(seeds)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func signed(t testing.TB, s *token.Signer, c token.Claims, now time.Time) string {
	t.Helper()
	text, err := s.Sign(c, now)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func some() token.Claims {
	return token.Claims{
		Subject: "ann", Audience: "registry.example", Groups: []string{"devs"}, Key: "id",
		Access: []token.Access{{Type: "repository", Name: "a", Actions: []string{"pull"}}},
	}
}

func TestTokenSaysWhatItWasMadeOf(t *testing.T) {
	t.Parallel()
	s, now := signer(t, seed("a")), time.Now()
	text := signed(t, s, some(), now)
	if got, err := s.Verify(text, now); err != nil || !reflect.DeepEqual(got, some()) {
		t.Errorf("%+v, %v", got, err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "access"} {
		if claims[name] == nil {
			t.Errorf("no claim %s in %s", name, payload)
		}
	}
	if text == signed(t, s, some(), now) {
		t.Error("two tokens are one")
	}
}

func TestTokensHoldForAWhile(t *testing.T) {
	t.Parallel()
	s, now := signer(t, seed("a")), time.Now()
	text := signed(t, s, some(), now)
	for after, want := range map[time.Duration]bool{
		-time.Minute: false, -10 * time.Second: true, token.Lifetime: true, token.Lifetime + time.Minute: false, 1000 * time.Hour: false,
	} {
		if _, err := s.Verify(text, now.Add(after)); (err == nil) != want || err != nil && !errors.Is(err, token.ErrInvalid) {
			t.Errorf("after %s: %v", after, err)
		}
	}
}

// A secret gets a second line, which then comes first, and then the old one goes.
func TestTokensOutliveARotation(t *testing.T) {
	t.Parallel()
	now := time.Now()
	one, both, turned, other := signer(t, seed("a")), signer(t, seed("a"), seed("b")), signer(t, seed("b"), seed("a")), signer(t, seed("b"))
	for _, test := range []struct {
		from, at *token.Signer
		want     bool
	}{
		{one, both, true},
		{both, one, true},
		{both, turned, true},
		{turned, both, true},
		{turned, other, true},
		{other, turned, true},
		{one, other, false},
		{other, one, false},
	} {
		if _, err := test.at.Verify(signed(t, test.from, some(), now), now); (err == nil) != test.want {
			t.Errorf("%v, want %t", err, test.want)
		}
	}
	before := signed(t, one, some(), now)
	if err := one.Rotate([][]byte{seed("b")}); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Verify(before, now); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("of the old secret: %v", err)
	}
	for _, bad := range [][][]byte{nil, {[]byte("short")}} {
		if one.Rotate(bad) == nil {
			t.Errorf("%q was taken for keys", bad)
		}
		if _, err := one.Verify(signed(t, other, some(), now), now); err != nil {
			t.Errorf("after seeds that are none: %v", err)
		}
	}
}

// Nobody gets in who signs otherwise, or not at all.
func TestForgedTokens(t *testing.T) {
	t.Parallel()
	s, now := signer(t, seed("a")), time.Now()
	good := signed(t, s, some(), now)
	parts := strings.Split(good, ".")
	public := ed25519.NewKeyFromSeed(seed("a")).Public().(ed25519.PublicKey)
	hash := sha256.Sum256(public)
	id := hex.EncodeToString(hash[:8])
	b64 := base64.RawURLEncoding.EncodeToString
	header := func(alg, more string) string {
		return b64(fmt.Appendf(nil, `{"alg":%q,"kid":%q,"typ":"JWT"%s}`, alg, id, more))
	}
	mac := func(head string, key []byte) string {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(head + "." + parts[1]))
		return head + "." + parts[1] + "." + b64(m.Sum(nil))
	}
	sign := func(head, payload string, from []byte) string {
		return head + "." + payload + "." + b64(ed25519.Sign(ed25519.NewKeyFromSeed(from), []byte(head+"."+payload)))
	}
	if _, err := s.Verify(sign(header("EdDSA", ""), parts[1], seed("a")), now); err != nil {
		t.Fatalf("what is signed by hand as it should be: %v", err)
	}
	claims := func(text string) string { return b64([]byte(text)) }
	exp := now.Add(time.Minute).Unix()
	for name, text := range map[string]string{
		"nothing":                  "",
		"no parts":                 "token",
		"none":                     header("none", "") + "." + parts[1] + ".",
		"none in another case":     header("nOnE", "") + "." + parts[1] + ".",
		"no signature":             parts[0] + "." + parts[1] + ".",
		"HMAC of the public key":   mac(header("HS256", ""), public),
		"HMAC that says EdDSA":     mac(header("EdDSA", ""), public),
		"another payload":          parts[0] + "." + claims(`{"iss":"zot","sub":"admin"}`) + "." + parts[2],
		"another key":              sign(header("EdDSA", ""), parts[1], seed("b")),
		"a key that it brings":     sign(header("EdDSA", `,"jwk":{"kty":"OKP","crv":"Ed25519","x":"`+b64(ed25519.NewKeyFromSeed(seed("b")).Public().(ed25519.PublicKey))+`"}`), parts[1], seed("b")),
		"a part it must be known":  sign(header("EdDSA", `,"crit":["x"],"x":1`), parts[1], seed("a")),
		"no key id":                sign(b64([]byte(`{"alg":"EdDSA"}`)), parts[1], seed("a")),
		"more parts":               good + ".x",
		"encrypted":                strings.Repeat("e30.", 4) + "e30",
		"JSON":                     `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"no expiry":                sign(parts[0], claims(`{"iss":"zot","sub":"a","aud":"x","nbf":1,"iat":1}`), seed("a")),
		"another issuer":           sign(parts[0], claims(fmt.Sprintf(`{"iss":"x","sub":"a","aud":"x","nbf":1,"iat":1,"exp":%d}`, exp)), seed("a")),
		"no issuer":                sign(parts[0], claims(fmt.Sprintf(`{"sub":"a","aud":"x","nbf":1,"iat":1,"exp":%d}`, exp)), seed("a")),
		"no audience":              sign(parts[0], claims(fmt.Sprintf(`{"iss":"zot","sub":"a","nbf":1,"iat":1,"exp":%d}`, exp)), seed("a")),
		"claims that are no claim": sign(parts[0], claims(`[]`), seed("a")),
		"large":                    parts[0] + "." + parts[1] + strings.Repeat("A", 16<<10) + "." + parts[2],
	} {
		if got, err := s.Verify(text, now); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, got, err)
		} else if len(text) > 40 && strings.Contains(err.Error(), text[:40]) {
			t.Errorf("%s: the error has it: %v", name, err)
		}
	}
}

func TestTokensAreBounded(t *testing.T) {
	t.Parallel()
	c := some()
	c.Groups = []string{strings.Repeat("g", 13<<10)}
	if text, err := signer(t, seed("a")).Sign(c, time.Now()); !errors.Is(err, token.ErrTooLarge) {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

func FuzzVerify(f *testing.F) {
	s, now := signer(f, seed("a")), time.Unix(1_790_000_000, 0)
	good := signed(f, s, some(), now)
	f.Add(good)
	f.Add("a.b.c")
	f.Add(`{"payload":"e30"}`)
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := s.Verify(text, now); err == nil && !reflect.DeepEqual(c, some()) {
			t.Errorf("%q says %+v", text, c)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	s, now := signer(b, seed("a")), time.Now()
	text := signed(b, s, some(), now)
	for b.Loop() {
		if _, err := s.Verify(text, now); err != nil {
			b.Fatal(err)
		}
	}
}
