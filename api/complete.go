package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

// complete takes the body of the request that finishes an upload, and verifies the whole. It returns the size.
//
// A PUT may come twice with its body, because it was told to, and the first may have left any part of it behind.
// The Location that the client used says where the upload was before either. So bytes behind that are the
// body's, or the client goes by an older Location than it should: what the digest tells apart.
//
// It fails with errOffset, what speaks against the blob, or the store's errors.
func (g *Registry) complete(w *answer, r *http.Request, q request, c *commit, u upload, d digest.Digest, offset int64) (int64, error) {
	state, err := g.ensure(r.Context(), u)
	if err != nil {
		return 0, err
	}
	begin := u.offset
	if offset != anyOffset {
		begin = offset
	}
	if err := g.takesWhole(r, q.repository, d, state, begin); err != nil {
		return 0, err
	}
	switch {
	case state.Finished: // by a PUT whose copies did not come to be recorded: the bytes are all there
		return g.verify(w, r, u, d)
	case state.Offset > begin:
		size, err := g.verify(w, r, u, d)
		if !errors.Is(err, blobstore.ErrDigestMismatch) || !sends(r) {
			return size, err
		}
		err = g.takeRest(w, r, q, c, u, offset, state.Offset)
		if err != nil {
			return 0, err
		}
	case sends(r) || state.Offset < begin: // if it is less the client is told so
		if offset == anyOffset {
			c.began = begin
		}
		if _, err := g.take(w, r, q, u, begin); err != nil {
			return 0, err
		}
	}
	return g.verify(w, r, u, d)
}

// takeRest takes the body of a PUT into an upload that is at another offset than the PUT was meant for.
func (g *Registry) takeRest(w *answer, r *http.Request, q request, c *commit, u upload, offset, end int64) error {
	switch {
	case offset != anyOffset:
		end = offset // the client knows where it was, and is told where it is
	case c.began == u.offset: // it was sent before: what was taken of it is passed over
		if _, err := io.CopyN(io.Discard, bodyOf(w, r), end-u.offset); err != nil {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("%w: it ends before what was taken of it when it was sent before", errLength)
			}
			return err
		}
	}
	_, err := g.take(w, r, q, u, end)
	return err
}

// verify has the store verify an upload, which is finished then.
func (g *Registry) verify(w *answer, r *http.Request, u upload, d digest.Digest) (int64, error) {
	return alive(w, r, func(ctx context.Context) (int64, error) { return u.store.Blobs.Finish(ctx, u.id, d) })
}
