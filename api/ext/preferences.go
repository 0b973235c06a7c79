package ext

import (
	"errors"
	"net/http"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/fsm/oci"
)

// setPreference puts a mark of the caller on a repository, or takes it off.
func (e *Extensions) setPreference(w http.ResponseWriter, r *http.Request, caller auth.Caller) error {
	if caller.Name() == "" {
		return api.Refuse(http.StatusForbidden, codeDenied, "only who has a name has preferences")
	}
	query := r.URL.Query()
	cmd := fsm.SetPreference{User: caller.Name(), Repository: query.Get("repo"), Change: fsm.ToggleMark}
	switch query.Get("action") {
	case "toggleStar":
		cmd.Mark = fsm.Star
	case "toggleBookmark":
		cmd.Mark = fsm.Bookmark
	default:
		return api.Refuse(http.StatusBadRequest, codeUnsupported, "action is toggleStar or toggleBookmark")
	}
	if !query.Has("repo") {
		return api.Refuse(http.StatusBadRequest, codeUnsupported, "say which repository, as &repo=NAME")
	}
	err := error(fsm.ErrRepositoryUnknown)
	if oci.ValidateRepository(cmd.Repository) == nil {
		if err := caller.Must(cmd.Repository, access.Read); err != nil { // whether it is there is not told
			return err
		}
		_, err = do(r.Context(), e.deps.Proposer, cmd)
	}
	switch {
	case errors.Is(err, fsm.ErrRepositoryUnknown):
		return api.Refuse(http.StatusNotFound, "NAME_UNKNOWN", "there is no such repository")
	case errors.Is(err, fsm.ErrTooMany):
		return api.Refuse(http.StatusConflict, codeUnsupported, "%v: take some marks off", err)
	case err != nil:
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}
