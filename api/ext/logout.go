package ext

import (
	"fmt"
	"net/http"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/auth"
)

// logout ends the session that a request comes with; one that has ended is no matter. The login at a provider goes on until
// the browser goes where the answer says.
func (e *Extensions) logout(w http.ResponseWriter, r *http.Request) error {
	if err := admit(w, r, http.MethodPost); err != nil {
		return err
	}
	if !auth.FromPages(r) {
		return api.Refuse(http.StatusForbidden, codeDenied, "a logout comes with the header X-ZOT-API-CLIENT: zot-ui, which no other site can send")
	}
	gate := e.deps.Gate()
	provider, err := gate.Logout(w, r)
	if err != nil {
		return fmt.Errorf("%w: %w", api.ErrUnavailable, err)
	}
	return answer(w, http.StatusOK, struct {
		EndSession string `json:"endSessionUrl,omitempty"`
	}{gate.EndSession(r, provider)})
}
