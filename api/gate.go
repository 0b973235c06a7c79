package api

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/fsm/oci"
)

// What one node says to another of a client.
const (
	headerCaller = "X-Zot-Caller" // who it is
	headerOrigin = "X-Zot-Origin" // where it has reached the registry
)

// identify finds out who sends a request. Of one that another node has sent on, that node has.
//
// It fails with auth.ErrCredentials or auth.ErrTooMany, or errUntold.
func (g *Registry) identify(w *answer, r *http.Request) (err error) {
	if w.operator {
		return nil
	}
	defer func() { w.record.By(w.caller.Name()) }()
	if w.forwarded {
		w.caller, err = w.gate.Decode(r.Header.Get(headerCaller))
		return err
	}
	w.caller, err = w.gate.Identify(r)
	switch {
	case err == nil:
		if err := w.gate.Greet(w, r, w.caller); err != nil {
			g.log.Warn("login is not kept", "request_id", w.requestID, "error", err)
		}
		return nil
	case errors.Is(err, auth.ErrCredentials):
		w.gate.Dismiss(w, r)
		return err
	case errors.Is(err, auth.ErrTooMany):
		return err
	}
	return fmt.Errorf("%w: %w", errUntold, err)
}

// allow judges what can be judged by the path of a request alone. The rest is up to its handler: what a catalog shows,
// where a mount is from, and which tags are put.
//
// It fails with auth.ErrCredentials or auth.ErrDenied.
func allow(caller auth.Caller, method string, q request) error {
	switch {
	case q.endpoint == endpointBase && !caller.Greets(): // a client learns here whether to send credentials
		return auth.ErrCredentials
	case q.endpoint == endpointBase:
		return nil
	case q.endpoint == endpointCatalog:
		return caller.MustList()
	case q.endpoint == endpointUploads, q.endpoint == endpointUpload: // their status and their end are part of a push
		return caller.Must(q.repository, access.Create)
	case method == http.MethodPut:
		return caller.Must(q.repository, access.Create, access.Update)
	case method == http.MethodDelete:
		return caller.Must(q.repository, access.Delete)
	}
	return caller.Must(q.repository, access.Read)
}

// mayPush reports whether a caller may push something to a repository.
func mayPush(caller auth.Caller, repository string) bool {
	return caller.May(access.Create, repository) || caller.May(access.Update, repository)
}

// limitTags has each tag of a put move only as its caller may move it. That is judged when the command is applied: of two
// that race to create a tag one would change what it may only create.
//
// It fails with auth.ErrCredentials or auth.ErrDenied, errAnswered or errUnavailable.
func (g *Registry) limitTags(w *answer, r *http.Request, cmd *fsm.PutManifest) error {
	if len(cmd.Tags) == 0 && !w.caller.May(access.Create, cmd.Repository) {
		return w.caller.DeniedTo(cmd.Repository, access.Create)
	}
	exist := false // some tags have to
	for i, m := range cmd.Tags {
		by := w.caller.To(m.Tag, "")
		create, update := by.May(access.Create, cmd.Repository), by.May(access.Update, cmd.Repository)
		switch {
		case create && update:
		case create && m.If.Is == "":
			cmd.Tags[i].If.Absent = true
		case create: // and the client wants to change it
			return by.DeniedTo(cmd.Repository, access.Update)
		case update:
			exist = true
		default:
			return by.DeniedTo(cmd.Repository, access.Create, access.Update)
		}
	}
	if !exist {
		return nil
	}
	return g.readNewest(w, r, func(v fsm.View) error {
		for i, m := range cmd.Tags {
			by := w.caller.To(m.Tag, "")
			if by.May(access.Create, cmd.Repository) {
				continue
			}
			now, exists := v.Tag(cmd.Repository, m.Tag)
			if !exists || m.If.Absent {
				return by.DeniedTo(cmd.Repository, access.Create)
			}
			if m.If.Is == "" {
				cmd.Tags[i].If.Is = now.Digest
			}
		}
		return nil
	})
}

// judged is an error of a put in the light of what its caller may do: a tag that exists although it may only be
// created is not a condition of the client's. Where that has one, limitTags has added none.
func judged(caller auth.Caller, r *http.Request, cmd fsm.PutManifest, err error) error {
	if !errors.Is(err, fsm.ErrTagCondition) {
		return err
	}
	told := err
	for _, m := range cmd.Tags {
		told = toReaders(caller.To(m.Tag, ""), cmd.Repository, told)
	}
	if isConditional(r) {
		return told
	}
	moved := false
	for _, m := range cmd.Tags {
		by := caller.To(m.Tag, "")
		if !by.May(access.Update, cmd.Repository) {
			return fmt.Errorf("%w: a tag that is there would name another image, which takes update", by.DeniedTo(cmd.Repository, access.Update))
		}
		moved = moved || !by.May(access.Create, cmd.Repository)
	}
	if moved {
		return unavailable(told)
	}
	return told
}

// toReaders is an error for somebody who may not read: which image a tag names is not in it.
func toReaders(by auth.Caller, repository string, err error) error {
	if errors.Is(err, fsm.ErrTagCondition) && !by.May(access.Read, repository) {
		return fsm.ErrTagCondition
	}
	return err
}

// readable lists repositories that a caller may read, by a list that goes on behind a name.
func readable(caller auth.Caller, last string, n int, list func(last string, n int) []string) []string {
	var all []string
	for len(all) < n {
		page := list(last, maxPage)
		if len(page) == 0 {
			break
		}
		for _, name := range page {
			if len(all) < n && caller.Sees(name) {
				all = append(all, name)
			}
		}
		last = page[len(page)-1]
	}
	return all
}

// challenge tells a client how to say who it is, and has those wait who guess.
func (g *Registry) challenge(w *answer, r *http.Request, status int) {
	if status != http.StatusUnauthorized && status != http.StatusForbidden {
		return
	}
	w.gate.Delay(r)
	if w.Header().Get("WWW-Authenticate") != "" { // an extension knows better
		return
	}
	if c := w.gate.Challenge(r, w.caller, g.origin(w, r), scopesOf(r)); c != "" && !auth.FromPages(r) { // they ask by themselves
		w.Header().Set("WWW-Authenticate", c)
	}
}

// origin is where the client has reached the registry.
func (g *Registry) origin(w *answer, r *http.Request) string {
	if at := r.Header.Get(headerOrigin); w.forwarded && at != "" {
		return at
	}
	return w.gate.Origin(r)
}

// scopesOf are what a token must be for that a request is to be granted to: for a mount the repository that it is from, too.
func scopesOf(r *http.Request) []string {
	q, err := parseRequest(r.Method, r.URL.Path)
	if err != nil {
		return nil
	}
	scope := func(repository, actions string) string { return "repository:" + repository + ":" + actions }
	switch {
	case q.endpoint == endpointBase:
		return nil
	case q.endpoint == endpointCatalog:
		return []string{auth.CatalogScope}
	case q.endpoint == endpointUploads:
		all := []string{scope(q.repository, "pull,push")}
		if from := r.URL.Query().Get("from"); oci.ValidateRepository(from) == nil {
			all = append(all, scope(from, "pull"))
		}
		return all
	case q.endpoint == endpointUpload, r.Method == http.MethodPut:
		return []string{scope(q.repository, "pull,push")}
	case r.Method == http.MethodDelete:
		return []string{scope(q.repository, "delete")}
	}
	return []string{scope(q.repository, "pull")}
}
