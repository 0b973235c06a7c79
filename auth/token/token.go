// Package token makes and reads the tokens of the registry's own token service: JWTs that say who somebody is and what
// they asked for, signed by any node and believed by all.
//
// Keys are Ed25519, made from seeds that the nodes share: the first signs, all verify, so that tokens outlive the
// rotation of a secret. A token says itself how it is signed; it is not believed in that: there is one algorithm.
package token

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// ErrInvalid is returned by Verify for what is no token that holds.
var ErrInvalid = errors.New("token is invalid")

// ErrTooLarge is returned by Sign for claims that no client would get through in a header.
var ErrTooLarge = errors.New("token would be too large")

const (
	// Lifetime is how long a token holds. A request that has begun goes on when it is over, however long it takes.
	Lifetime = 10 * time.Minute

	issuer  = "zot"
	maxSize = 16 << 10         // bytes
	leeway  = 30 * time.Second // between the clocks of two nodes
)

// Access is something that a token is for, as in distribution's token protocol.
type Access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// Claims is what a token says.
type Claims struct {
	Subject  string   // whose it is; "" is nobody in particular
	Audience string   // the service that it was asked for
	Groups   []string // of the subject
	Key      string   // the id of the API key that it was asked for with; "" for none
	Access   []Access
}

// own are the claims that are not registered.
type own struct {
	Groups []string `json:"groups,omitempty"`
	Key    string   `json:"key,omitempty"`
	Access []Access `json:"access"` // also if it is empty, as clients expect
}

// Signer signs and verifies tokens. It may be used concurrently.
type Signer struct{ ring atomic.Pointer[ring] }

// ring is the keys of the moment.
type ring struct {
	signer jose.Signer
	keys   map[string]ed25519.PublicKey // by their ids
}

// New returns a Signer with keys made of seeds of 32 bytes. It fails without any.
func New(seeds [][]byte) (*Signer, error) {
	s := &Signer{}
	return s, s.Rotate(seeds)
}

// Rotate takes other seeds into use. If it fails, what was used before is.
func (s *Signer) Rotate(seeds [][]byte) error {
	if len(seeds) == 0 {
		return errors.New("tokens need a key")
	}
	r := &ring{keys: map[string]ed25519.PublicKey{}}
	for i, seed := range seeds {
		if len(seed) != ed25519.SeedSize {
			return fmt.Errorf("the seed of a key of tokens has %d bytes, not %d", len(seed), ed25519.SeedSize)
		}
		private := ed25519.NewKeyFromSeed(seed)
		public := private.Public().(ed25519.PublicKey) // it is always one
		hash := sha256.Sum256(public)
		id := hex.EncodeToString(hash[:8])
		r.keys[id] = public
		if i > 0 {
			continue
		}
		var err error
		key := jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: private, KeyID: id}}
		if r.signer, err = jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT")); err != nil {
			return fmt.Errorf("make the key of tokens: %w", err)
		}
	}
	s.ring.Store(r)
	return nil
}

// Sign makes a token that holds from now on. It fails with ErrTooLarge.
func (s *Signer) Sign(c Claims, now time.Time) (string, error) {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails: it ends the process instead
	registered := jwt.Claims{
		Issuer: issuer, Subject: c.Subject, Audience: jwt.Audience{c.Audience}, ID: hex.EncodeToString(id[:]),
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(Lifetime)),
	}
	if c.Access == nil {
		c.Access = []Access{}
	}
	text, err := jwt.Signed(s.ring.Load().signer).Claims(registered).Claims(own{c.Groups, c.Key, c.Access}).Serialize()
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	if len(text) > maxSize {
		return "", fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(text), maxSize)
	}
	return text, nil
}

// Verify reads a token that holds now. The audience is not compared with anything: a registry has as many names as
// clients have for it, and the keys are of this cluster alone.
//
// It fails with ErrInvalid, which does not say what the token was.
func (s *Signer) Verify(text string, now time.Time) (Claims, error) {
	if len(text) > maxSize {
		return Claims{}, fmt.Errorf("%w: it is too large", ErrInvalid)
	}
	if strings.ContainsAny(text, "\r\n") { // encoding/base64 overlooks them, and one token would be many texts
		return Claims{}, fmt.Errorf("%w: it has line breaks", ErrInvalid)
	}
	parsed, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil || len(parsed.Headers) != 1 {
		return Claims{}, fmt.Errorf("%w: it is not signed as ours are", ErrInvalid)
	}
	key, known := s.ring.Load().keys[parsed.Headers[0].KeyID]
	if !known {
		return Claims{}, fmt.Errorf("%w: its key is not known", ErrInvalid)
	}
	var registered jwt.Claims
	var more own
	if err := parsed.Claims(key, &registered, &more); err != nil {
		return Claims{}, fmt.Errorf("%w: it is not signed by its key", ErrInvalid)
	}
	if registered.Expiry == nil || registered.NotBefore == nil || registered.IssuedAt == nil || len(registered.Audience) != 1 {
		return Claims{}, fmt.Errorf("%w: it lacks a claim", ErrInvalid)
	}
	if err := registered.ValidateWithLeeway(jwt.Expected{Issuer: issuer, Time: now}, leeway); err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return Claims{Subject: registered.Subject, Audience: registered.Audience[0], Groups: more.Groups, Key: more.Key, Access: more.Access}, nil
}
