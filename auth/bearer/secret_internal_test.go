package bearer

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/hashicorp/go-hclog"
)

// vault is Secrets Manager without a network.
type vault struct {
	entries map[string]string
	down    error
	asked   int
	slow    time.Duration
}

func (v *vault) fetch(ctx context.Context) (string, error) {
	v.asked++
	select {
	case <-time.After(v.slow):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if v.down != nil {
		return "", v.down
	}
	b, err := json.Marshal(v.entries)
	return string(b), err
}

func newVaultKeys(v *vault, log *strings.Builder) *secretKeys {
	return &secretKeys{
		config: Secret{Name: "zot/keys", Refresh: time.Minute}, fetch: v.fetch,
		log: hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Info}),
	}
}

// is says what became of the search for a key.
func is(err error) string {
	switch {
	case err == nil:
		return "found"
	case errors.Is(err, ErrInvalid):
		return "none"
	}
	return "unknown"
}

func inPEM(t *testing.T, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func newPEM(t *testing.T) string {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return inPEM(t, public)
}

// TestKeysInASecretChange has a service take a new key, withdraw the old one, and AWS fall silent.
func TestKeysInASecretChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v, log := &vault{down: errors.New("nobody answers")}, &strings.Builder{}
		s := newVaultKeys(v, log)
		want := func(what, id, want string, asked int) {
			t.Helper()
			before := v.asked
			if _, err := s.of(t.Context(), id); is(err) != want {
				t.Errorf("%s: %s (%v), want %s", what, is(err), err, want)
			}
			if v.asked-before != asked {
				t.Errorf("%s: AWS was asked %d times, want %d", what, v.asked-before, asked)
			}
		}
		want("a token that names no key", "", "none", 0)
		want("AWS is down from the start", "1", "unknown", 1)
		want("and a moment later", "1", "unknown", 0)
		v.down, v.entries = nil, map[string]string{"1": newPEM(t)}
		time.Sleep(secretPause)
		want("it is up", "1", "found", 1)
		time.Sleep(2 * secretPause)
		want("and not asked for long", "1", "found", 0)
		time.Sleep(time.Minute)
		want("nor believed for ever", "1", "found", 1)
		for range 100 {
			want("a key that somebody has made up", "0", "none", 0)
		}
		v.entries["2"] = newPEM(t)
		want("a new one, a moment after AWS was asked", "2", "none", 0)
		time.Sleep(secretPause)
		want("the new one, later", "2", "found", 1)
		time.Sleep(secretPause)
		want("a key that is made up, later", "0", "none", 1)
		delete(v.entries, "1")
		want("a key that is withdrawn", "1", "found", 0)
		time.Sleep(time.Minute)
		want("a minute later", "1", "none", 1)

		v.down = errors.New("nobody answers")
		time.Sleep(time.Minute)
		want("AWS is silent", "2", "found", 1)
		want("a moment later", "2", "found", 0)
		time.Sleep(secretPause)
		want("somebody makes up a key", "0", "unknown", 1)
		want("and is not made to ask again", "0", "unknown", 0)
		time.Sleep(secretStale - 2*secretPause) // behind the minute
		want("for almost an hour", "2", "found", 1)
		time.Sleep(secretPause)
		want("for an hour", "2", "unknown", 1)
		v.down = nil
		want("it is back, a moment after it was asked", "2", "unknown", 0)
		time.Sleep(secretPause)
		want("it is back", "2", "found", 1)
		v.entries = map[string]string{}
		time.Sleep(time.Minute)
		want("all are withdrawn", "2", "none", 1)

		s.config.Refresh = 2 * time.Second // shorter than the pause
		v.entries = map[string]string{"1": newPEM(t)}
		time.Sleep(secretPause)
		want("one that is not believed for long", "1", "found", 1)
		delete(v.entries, "1")
		time.Sleep(2 * time.Second)
		want("is withdrawn", "1", "none", 1)
		for said, times := range map[string]int{"not to be had": 2, "to be had again": 2} {
			if n := strings.Count(log.String(), said); n != times {
				t.Errorf("%q is logged %d times, want %d:\n%s", said, n, times, log)
			}
		}
	})
}

// TestKeysInASecretAreAskedForOnce has many tokens come at once, and one that does not wait for ever.
func TestKeysInASecretAreAskedForOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &vault{entries: map[string]string{"1": newPEM(t)}, slow: time.Second}
		s := newVaultKeys(v, &strings.Builder{})
		told := make(chan error)
		gone, leave := context.WithCancel(t.Context())
		go func() {
			_, err := s.of(gone, "1") // who asks goes, and what it has asked is of use to the others
			told <- err
		}()
		synctest.Wait()
		for range 100 {
			go func() {
				_, err := s.of(t.Context(), "1")
				told <- err
			}()
		}
		synctest.Wait()
		ended, end := context.WithCancel(t.Context())
		end()
		if _, err := s.of(ended, "1"); !errors.Is(err, context.Canceled) {
			t.Errorf("who has gone waits: %v", err)
		}
		leave()
		for range 101 {
			if err := <-told; err != nil {
				t.Error(err)
			}
		}
		if v.asked != 1 {
			t.Errorf("AWS was asked %d times", v.asked)
		}

		v.slow, v.down = time.Hour, nil // it takes what is sent, and does not answer
		time.Sleep(time.Minute)
		began := time.Now()
		if _, err := s.of(t.Context(), "1"); err != nil || time.Since(began) != secretTimeout {
			t.Errorf("AWS is silent: %v after %s", err, time.Since(began))
		}
		time.Sleep(secretPause)
		go func() {
			_, err := s.of(t.Context(), "1")
			told <- err
		}()
		synctest.Wait()
		began = time.Now()
		if _, err := s.of(t.Context(), "1"); err != nil || time.Since(began) != 0 {
			t.Errorf("all wait for who may not answer: %v after %s", err, time.Since(began))
		}
		if err := <-told; err != nil || v.asked != 3 {
			t.Errorf("%v, asked %d times", err, v.asked)
		}
	})
}

