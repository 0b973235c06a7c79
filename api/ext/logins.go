package ext

import (
	"net/http"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/fsm"
)

// endLogins has an administrator end all sessions and API keys of a user, on every node. Who can still log in can make new
// ones: that is up to the methods.
func (e *Extensions) endLogins(w http.ResponseWriter, r *http.Request, caller auth.Caller) error {
	if err := caller.MustAdminister(access.Delete); err != nil {
		return err
	}
	user := r.URL.Query().Get("user")
	sessions := fsm.DeleteSessions{Subject: user}
	if _, err := fsm.Encode(sessions); err != nil {
		return api.Refuse(http.StatusBadRequest, codeUnsupported, "say whose, as ?user=NAME")
	}
	ended := struct {
		Sessions int `json:"sessions"`
		APIKeys  int `json:"apiKeys"`
	}{}
	done, err := do(r.Context(), e.deps.Proposer, sessions) // first: in a session one can make a key
	if err != nil {
		return err
	}
	ended.Sessions = done.Sessions
	keys, err := do(r.Context(), e.deps.Proposer, fsm.RevokeAPIKeys{Owner: user})
	if err != nil {
		return err
	}
	ended.APIKeys = keys.Keys
	return answer(w, http.StatusOK, ended)
}
