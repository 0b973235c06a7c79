package entrance

import (
	"net/http"

	"github.com/seed-16d79997/zot/api"
)

// Certificates turns away who has shown no certificate, where everybody has to. Only health is for those, too: what
// watches over a node, as Kubernetes and load balancers do, mostly has none.
type Certificates struct {
	judge   func(*http.Request) error
	isProbe func(path string) bool
	probes  http.Handler
}

// NewCertificates returns Certificates that turn away whose requests judge fails for, with its message. What they ask of paths that are
// those of a probe is answered by probes, and by nothing else: whatever a path is taken for behind this, it leads nowhere.
func NewCertificates(judge func(*http.Request) error, isProbe func(path string) bool, probes http.Handler) *Certificates {
	return &Certificates{judge, isProbe, probes}
}

// Around has next answer all others.
func (c *Certificates) Around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := c.judge(r)
		switch {
		case err == nil:
			next.ServeHTTP(w, r)
		case (r.Method == http.MethodGet || r.Method == http.MethodHead) && c.isProbe(r.URL.Path):
			c.probes.ServeHTTP(w, r)
		default:
			// No certificate comes on a connection that has begun without one: who gets one now has to connect again.
			w.Header().Set("Connection", "close")
			refusal := &api.Refusal{Status: http.StatusUnauthorized, Code: "UNAUTHORIZED", Message: err.Error()}
			refusal.Answer(w, r)
		}
	})
}
