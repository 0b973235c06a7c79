package ext

import (
	"net/http"
	"net/url"
	"time"

	"github.com/seed-16d79997/zot/api/record"
	"github.com/seed-16d79997/zot/auth"
)

// exchange gives back the token of an issuer to a client that has it for a password, as Docker has: it is what each
// request is to bring.
func exchange(gate *auth.Gate, w http.ResponseWriter, r *http.Request) error {
	if err := admit(w, r, http.MethodGet, http.MethodPost); err != nil {
		return err
	}
	var form url.Values
	if r.Method == http.MethodPost {
		var err error
		if form, err = formOf(r); err != nil {
			return err
		}
	}
	if gate.HandsOn(r, form) {
		return handOn(gate, w, r, form)
	}
	text := passwordOf(r, form)
	name, ends, err := gate.Workload(r.Context(), text)
	if err != nil {
		if r.Method == http.MethodPost {
			gate.DelayLogin(r)
		}
		return challenged(gate, w, toldNow(err))
	}
	record.Of(r).By(name)
	now := time.Now()
	left := max(1, int(ends.Sub(now).Seconds()))
	return answer(w, http.StatusOK, granted{Token: text, AccessToken: text, ExpiresIn: left, IssuedAt: now.UTC().Truncate(time.Second)})
}

// passwordOf is what a request for a token has for a password: of whom does not matter.
func passwordOf(r *http.Request, form url.Values) string {
	field := "password"
	if form.Get("grant_type") == "refresh_token" {
		field = "refresh_token"
	}
	if text := form.Get(field); text != "" {
		return text
	}
	_, password, _ := r.BasicAuth()
	return password
}
