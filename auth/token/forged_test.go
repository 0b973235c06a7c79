package token_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/auth/token"
)

// forge makes a token of a header and claims as they stand here, signed with the key of a seed.
func forge(header, claims string, from []byte) string {
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(header)) + "." + b64([]byte(claims))
	return text + "." + b64(ed25519.Sign(ed25519.NewKeyFromSeed(from), []byte(text)))
}

func keyID(from []byte) string {
	hash := sha256.Sum256(ed25519.NewKeyFromSeed(from).Public().(ed25519.PublicKey))
	return hex.EncodeToString(hash[:8])
}

// Whatever a header says of keys, the key is one of this cluster, and the one that it names.
func TestForgedHeaders(t *testing.T) {
	t.Parallel()
	s, now := signer(t, seed("a"), seed("b")), time.Now()
	a, b := keyID(seed("a")), keyID(seed("b"))
	claims := fmt.Sprintf(`{"iss":"zot","sub":"ann","aud":"x","nbf":%d,"iat":%d,"exp":%d}`, now.Unix(), now.Unix(), now.Add(time.Minute).Unix())
	good := `{"alg":"EdDSA","kid":"` + a + `"}`
	if _, err := s.Verify(forge(good, claims, seed("a")), now); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Verify(forge(`{"alg":"EdDSA","kid":"`+b+`"}`, claims, seed("b")), now); err != nil {
		t.Fatal(err)
	}
	foreign := base64.RawURLEncoding.EncodeToString(ed25519.NewKeyFromSeed(seed("x")).Public().(ed25519.PublicKey))
	for name, header := range map[string]string{
		"the other key":      `{"alg":"EdDSA","kid":"` + b + `"}`,
		"no key":             `{"alg":"EdDSA","kid":""}`,
		"an unknown one":     `{"alg":"EdDSA","kid":"` + strings.Repeat("0", 16) + `"}`,
		"the start of one":   `{"alg":"EdDSA","kid":"` + a[:15] + `"}`,
		"in another case":    `{"alg":"EdDSA","kid":"` + strings.ToUpper(a) + `"}`,
		"with a space":       `{"alg":"EdDSA","kid":"` + a + ` "}`,
		"with a zero":        `{"alg":"EdDSA","kid":"` + a + `\u0000"}`,
		"a path":             `{"alg":"EdDSA","kid":"../../../dev/null"}`,
		"a command":          `{"alg":"EdDSA","kid":"x' UNION SELECT 'key"}`,
		"a number":           `{"alg":"EdDSA","kid":1}`,
		"a list":             `{"alg":"EdDSA","kid":["` + a + `"]}`,
		"null":               `{"alg":"EdDSA","kid":null}`,
		"twice":              `{"alg":"EdDSA","kid":"` + a + `","kid":"` + b + `"}`,
		"EdDSA in small":     `{"alg":"eddsa","kid":"` + a + `"}`,
		"Ed448":              `{"alg":"Ed448","kid":"` + a + `"}`,
		"no algorithm":       `{"kid":"` + a + `"}`,
		"two algorithms":     `{"alg":"EdDSA","alg":"none","kid":"` + a + `"}`,
		"critical":           `{"alg":"EdDSA","kid":"` + a + `","crit":["exp"],"exp":1}`,
		"unencoded":          `{"alg":"EdDSA","kid":"` + a + `","crit":["b64"],"b64":false}`,
		"no object":          `["EdDSA"]`,
		"something behind":   good + good,
		"compressed":         `{"alg":"EdDSA","kid":"` + a + `","zip":"DEF","crit":["zip"]}`,
		"the key's URL":      `{"alg":"EdDSA","kid":"x","jku":"http://127.0.0.1:1/keys"}`,
		"the certificate":    `{"alg":"EdDSA","kid":"x","x5c":["MIIB"]}`,
		"the URL of its own": `{"alg":"EdDSA","kid":"x","x5u":"http://127.0.0.1:1/cert"}`,
	} {
		if got, err := s.Verify(forge(header, claims, seed("a")), now); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for name, header := range map[string]string{ // signed by who brings the key along
		"a key":           `{"alg":"EdDSA","kid":"` + a + `","jwk":{"kty":"OKP","crv":"Ed25519","x":"` + foreign + `","kid":"` + a + `"}}`,
		"a key's URL":     `{"alg":"EdDSA","kid":"` + a + `","jku":"http://127.0.0.1:1/keys"}`,
		"a certificate's": `{"alg":"EdDSA","kid":"` + a + `","x5u":"http://127.0.0.1:1/cert"}`,
		"nothing":         good,
	} {
		if got, err := s.Verify(forge(header, claims, seed("x")), now); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("with %s: %+v, %v", name, got, err)
		}
	}
}

