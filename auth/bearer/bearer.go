// Package bearer believes tokens that others make: of a token service, whose keys are in a file or a secret and whose tokens
// say what they are for, and of OpenID issuers, whose tokens say who somebody is.
//
// A token says itself how it is signed, and is not believed in that: what algorithms there are follows from the kind of the
// key, and what keys there are from the configuration. Start reading at Verifier.
package bearer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/auth/token"
)

// ErrInvalid is returned by Verify for what is no token that holds.
var ErrInvalid = errors.New("token is invalid")

const (
	maxSize = 16 << 10         // of a token, in bytes
	leeway  = 60 * time.Second // between clocks
)

// Config says whose tokens are believed.
type Config struct {
	// Realm and Service are where clients get tokens and what they ask for there. Either may be "" where there are only issuers.
	Realm, Service string
	KeyFile        string    // certificate or public key of the token service, in PEM; "": there is none
	Secret         *Secret   // with the service's keys, in place of a file; nil: there is none
	Issuers        []Issuer  // tried by the issuer that a token names
	Upstream       *Upstream // asked for tokens in the name of clients that have none of an issuer; nil: there is none
	Former         *Verifier // what it knows of keys from the same place is believed on; nil: there is none
	Logger         hclog.Logger
}

// keys are those of a token service.
type keys interface {
	// of returns the key with an id, which is "" where a token names none.
	//   - ErrInvalid if there is none
	//   - any other error if it cannot be told now
	of(ctx context.Context, id string) (*key, error)
	// reload reads files again, as Verifier.Reload.
	reload() (changed bool, err error)
	close()
}

// Claims is what a token says.
type Claims struct {
	Subject string
	Groups  []string // of a workload
	// Workload is set for the token of an issuer: it says who asks, and nothing of what they may.
	Workload bool
	Access   []token.Access // what the token of a token service is for, and nothing else
	All      map[string]any // of a workload
	Expires  time.Time      // of a workload
}

// Verifier verifies tokens. It may be used concurrently.
type Verifier struct {
	config   Config
	keys     keys // nil: there is no token service
	issuers  []*issuer
	upstream *upstream // nil: there is none
}

// Open fails if a file cannot be used, or an expression. It asks nobody for anything yet.
func Open(c Config) (*Verifier, error) {
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	v := &Verifier{config: c}
	var err error
	switch {
	case c.KeyFile != "":
		v.keys = &keyFile{name: c.KeyFile}
		_, err = v.keys.reload()
	case c.Secret != nil:
		v.keys, err = openSecret(*c.Secret, c.Logger)
	}
	if err != nil {
		return nil, err
	}
	if c.Upstream != nil {
		if v.upstream, err = newUpstream(*c.Upstream); err != nil {
			return nil, err
		}
	}
	for _, one := range c.Issuers {
		i, err := newIssuer(one)
		if err != nil {
			return nil, fmt.Errorf("issuer %s: %w", one.URL, err)
		}
		v.issuers = append(v.issuers, i)
	}
	v.goOn(c.Former)
	v.config.Former = nil // which knows one itself
	return v, nil
}

// Close gives back connections. What is asked through them comes to its end.
func (v *Verifier) Close() {
	if v.keys != nil {
		v.keys.close()
	}
	if v.upstream != nil {
		v.upstream.close()
	}
	for _, i := range v.issuers {
		i.close()
	}
}

// Realm is where clients get tokens, or "".
func (v *Verifier) Realm() string { return v.config.Realm }

// Service is what clients ask for tokens for, or "".
func (v *Verifier) Service() string { return v.config.Service }

// HasIssuers reports whether there are any.
func (v *Verifier) HasIssuers() bool { return len(v.issuers) > 0 }

// Reload reads the files again, and reports whether one has changed. If it fails, what was read before holds.
func (v *Verifier) Reload() (changed bool, err error) {
	if v.keys != nil {
		changed, err = v.keys.reload()
	}
	for _, i := range v.issuers {
		one, failed := i.reload()
		changed, err = changed || one, errors.Join(err, failed)
	}
	return changed, err
}

// Verify reads a token that holds now.
//   - ErrInvalid, which does not say what the token was
//   - any other error if it cannot be told now, because an issuer does not answer, or who has the keys
func (v *Verifier) Verify(ctx context.Context, text string, now time.Time) (Claims, error) {
	if len(text) > maxSize {
		return Claims{}, fmt.Errorf("%w: it is too large", ErrInvalid)
	}
	if v.keys == nil && len(v.issuers) == 0 {
		return Claims{}, ErrInvalid
	}
	var untold error
	for _, i := range v.issuersOf(text) {
		c, err := i.verify(ctx, text, now)
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, ErrInvalid) { // another may have made it
			untold = err
		}
	}
	c, err := Claims{}, fmt.Errorf("%w: no issuer has made it", ErrInvalid)
	if v.keys != nil {
		c, err = v.ofService(ctx, text, now)
	}
	if errors.Is(err, ErrInvalid) && untold != nil {
		return Claims{}, untold
	}
	return c, err
}

// own are the claims of a token service that are not registered.
type own struct {
	Access []entry `json:"access"`
}

// entry is something that a token is for, perhaps for a shorter time than the token.
type entry struct {
	token.Access

	Expiry *jwt.NumericDate `json:"exp"`
}

// ofService verifies a token of the token service.
func (v *Verifier) ofService(ctx context.Context, text string, now time.Time) (Claims, error) {
	parsed, err := jwt.ParseSigned(text, publicAlgorithms())
	if err != nil || len(parsed.Headers) != 1 {
		return Claims{}, fmt.Errorf("%w: it is not signed as by a key", ErrInvalid)
	}
	k, err := v.keys.of(ctx, parsed.Headers[0].KeyID)
	if err != nil {
		return Claims{}, err
	}
	if !slices.Contains(k.algorithms, jose.SignatureAlgorithm(parsed.Headers[0].Algorithm)) {
		return Claims{}, fmt.Errorf("%w: it is not signed as by that key", ErrInvalid)
	}
	var registered jwt.Claims
	var more own
	if err := parsed.Claims(k.public, &registered, &more); err != nil { // headers with keys are never asked
		return Claims{}, fmt.Errorf("%w: it is not signed by that key, or its claims are none", ErrInvalid)
	}
	if err := v.judge(registered, now); err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	c := Claims{Subject: registered.Subject}
	for _, e := range more.Access {
		if e.Expiry == nil || !now.After(e.Expiry.Time().Add(leeway)) {
			c.Access = append(c.Access, e.Access)
		}
	}
	return c, nil
}

// judge fails for a token that is not for now, or not for this service. Who has made it says the key: its name is not asked.
func (v *Verifier) judge(c jwt.Claims, now time.Time) error {
	if c.Expiry == nil { // nobody could ever take it back
		return errors.New("it does not end")
	}
	if len(c.Audience) > 0 && !slices.ContainsFunc(c.Audience, v.isService) {
		return errors.New("it is for another service")
	}
	return c.ValidateWithLeeway(jwt.Expected{Time: now}, leeway)
}

// isService reports whether tokens for a name are for this registry. By its own it is known to clients, by the upstream's to
// whoever makes the tokens that this registry has asked for.
func (v *Verifier) isService(name string) bool {
	return name == v.config.Service || v.upstream != nil && name == v.upstream.config.Service
}
