package openid

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

const (
	// flightTime is how long somebody has to say to the provider who they are.
	flightTime = 10 * time.Minute
	// maxSealed is what browsers keep of a cookie, in bytes, without its name and attributes.
	maxSealed = 3800
)

// flight is a login that is under way.
type flight struct {
	Provider string `json:"p"`
	State    string `json:"s"` // comes back with the browser: it is the one that was sent
	Nonce    string `json:"n"` // comes back in the ID token: it is one for this login
	Verifier string `json:"v"` // of PKCE: whoever has begun the login ends it
	Callback string `json:"c"` // where the provider sends the browser, which it has to be told twice
	To       string `json:"t,omitempty"`
	Expires  int64  `json:"e"` // Unix seconds
}

// sealer seals flights. Nonces are random; those of XChaCha20 are long enough for any number, and anybody may begin logins.
type sealer struct {
	keys atomic.Pointer[[]cipher.AEAD]
}

func (s *sealer) rotate(keys [][]byte) error {
	if len(keys) == 0 {
		return errors.New("logins need a key")
	}
	var all []cipher.AEAD
	for _, key := range keys {
		one, err := chacha20poly1305.NewX(key)
		if err != nil {
			return fmt.Errorf("make a key of logins: %w", err)
		}
		all = append(all, one)
	}
	s.keys.Store(&all)
	return nil
}

// seal fails with ErrReturn for what no browser would keep.
func (s *sealer) seal(f flight) (string, error) {
	text, err := json.Marshal(f)
	if err != nil {
		return "", err
	}
	key := (*s.keys.Load())[0]
	nonce := make([]byte, key.NonceSize(), key.NonceSize()+len(text)+key.Overhead())
	_, _ = rand.Read(nonce) // never fails: it ends the process instead
	sealed := base64.RawURLEncoding.EncodeToString(key.Seal(nonce, nonce, text, nil))
	if len(sealed) > maxSealed {
		return "", fmt.Errorf("%w: it is too long", ErrReturn)
	}
	return sealed, nil
}

// open fails with ErrRefused for what no node has sealed.
func (s *sealer) open(sealed string) (f flight, err error) {
	if sealed == "" {
		return f, fmt.Errorf("%w: this browser has begun none, or does not keep cookies for this address; begin again", ErrRefused)
	}
	text, err := base64.RawURLEncoding.DecodeString(sealed)
	if err == nil {
		for _, key := range *s.keys.Load() {
			if len(text) < key.NonceSize() {
				continue
			}
			if plain, err := key.Open(nil, text[:key.NonceSize()], text[key.NonceSize():], nil); err == nil {
				return f, json.Unmarshal(plain, &f)
			}
		}
	}
	return f, fmt.Errorf("%w: it was not begun here; begin again", ErrRefused)
}
