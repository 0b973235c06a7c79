package auth

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
)

// ErrElsewhere is the answer to a browser that a page of another site has sent to change something.
var ErrElsewhere = errors.New("a page of another site asks for this")

// guardOf tells requests of other sites' pages from all others. Browsers say where a page is from; docker, curl and the
// like say nothing, and are let through.
func guardOf(c Config) *http.CrossOriginProtection {
	guard, all := http.NewCrossOriginProtection(), slices.Clone(c.Origins)
	if u, err := url.Parse(c.ExternalURL); err == nil { // a proxy may call this registry by another name
		all = append(all, u.Scheme+"://"+u.Host)
	}
	for _, origin := range all {
		_ = guard.AddTrustedOrigin(origin) // what is no origin no page is from
	}
	return guard
}

// Elsewhere fails with ErrElsewhere for a request that changes something, and that a browser sends for a page of another
// site. A browser adds to it by itself what it keeps for this registry: a cookie, a certificate, and a name and
// password that were typed into it once. Where nobody is asked who they are, it lends the page its place in the network.
func (g *Gate) Elsewhere(r *http.Request) error {
	guard := http.NewCrossOriginProtection()
	if g != nil {
		guard = g.guard
	}
	if err := guard.Check(r); err != nil {
		return fmt.Errorf("%w: %w", ErrElsewhere, err)
	}
	return nil
}
