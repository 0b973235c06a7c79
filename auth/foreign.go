package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/auth/bearer"
	"github.com/seed-16d79997/zot/auth/condition"
)

// byForeignToken finds out who asks by a token that another service has made, or an issuer. There is no other way: nobody is
// taken for nobody in particular.
func (g *Gate) byForeignToken(r *http.Request) (Caller, error) {
	text := bearerOf(r)
	if text == "" {
		return Caller{}, ErrCredentials
	}
	c, err := g.config.Bearer.Verify(r.Context(), text, time.Now())
	switch {
	case errors.Is(err, bearer.ErrInvalid):
		g.config.Logger.Debug("token is refused", "error", err) // which says nothing of what is in it
		return Caller{}, ErrCredentials
	case err != nil:
		return Caller{}, fmt.Errorf("find out whose token it is: %w", err)
	}
	caller := Caller{gate: g, who: access.Identity{Name: c.Subject, Groups: c.Groups}}
	if c.Workload { // who it is decides, by the rules
		caller.limits = limits{Lent: true}
		caller.who.Groups = g.config.Rules.Named(c.Groups)
		caller.who.Request = &condition.Request{Claims: c.All}
		return caller, nil
	}
	caller.limits = limits{Lent: true, Token: true, Foreign: true, Granted: c.Access}
	return caller, nil
}

// HasWorkloads reports whether tokens of issuers say who asks.
func (g *Gate) HasWorkloads() bool {
	return g != nil && g.config.Bearer != nil && g.config.Bearer.HasIssuers()
}

// Workload verifies the token of an issuer that a client has for a password, since it knows no other place for it. It returns
// who that is, and when the token ends. It fails with ErrCredentials, or another error if it cannot be told now.
func (g *Gate) Workload(ctx context.Context, text string) (name string, ends time.Time, err error) {
	c, err := g.config.Bearer.Verify(ctx, text, time.Now())
	switch {
	case errors.Is(err, bearer.ErrInvalid), err == nil && !c.Workload:
		return "", time.Time{}, ErrCredentials
	case err != nil:
		return "", time.Time{}, fmt.Errorf("find out whose token it is: %w", err)
	}
	return c.Subject, c.Expires, nil
}