// A panic while the secret is read leaves nobody waiting.
func TestSecretThatPanics(t *testing.T) {
	t.Parallel()
	s := newVaultKeys(&vault{}, &strings.Builder{})
	s.fetch = func(context.Context) (string, error) { panic("a bug") }
	func() {
		defer func() { _ = recover() }()
		_, _ = s.of(t.Context(), "1")
	}()
	if _, err := s.of(t.Context(), "1"); is(err) != "unknown" {
		t.Error(err)
	}
}

// TestSecretForms has secrets as people write them.
func TestSecretForms(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	ec, failed := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	private, also := x509.MarshalECPrivateKey(ec)
	if err := errors.Join(err, failed, also); err != nil {
		t.Fatal(err)
	}
	set := func(all ...jose.JSONWebKey) string {
		b, err := json.Marshal(jose.JSONWebKeySet{Keys: all})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	inPrivate := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}))
	for name, test := range map[string]struct {
		entry, want string // algorithms, or what is wrong
	}{
		"PEM":                                 {inPEM(t, rsaKey.Public()), "RS256 RS384 RS512 PS256 PS384 PS512"},
		"JWKS":                                {set(jose.JSONWebKey{KeyID: "x", Key: ec.Public()}), "ES256"},
		"JWKS with space around":              {" \n" + set(jose.JSONWebKey{Key: ec.Public(), Use: "sig"}) + "\n", "ES256"},
		"JWKS that narrows":                   {set(jose.JSONWebKey{Key: rsaKey.Public(), Algorithm: "PS384"}), "PS384"},
		"JWKS that contradicts":               {set(jose.JSONWebKey{Key: ec.Public(), Algorithm: "RS256"}), `is for "RS256"`},
		"JWKS for another use":                {set(jose.JSONWebKey{Key: ec.Public(), Use: "enc"}), `is for "enc"`},
		"JWKS of two":                         {set(jose.JSONWebKey{Key: ec.Public()}, jose.JSONWebKey{Key: rsaKey.Public()}), "has 2 keys"},
		"JWKS of none":                        {`{"keys": []}`, "has 0 keys"},
		"a JWK alone":                         {`{"kty": "EC"}`, "has 0 keys"},
		"a private JWKS":                      {set(jose.JSONWebKey{Key: ec}), "holds a private key"},
		"a secret that signs":                 {set(jose.JSONWebKey{Key: []byte("hunter2hunter2hunter2hunter2hunter2")}), "holds a private key"},
		"a private key":                       {inPrivate, "holds a private key"},
		"a private key behind its public one": {inPEM(t, ec.Public()) + inPrivate, "holds a private key"},
		"no JWKS":                             {"{hunter2", "is no JWKS"},
		"no PEM":                              {"hunter2", "holds nothing in PEM"},
		"nothing":                             {"", "holds nothing in PEM"},
	} {
		k, err := parseEntry(test.entry)
		if err != nil {
			if !strings.HasPrefix(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: %v, want %s", name, err, test.want)
			}
			continue
		}
		var got []string
		for _, a := range k.algorithms {
			got = append(got, string(a))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	for name, test := range map[string]struct {
		text, slips, want string
		good              int
	}{
		"good ones beside bad ones": {`{"b": "hunter2", "a": ` + quoted(newPEM(t)) + `, "c": {"keys": []}, "d": null}`, `"b" holds nothing in PEM; "c" is no text; "d" holds nothing in PEM`, "", 1},
		"bad ones alone":            {`{"a": "hunter2"}`, `"a" holds nothing in PEM`, "no key that can be used", 0},
		"none":                      {`{}`, "", "", 0},
		"null":                      {`null`, "", "no JSON object", 0},
		"a list":                    {`["hunter2"]`, "", "no JSON object", 0},
		"a key alone":               {newPEM(t), "", "no JSON object", 0},
	} {
		all, slips, err := parseSecret(test.text)
		if got := strings.Join(slips, "; "); got != test.slips || len(all) != test.good || (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %d keys, %s, %v", name, len(all), got, err)
		}
	}
}

func quoted(text string) string {
	b, _ := json.Marshal(text) // it is text
	return string(b)
}

// What is wrong with entries is said once, and the others hold.
func TestSecretWithSlips(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v, log := &vault{entries: map[string]string{"1": newPEM(t), "2": "hunter2"}}, &strings.Builder{}
		s := newVaultKeys(v, log)
		for range 3 {
			if _, err := s.of(t.Context(), "1"); err != nil {
				t.Error(err)
			}
			if _, err := s.of(t.Context(), "2"); is(err) != "none" {
				t.Error(err)
			}
			time.Sleep(2 * time.Minute)
		}
		if n := strings.Count(log.String(), `\"2\" holds nothing in PEM`); n != 1 || strings.Contains(log.String(), "hunter2") {
			t.Errorf("said %d times:\n%s", n, log)
		}
		v.entries = map[string]string{"1": "hunter2"} // a slip in all of it takes nothing away
		if _, err := s.of(t.Context(), "1"); err != nil {
			t.Error(err)
		}
	})
}
