package ext

import (
	"errors"
	"fmt"
	"net/http"
	"path"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/api/record"
	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/openid"
)

// login sends a browser to a provider, where its user says who they are.
func (e *Extensions) login(w http.ResponseWriter, r *http.Request) error {
	if err := admit(w, r, http.MethodGet); err != nil {
		return err
	}
	gate := e.deps.Gate()
	if !gate.HasOpenID() {
		return errNoProviders()
	}
	q := r.URL.Query()
	at, err := gate.BeginLogin(w, r, q.Get("provider"), q.Get("callback_ui"))
	if err != nil {
		return withProvider(gate, w, err)
	}
	sendTo(w, at)
	return nil
}

// callback takes a browser that a provider has sent back, and logs its user in.
func (e *Extensions) callback(w http.ResponseWriter, r *http.Request) error {
	if err := admit(w, r, http.MethodGet); err != nil {
		return err
	}
	gate := e.deps.Gate()
	if !gate.HasOpenID() {
		return errNoProviders()
	}
	name, to, err := gate.FinishLogin(w, r, path.Base(r.URL.Path))
	if err != nil {
		return withProvider(gate, w, err)
	}
	record.Of(r).By(name)
	if to == "" {
		return answer(w, http.StatusCreated, struct{}{})
	}
	sendTo(w, to)
	return nil
}

// sendTo sends a browser to an address that has been looked at: http.Redirect would write it otherwise.
func sendTo(w http.ResponseWriter, at string) {
	w.Header().Set("Location", at)
	w.WriteHeader(http.StatusFound)
}

func errNoProviders() error {
	return api.Refuse(http.StatusNotFound, codeUnsupported, "nobody logs in with a provider here: none is configured in http.auth.openid")
}

// withProvider is an error of a login in the words of this package.
func withProvider(gate *auth.Gate, w http.ResponseWriter, err error) error {
	switch {
	case errors.Is(err, openid.ErrProvider), errors.Is(err, openid.ErrReturn):
		return api.Refuse(http.StatusBadRequest, codeUnsupported, "%v", err)
	case errors.Is(err, openid.ErrRefused):
		// A browser would ask for a password if it were told of one, which is of no use here.
		w.Header().Set("WWW-Authenticate", fmt.Sprintf("OpenID realm=%q", gate.Realm()))
		return api.Refuse(http.StatusUnauthorized, codeUnauthorized, "%v", err)
	}
	return fmt.Errorf("%w: %w", api.ErrUnavailable, err)
}
