// Package entrance is what a request of a client goes through before anybody answers it: whether it comes with the certificate
// that it has to (certificates.go), whether the page of another site may send it (origins.go), and whether there have been too
// many (limits.go).
//
// It does not know who asks, nor what for: that comes behind it.
package entrance

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/seed-16d79997/zot/api"
)

// AnyOrigin stands for the pages of every site.
const AnyOrigin = "*"

// Origins answers browsers that ask what the pages of other sites may do. Whoever is named may use the registry as a page
// of its own does, with the sessions that it has in that browser; anybody else may do what needs none. That they change
// nothing is up to auth.Gate, which knows the same list.
type Origins struct {
	named []string
	any   bool
}

// NewOrigins returns Origins for a list of them, as https://ui.example, in lower case, or AnyOrigin; none is any.
func NewOrigins(all []string) *Origins {
	return &Origins{named: all, any: len(all) == 0 || slices.Contains(all, AnyOrigin)}
}

const (
	headerOrigin    = "Origin"
	headerFetchSite = "Sec-Fetch-Site"
	allowedHeaders  = "Authorization,content-type,X-ZOT-API-CLIENT"
	exposedHeaders  = "Docker-Content-Digest,Location,Link,WWW-Authenticate,X-Request-Id"
)

// Around answers OPTIONS, without asking who it is, and has next answer all else.
func (o *Origins) Around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Add("Vary", headerOrigin) // what a cache has for one is not for another
		named := o.admit(h, r)
		if r.Method == http.MethodOptions {
			options(h, r)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if !named && foreign(r) {
			// Browsers do not show such a page what is answered, but they may send what they have in store for us.
			r.Header.Del("Cookie")
		}
		next.ServeHTTP(w, r)
	})
}

// admit says in the headers of an answer whether the page that a request comes from may read it, and reports whether it
// is one of those that are named.
func (o *Origins) admit(h http.Header, r *http.Request) (named bool) {
	origin := r.Header.Get(headerOrigin)
	if origin == "" {
		return false
	}
	switch {
	case origin != AnyOrigin && slices.Contains(o.named, strings.ToLower(origin)):
		named = true
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
	case o.any:
		h.Set("Access-Control-Allow-Origin", AnyOrigin) // with which no browser sends credentials of its own
	default:
		return false
	}
	h.Set("Access-Control-Expose-Headers", exposedHeaders)
	return named
}

// options is the answer to OPTIONS.
func options(h http.Header, r *http.Request) {
	methods := strings.Join(api.Methods(r.URL.Path), ", ")
	h.Set("Allow", methods)
	if h.Get("Access-Control-Allow-Origin") == "" {
		return
	}
	h.Set("Access-Control-Allow-Methods", methods)
	h.Set("Access-Control-Allow-Headers", allowedHeaders)
}

// foreign reports whether a browser says that the page of another site sends a request.
func foreign(r *http.Request) bool {
	origin := r.Header.Get(headerOrigin)
	if origin == "" {
		return false
	}
	switch r.Header.Get(headerFetchSite) {
	case "same-origin", "none":
		return false
	case "": // an older browser
		u, err := url.Parse(origin)
		return err != nil || u.Host != r.Host
	}
	return true
}
