package api

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// uploadHandler answers a request about an upload that is this node's.
type uploadHandler func(w *answer, r *http.Request, q request, u upload) error

// atOwner has the owner of an upload answer, which is this node or another (DESIGN 4).
func (g *Registry) atOwner(h uploadHandler) handler {
	return func(w *answer, r *http.Request, q request) error {
		u, err := g.signer.Load().verify(q.repository, q.upload)
		if err != nil {
			return err
		}
		if sends(r) {
			leave, err := enter(g.limits.bodies, 1)
			if err != nil {
				return err
			}
			defer leave()
		}
		if u.store, err = g.store(u.store.Name); err != nil {
			return err
		}
		owner, err := g.ownerOf(w, r, u)
		if err != nil {
			return err
		}
		if owner != g.self() {
			return g.forwardUpload(w, r, owner)
		}
		u.owner = owner
		return h(w, r, q, u)
	}
}

// self is this node as the owner of uploads; zero if there are no others.
func (g *Registry) self() blobstore.Incarnation {
	if g.peers == nil {
		return blobstore.Incarnation{}
	}
	return g.peers.Self()
}

// ownerOf finds the owner of an upload. The Location of a POST names none: whoever gets the first bytes owns it
// without asking anyone, and for all else the others are asked. One that nobody knows is this node's.
//
// It fails with blobstore.ErrUploadEnded, or errUnavailable.
func (g *Registry) ownerOf(w *answer, r *http.Request, u upload) (blobstore.Incarnation, error) {
	self := g.self()
	switch {
	case g.peers == nil || w.forwarded:
		return self, nil
	case u.owner != blobstore.Incarnation{}:
		return u.owner, nil
	case isFirst(r):
		return self, nil
	}
	_, err := u.store.Blobs.Upload(r.Context(), u.id)
	if !errors.Is(err, blobstore.ErrUploadUnknown) {
		return self, nil // what is wrong with it, if something is, its handler says
	}
	owner, _, err := g.peers.FindUpload(r.Context(), u.store.Name, u.id)
	switch {
	case err == nil:
		return owner, nil
	case errors.Is(err, blobstore.ErrUploadUnknown):
		return self, nil
	case errors.Is(err, blobstore.ErrUploadEnded):
		return self, err
	default:
		return self, unavailable(err)
	}
}

// isFirst reports whether a request sends the first bytes of an upload, or may do so, or makes no sense.
func isFirst(r *http.Request) bool {
	if (r.Method != http.MethodPatch && r.Method != http.MethodPut) || !sends(r) {
		return false
	}
	offset, err := chunkOf(r)
	return err != nil || offset <= 0
}

// stateDropped is the state of a node that never comes back, in its own word: what numbers it has is the log's
// business.
const stateDropped = "dropped"

// maxAbsence is how long an owner may be silent until its uploads are given up for lost. A restart takes less, and
// then the client goes on where it was.
const maxAbsence = 30 * time.Second

// forwardUpload has the owner of an upload answer.
//
// It fails with errUploadID if the owner was removed, or has been silent for too long: then the client begins the
// blob again, where one that is told to come again would do so for ever. It fails with errOwnerSilent if the owner
// does not answer now.
func (g *Registry) forwardUpload(w *answer, r *http.Request, owner blobstore.Incarnation) error {
	err := g.state.View(func(v fsm.View) error {
		if n, known := v.Node([16]byte(owner)); known && n.State.String() == stateDropped {
			return fmt.Errorf("%w: the node which held it was removed", errUploadID)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = g.forward(w, w, r, owner)
	if errors.Is(err, errAnswered) || errors.Is(err, errBody) {
		return err
	}
	if silent := g.peers.Silence(owner); silent >= maxAbsence {
		return fmt.Errorf("%w: the node which held it has not answered for %s", errUploadID, silent.Round(time.Second))
	}
	return fmt.Errorf("%w: %w", errOwnerSilent, err)
}
