package auth

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/seed-16d79997/zot/auth/access"
)

// keyPrefix is what API keys begin with, as those of zot do.
const keyPrefix = "zak_"

// Key is an API key that holds. It is used as the password of its owner, and may do what they may.
type Key struct {
	Owner  string
	ID     string
	Groups []string // of the owner, as they were when it was made
	Scopes []string // globs of the repositories that it is for; none: all
}

// Keys knows API keys. Its methods may be called concurrently.
type Keys interface {
	// Key returns the key with a secret, as it is in the newest state that is to be had.
	//   - ErrUnknown if there is none, or none any more
	//   - any other error if it cannot be told now
	Key(ctx context.Context, secret string) (Key, error)
	// KeyOf returns a key of an owner by its id, as this node knows it. Its errors are those of Key.
	KeyOf(ctx context.Context, owner, id string) (Key, error)
}

// NewKey makes up the secret of an API key.
func NewKey() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the process instead
	return keyPrefix + hex.EncodeToString(b[:])
}

// isKey reports whether a password is of the form of an API key.
func isKey(password string) bool {
	digits, is := strings.CutPrefix(password, keyPrefix)
	if !is || len(digits) != 32 {
		return false
	}
	_, err := hex.DecodeString(digits)
	return err == nil
}

// Login finds out who sends a request by a name and a password, or an API key in place of that.
//   - ErrCredentials if they do not hold
//   - a TooMany if wrong ones were given too often, whatever these are
//   - another error if it cannot be told now
func (g *Gate) Login(r *http.Request, name, password string) (Caller, error) {
	switch {
	case name == "":
		return Caller{}, ErrCredentials
	case g.config.Keys != nil && isKey(password): // nobody else is told of it, and nobody guesses one
		return g.byKey(r.Context(), name, password)
	}
	c, err := g.basic(r, name, password)
	c.byPassword = err == nil
	return c, err
}

// byKey finds out whose API key it is that somebody has given with a name, or with none.
func (g *Gate) byKey(ctx context.Context, name, secret string) (Caller, error) {
	k, err := g.config.Keys.Key(ctx, secret)
	switch {
	case errors.Is(err, ErrUnknown):
		return Caller{}, ErrCredentials
	case err != nil:
		return Caller{}, fmt.Errorf("find out whose API key it is: %w", err)
	case name != "" && k.Owner != name:
		return Caller{}, ErrCredentials
	}
	return Caller{gate: g, who: access.Identity{Name: k.Owner, Groups: k.Groups}, limits: limits{Scopes: k.Scopes, Lent: true, Key: k.ID}}, nil
}
