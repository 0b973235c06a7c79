package ext

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/api/record"
	"github.com/seed-16d79997/zot/auth"
)

// handOn has another token service answer who wants a token, and is no workload.
func handOn(gate *auth.Gate, w http.ResponseWriter, r *http.Request, form url.Values) error {
	if kind := r.Header.Get("Content-Type"); form != nil && kind != "" { // what is in another kind of body nobody has looked at
		if kind, _, err := mime.ParseMediaType(kind); err != nil || kind != "application/x-www-form-urlencoded" {
			return api.Refuse(http.StatusBadRequest, codeUnsupported, "the body is no form")
		}
	}
	answer, name, err := gate.AskUpstream(r, form)
	switch {
	case errors.Is(err, auth.ErrTokenRequest):
		return api.Refuse(http.StatusBadRequest, codeUnsupported, "%v", err)
	case errors.Is(err, auth.ErrOwnUpstream):
		return api.Refuse(http.StatusLoopDetected, codeUnsupported, "%v: name another token service in upstreamTokenEndpoint", err)
	case err != nil:
		return challenged(gate, w, toldNow(err))
	}
	record.Of(r).By(name)
	h := w.Header()
	for _, name := range []string{"Www-Authenticate", "Retry-After"} {
		if all := answer.Header[name]; len(all) > 0 {
			h[name] = slices.Clone(all) // others may have the same answer
		}
	}
	if answer.Status == http.StatusUnauthorized && h.Get("WWW-Authenticate") == "" {
		h.Set("WWW-Authenticate", fmt.Sprintf("Basic realm=%q", gate.Realm()))
	}
	if answer.Refuses() {
		gate.Delay(r)
		if form != nil {
			gate.DelayLogin(r)
		}
	}
	h.Set("Content-Type", "text/plain; charset=utf-8") // a browser takes no page of its for one of ours
	if kind, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type")); err == nil && kind == "application/json" {
		h.Set("Content-Type", kind)
	}
	h.Set("Content-Length", strconv.Itoa(len(answer.Body)))
	w.WriteHeader(answer.Status)
	_, _ = w.Write(answer.Body) // a client that has gone needs no answer
	return nil
}