// Also what we have signed ourselves is only believed within its time, and in the form that we give it.
func TestForgedClaims(t *testing.T) {
	t.Parallel()
	s, now := signer(t, seed("a")), time.Unix(1_790_000_000, 0)
	header := `{"alg":"EdDSA","kid":"` + keyID(seed("a")) + `"}`
	at := func(after time.Duration) string { return fmt.Sprint(now.Add(after).Unix()) }
	claims := func(nbf, iat, exp, more string) string {
		return `{"iss":"zot","sub":"ann","nbf":` + nbf + `,"iat":` + iat + `,"exp":` + exp + more + `}`
	}
	const aud = `,"aud":"x"`
	if _, err := s.Verify(forge(header, claims(at(0), at(0), at(time.Minute), aud), seed("a")), now); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"over":                claims(at(-time.Hour), at(-time.Hour), at(-time.Minute), aud),
		"over at the epoch":   claims("0", "0", "0", aud),
		"not yet":             claims(at(time.Minute), at(0), at(time.Hour), aud),
		"made tomorrow":       claims(at(0), at(24*time.Hour), at(48*time.Hour), aud),
		"no time":             claims(at(0), at(0), "null", aud),
		"a text for a time":   claims(at(0), at(0), `"`+at(time.Minute)+`"`, aud),
		"no number":           claims(at(0), at(0), "1e999", aud),
		"before all time":     claims(at(0), at(0), "-1", aud),
		"a list of times":     claims(at(0), at(0), "["+at(time.Minute)+"]", aud),
		"no audience":         claims(at(0), at(0), at(time.Minute), ""),
		"two audiences":       claims(at(0), at(0), at(time.Minute), `,"aud":["x","y"]`),
		"a list of none":      claims(at(0), at(0), at(time.Minute), `,"aud":[]`),
		"another issuer":      strings.Replace(claims(at(0), at(0), at(time.Minute), aud), `"zot"`, `"zot "`, 1),
		"two issuers":         strings.Replace(claims(at(0), at(0), at(time.Minute), aud), `"zot"`, `["zot"]`, 1),
		"access that is none": claims(at(0), at(0), at(time.Minute), aud+`,"access":"*"`),
		"groups that is none": claims(at(0), at(0), at(time.Minute), aud+`,"groups":{"admin":true}`),
		"something behind":    claims(at(0), at(0), at(time.Minute), aud) + "{}",
		"nothing":             "",
	} {
		if got, err := s.Verify(forge(header, text, seed("a")), now); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// One token is one text: who lists those that were seen, or takes one back, has not to know others that are as good.
func TestTokensAreNotMalleable(t *testing.T) {
	t.Parallel()
	s, now := signer(t, seed("a")), time.Now()
	good := signed(t, s, some(), now)
	parts := strings.Split(good, ".")
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10) // of the curve's group
	little := slices.Clone(signature[32:])
	slices.Reverse(little)
	big32 := new(big.Int).Add(new(big.Int).SetBytes(little), order).FillBytes(make([]byte, 32))
	slices.Reverse(big32)
	beyond := base64.RawURLEncoding.EncodeToString(append(slices.Clone(signature[:32]), big32...))
	texts := map[string]string{
		"another form of the signature": parts[0] + "." + parts[1] + "." + beyond,
		"padding":                       good + "==",
		"a dot behind":                  good + ".",
		"a dot before":                  "." + good,
		"its parts turned":              parts[1] + "." + parts[0] + "." + parts[2],
		"twice":                         good + " " + good,
		"twice, with a comma":           good + ", " + good,
		"another letter at the end":     good[:len(good)-1] + string(good[len(good)-1]^1), // of which only some bits count
	}
	for _, space := range []string{" ", "\t", "\n", "\r\n", "\x00", "\u00a0"} {
		texts[fmt.Sprintf("%q within", space)] = parts[0] + "." + parts[1][:10] + space + parts[1][10:] + "." + parts[2]
		texts[fmt.Sprintf("%q before", space)] = space + good
		texts[fmt.Sprintf("%q behind", space)] = good + space
	}
	for n := range len(good) {
		texts[fmt.Sprintf("its first %d bytes", n)] = good[:n]
	}
	for name, text := range texts {
		if got, err := s.Verify(text, now); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
