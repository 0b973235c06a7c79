package bearer

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const inMemoryURL = "https://issuer.example"

// inMemory is an issuer without a network.
type inMemory struct {
	keys  map[string]*ecdsa.PrivateKey
	down  bool
	asked int
}

func (m *inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	m.asked++
	if m.down {
		return nil, errors.New("nobody answers")
	}
	set := jose.JSONWebKeySet{}
	for id, key := range m.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{KeyID: id, Key: key.Public()})
	}
	var what any = set
	if !strings.HasSuffix(r.URL.Path, "/keys") {
		what = map[string]any{"issuer": inMemoryURL, "jwks_uri": inMemoryURL + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"}}
	}
	b, err := json.Marshal(what)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(b)), Request: r}, err
}

// verified reports how a token by a key of the issuer does.
func (m *inMemory) verified(t *testing.T, i *issuer, id string, key *ecdsa.PrivateKey) error {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{KeyID: id, Key: key}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(map[string]any{"iss": inMemoryURL, "aud": "zot", "sub": "s", "exp": time.Now().Add(time.Hour).Unix()}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	_, err = i.verify(t.Context(), text, time.Now())
	return err
}

// TestKeysOfAnIssuerChange has one take a new key, withdraw the old one, and fall silent.
func TestKeysOfAnIssuerChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		older, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		newer, failed := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err := errors.Join(err, failed); err != nil {
			t.Fatal(err)
		}
		m := &inMemory{keys: map[string]*ecdsa.PrivateKey{"1": older}}
		i, err := newIssuer(Issuer{URL: inMemoryURL, Audiences: []string{"zot"}})
		if err != nil {
			t.Fatal(err)
		}
		i.client.Store(newClient(m, nil))
		ask := func(what, id string, key *ecdsa.PrivateKey, want string) {
			t.Helper()
			got := "holds"
			if err := m.verified(t, i, id, key); errors.Is(err, ErrInvalid) {
				got = "invalid"
			} else if err != nil {
				got = "unknown"
			}
			if got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
		ask("a key", "1", older, "holds")
		m.keys["2"] = newer
		ask("a new one, a moment after the issuer was asked", "2", newer, "invalid")
		before := m.asked
		for range 100 {
			ask("a key that somebody has made up", "3", newer, "invalid")
		}
		if m.asked != before {
			t.Errorf("the issuer was asked %d times", m.asked-before)
		}
		time.Sleep(issuerPause)
		ask("the new one, later", "2", newer, "holds")
		delete(m.keys, "1")
		time.Sleep(issuerFresh)
		ask("the old one, withdrawn", "1", older, "invalid")
		m.down = true
		time.Sleep(issuerFresh)
		ask("the issuer is silent", "2", newer, "holds")
		ask("and somebody makes up a key", "3", older, "unknown")
		time.Sleep(issuerStale)
		ask("for an hour", "2", newer, "unknown")
		m.down = false
		ask("it is back, a moment after it was asked", "2", newer, "unknown")
		time.Sleep(issuerPause)
		ask("it is back", "2", newer, "holds")
	})
}
