package ext

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/api/record"
	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/token"
)

// The bounds of a request for a token.
const (
	maxScopes  = 64
	maxScope   = 512 // bytes; of the service too
	maxRequest = 64 << 10
)

// granted is the answer of distribution's token protocol, and of OAuth 2.
type granted struct {
	Token       string    `json:"token"`
	AccessToken string    `json:"access_token"`
	ExpiresIn   int       `json:"expires_in"` // seconds
	IssuedAt    time.Time `json:"issued_at"`
	Scope       string    `json:"scope,omitempty"`
}

// token answers who wants one: with a password or session of theirs, or with none where something is granted to everybody.
func (e *Extensions) token(w http.ResponseWriter, r *http.Request) error {
	gate := e.deps.Gate()
	if gate.HasWorkloads() {
		return exchange(gate, w, r)
	}
	if !gate.HasTokens() {
		return api.Refuse(http.StatusNotFound, codeUnsupported, "this registry makes no tokens")
	}
	if err := admit(w, r, http.MethodGet, http.MethodPost); err != nil {
		return err
	}
	caller, wanted, err := asksForToken(gate, r)
	if err != nil {
		return challenged(gate, w, err)
	}
	record.Of(r).By(caller.Name())
	service, scopes, err := scopesIn(wanted)
	if err != nil {
		return err
	}
	if service == "" {
		service = r.Host
	}
	g, err := gate.Grant(caller, service, scopes)
	switch {
	case errors.Is(err, token.ErrTooLarge):
		return api.Refuse(http.StatusBadRequest, codeUnsupported, "ask for fewer scopes at once: %v", err)
	case err != nil:
		return challenged(gate, w, err)
	}
	said := granted{Token: g.Token, AccessToken: g.Token, ExpiresIn: int(token.Lifetime.Seconds()), IssuedAt: g.Issued.UTC().Truncate(time.Second)}
	if r.Method == http.MethodPost {
		said.Scope = scopeText(g.Access)
	}
	return answer(w, http.StatusOK, said)
}

// challenged is an error of this endpoint, where passwords are asked for, and not tokens.
func challenged(gate *auth.Gate, w http.ResponseWriter, err error) error {
	if errors.Is(err, auth.ErrCredentials) {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf("Basic realm=%q", gate.Realm()))
	}
	return err
}

// asksForToken finds out who wants a token, and returns what they have asked for. It fails with auth.ErrCredentials, a
// *api.Refusal, or api.ErrUntold.
func asksForToken(gate *auth.Gate, r *http.Request) (caller auth.Caller, wanted url.Values, err error) {
	if r.Method == http.MethodGet {
		caller, err = gate.Identify(r)
		return caller, r.URL.Query(), toldNow(err)
	}
	form, err := formOf(r)
	if err != nil {
		return caller, nil, err
	}
	switch grant := form.Get("grant_type"); grant {
	case "password":
		caller, err = gate.Login(r, form.Get("username"), form.Get("password"))
	case "refresh_token": // that is what an API key is
		caller, err = gate.LoginByKey(r.Context(), form.Get("refresh_token"))
	default:
		return caller, nil, api.Refuse(http.StatusBadRequest, codeUnsupported, "grant_type is password or refresh_token, not %.20q", grant)
	}
	if errors.Is(err, auth.ErrCredentials) {
		gate.DelayLogin(r)
	}
	return caller, form, toldNow(err)
}

// formOf reads a body that is a form. It fails with a *api.Refusal, or an error of the body.
func formOf(r *http.Request) (url.Values, error) {
	body, err := readBody(r, maxRequest)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, api.Refuse(http.StatusBadRequest, codeUnsupported, "the body is no form")
	}
	return form, nil
}

// toldNow is an error of a gate in the words of this package.
func toldNow(err error) error {
	if err != nil && !errors.Is(err, auth.ErrCredentials) && !errors.Is(err, auth.ErrTooMany) {
		return fmt.Errorf("%w: %w", api.ErrUntold, err)
	}
	return err
}

// scopesIn reads what a token is to be for. Scopes come one by one, or several in one. What is none is left out, as it is
// by others: a client may speak of what this registry does not know.
func scopesIn(wanted url.Values) (service string, all []token.Access, err error) {
	if service = wanted.Get("service"); len(service) > maxScope {
		return "", nil, api.Refuse(http.StatusBadRequest, codeUnsupported, "service is longer than %d bytes", maxScope)
	}
	texts := strings.Fields(strings.Join(wanted["scope"], " "))
	if len(texts) > maxScopes {
		return "", nil, api.Refuse(http.StatusBadRequest, codeUnsupported, "%d scopes are more than %d", len(texts), maxScopes)
	}
	for _, text := range texts {
		if len(text) > maxScope {
			return "", nil, api.Refuse(http.StatusBadRequest, codeUnsupported, "a scope is longer than %d bytes", maxScope)
		}
		if a, is := auth.ParseScope(text); is {
			all = append(all, a)
		}
	}
	return service, all, nil
}

func scopeText(all []token.Access) string {
	var texts []string
	for _, a := range all {
		texts = append(texts, a.Type+":"+a.Name+":"+strings.Join(a.Actions, ","))
	}
	return strings.Join(texts, " ")
}
