package main

import (
	"net/http"
	"net/netip"
	"slices"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/api/entrance"
	"github.com/seed-16d79997/zot/api/record"
	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
)

// fronts are what stands before the handlers of a node, by a configuration, which may change.
type fronts struct {
	log, audit hclog.Logger // audit is nil if there is none
	nodes      func() int   // how many answer clients by now
	gate       func() *auth.Gate
}

// around has next answer what clients send. Each request has its lines, also one that another site's page may not send, or
// that is one too many. Who has to show a certificate and has none reaches the probes alone.
func (f fronts) around(c config.Config, probes, next http.Handler) http.Handler {
	proxies := auth.Proxies(c.Cluster.TrustedProxies)
	limits := entrance.LimitsConfig{Client: func(r *http.Request) netip.Addr { return proxies.Client(r) }, Nodes: f.nodes, Free: isProbe}
	for _, l := range c.HTTP.RateLimits {
		limits.Limits = append(limits.Limits, entrance.Limit{Method: l.Method, Rate: l.Rate})
	}
	next = entrance.NewLimits(limits).Around(next)
	next = entrance.NewOrigins(c.HTTP.Origins).Around(next)
	judge := func(r *http.Request) error { return f.gate().Certified(r) }
	next = entrance.NewCertificates(judge, isProbe, probes).Around(next)
	return record.New(record.Config{Log: f.log, Audit: f.audit, Proxies: proxies, Minor: isProbe}).Around(next)
}

// forwarded has next answer what other nodes send on.
func (f fronts) forwarded(next http.Handler) http.Handler {
	return record.New(record.Config{Log: f.log, Audit: f.audit}).AroundForwarded(next)
}

// isProbe reports whether a path is asked for by what watches over the node, again and again.
func isProbe(path string) bool {
	return slices.Contains([]string{"/livez", "/startupz", "/readyz"}, path)
}

// answering counts the members that answer, this node among them.
func (r registries) answering() int {
	n := 0
	err := r.state.View(func(v fsm.View) error {
		for _, node := range v.Nodes() {
			if node.State == entry.Member && node.Incarnation != r.self && r.reachable([16]byte(node.Incarnation)) {
				n++
			}
		}
		return nil
	})
	if err != nil { // a node that cannot tell takes no more than it would alone
		return 1
	}
	return n + 1
}
