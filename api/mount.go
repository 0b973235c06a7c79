package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/fsm/oci"
)

// maxSources is how many repositories are tried for a mount that does not say from where. Those whose link
// has expired, and not been collected yet, are among them.
const maxSources = 16

// mount makes a blob of another repository visible in this one (end-11). It is not done, and the client is
// to upload, if no repository of the same store has the blob.
func (g *Registry) mount(w *answer, r *http.Request, q request, store Store, text, from string) (done bool, err error) {
	d, err := oci.ParseDigest(text)
	if err != nil {
		return false, err
	}
	packed, err := fsm.Pack(d)
	if err != nil {
		return false, err
	}
	sources := []string{from}
	if from == "" {
		if sources, err = g.sources(r.Context(), store.Name, packed); err != nil {
			return false, err
		}
	}
	for _, source := range sources {
		if oci.ValidateRepository(source) != nil || !w.caller.May(access.Read, source) {
			continue // it has no blob, for this caller
		}
		_, err := do(r.Context(), g.proposer, fsm.Mount{From: source, To: q.repository, Digest: packed, Store: store.Name})
		switch {
		case err == nil:
			return true, created(w, blobPath(q.repository, d), d)
		case !errors.Is(err, fsm.ErrBlobUnknown) && !errors.Is(err, fsm.ErrBlobDamaged) && !errors.Is(err, fsm.ErrWrongStore):
			return false, err
		}
	}
	return g.adopt(w, r, q, store, d)
}

// sources lists repositories of a store that have a blob.
func (g *Registry) sources(ctx context.Context, store string, d fsm.Digest) (all []string, err error) {
	err = g.readNew(ctx, func(v fsm.View) error {
		for _, repository := range v.LinkedIn(store, d, "", maxSources) {
			if _, err := v.Link(repository, d); err == nil {
				all = append(all, repository)
			}
		}
		return nil
	})
	return all, err
}
