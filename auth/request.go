package auth

import (
	"crypto/tls"
	"net/http"
	"strings"
	"time"

	"github.com/seed-16d79997/zot/auth/condition"
)

// The bounds of what a client says of itself, for conditions to ask.
const (
	maxAgent = 256 // bytes
	maxHops  = 16
	maxHop   = 64 // bytes
)

// aboutRequest is what conditions may ask of a request, added to what its token says. It is nil if none asks.
func (g *Gate) aboutRequest(r *http.Request, known *condition.Request) *condition.Request {
	if !g.config.Rules.Asks() {
		return nil
	}
	about := &condition.Request{Time: time.Now().UTC(), Method: r.Method, UserAgent: cut(r.UserAgent(), maxAgent), TLS: g.hasTLS(r)}
	if known != nil {
		about.Claims = known.Claims
	}
	if r.TLS != nil {
		about.Version = strings.TrimPrefix(tls.VersionName(r.TLS.Version), "TLS ")
	}
	if client := g.config.Proxies.Client(r); client.IsValid() {
		about.Client = client.String()
	}
	for hop := range strings.SplitSeq(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",") {
		if hop = strings.TrimSpace(hop); hop != "" && len(about.Forwarded) < maxHops {
			about.Forwarded = append(about.Forwarded, cut(hop, maxHop))
		}
	}
	return about
}

func cut(text string, bytes int) string { return strings.ToValidUTF8(text[:min(len(text), bytes)], "") }

// To is the caller with what their request names, for conditions to ask: a tag, or a digest, or neither.
func (c Caller) To(tag, digest string) Caller {
	if c.who.Request == nil {
		return c
	}
	about := *c.who.Request
	about.Tag, about.Digest = tag, digest
	c.who.Request = &about
	return c
}
