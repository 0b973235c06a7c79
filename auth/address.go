package auth

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are addresses from which requests of others come, and which say truthfully whose.
type Proxies []netip.Prefix

// Client is the address that a request comes from. What X-Forwarded-For says counts only as far as proxies have
// written it: it is read from its end to the first that is none of them. It is zero for a listener without addresses.
func (p Proxies) Client(r *http.Request) netip.Addr {
	client := parseAddress(r.RemoteAddr)
	if len(p) == 0 || !p.has(client) {
		return client
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		before := parseAddress(strings.TrimSpace(hop))
		if !before.IsValid() {
			break // nobody can tell who was before: it is the proxy that answers for it
		}
		if client = before; !p.has(client) {
			break
		}
	}
	return client
}

func (p Proxies) has(a netip.Addr) bool {
	return slices.ContainsFunc(p, func(one netip.Prefix) bool { return one.Contains(a) })
}

// parseAddress reads an address with a port or without.
func parseAddress(text string) netip.Addr {
	if with, err := netip.ParseAddrPort(text); err == nil {
		return with.Addr().Unmap().WithZone("")
	}
	a, _ := netip.ParseAddr(strings.Trim(text, "[]")) // zero if it is none
	return a.Unmap().WithZone("")
}
