package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/fsm/oci"
)

// silence is how long, in state time, an upload that no store knows may still be begun.
const silence = 24 * time.Hour

// startUpload begins an upload, or makes a blob of another repository visible, or takes a whole blob at once
// (end-4, end-11).
func (g *Registry) startUpload(w *answer, r *http.Request, q request) error {
	if err := g.writable(r.Context()); err != nil {
		return err
	}
	if err := g.takes(r.Context(), fsm.View.Writable); err != nil {
		return err
	}
	s, err := g.storeFor(q.repository)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	if query.Has("mount") {
		if done, err := g.mount(w, r, q, s, query.Get("mount"), query.Get("from")); done || err != nil {
			return err
		}
	}
	algorithm := digest.SHA256
	var whole digest.Digest
	if query.Has("digest-algorithm") {
		if algorithm, err = oci.ParseAlgorithm(query.Get("digest-algorithm")); err != nil {
			return err
		}
	}
	if query.Has("digest") {
		if whole, err = oci.ParseDigest(query.Get("digest")); err != nil {
			return err
		}
		algorithm = whole.Algorithm()
	}
	if err := g.room(r.Context(), s); err != nil { // most clients send the bytes before they read why these are refused
		return err
	}
	now, err := g.now()
	if err != nil {
		return err
	}
	u := newUpload(now, algorithm)
	u.store = s
	if whole != "" {
		return g.storeWhole(w, r, q, u, whole)
	}
	if err := g.takes(r.Context(), grows(q.repository, 1)); err != nil {
		return err
	}
	return g.accepted(w, q, u, 0, http.StatusAccepted)
}

// storeWhole takes a whole blob. If that fails nothing is left of it: its client was told of no upload.
func (g *Registry) storeWhole(w *answer, r *http.Request, q request, u upload, d digest.Digest) error {
	leave, err := enter(g.limits.bodies, 1)
	if err != nil {
		return err
	}
	defer leave()
	err = g.finish(w, r, q, u, d)
	if err != nil {
		g.removeUpload(r.Context(), u)
	}
	return err
}

// now is the state time as this node knows it.
func (g *Registry) now() (now int64, err error) {
	err = g.state.View(func(v fsm.View) error {
		now = int64(v.Time())
		return nil
	})
	return now, err
}

// accepted says where an upload goes on and how much of it is there.
func (g *Registry) accepted(w *answer, q request, u upload, offset int64, status int) error {
	g.progress(w, q, u, offset)
	w.Header().Set("Docker-Upload-Uuid", u.id.String())
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(status)
	return nil
}

// progress sets the headers of an upload.
func (g *Registry) progress(w *answer, q request, u upload, offset int64) {
	u.offset = offset
	w.locate("/v2/" + q.repository + "/blobs/uploads/" + g.signer.Load().sign(q.repository, u))
	w.Header().Set("Range", "0-"+strconv.FormatInt(max(0, offset-1), 10))
}

// ensure returns the store's upload. One that was begun and got no bytes yet is made where they arrive (DESIGN 4).
//
// It fails with errUploadID, or the store's errors.
func (g *Registry) ensure(ctx context.Context, u upload) (blobstore.Upload, error) {
	state, err := u.store.Blobs.Upload(ctx, u.id)
	if !errors.Is(err, blobstore.ErrUploadUnknown) {
		return state, err
	}
	now, err := g.now()
	if err != nil {
		return blobstore.Upload{}, err
	}
	if u.offset > 0 || time.Duration(now-u.begun) > silence {
		return blobstore.Upload{}, fmt.Errorf("%w: what was there of it is lost or was silent for too long", errUploadID)
	}
	err = u.store.Blobs.CreateUpload(ctx, u.id, u.algorithm, blobstore.Time(now))
	if err != nil && !errors.Is(err, blobstore.ErrUploadExists) {
		return blobstore.Upload{}, err
	}
	return u.store.Blobs.Upload(ctx, u.id)
}

// appendUpload takes the next bytes of an upload (end-5).
func (g *Registry) appendUpload(w *answer, r *http.Request, q request, u upload) error {
	offset, err := chunkOf(r)
	if err != nil {
		return err
	}
	state, err := g.ensure(r.Context(), u)
	if err != nil {
		return err
	}
	if offset == anyOffset && state.Offset < u.offset {
		offset = u.offset // a power cut took bytes that the client believes to be there
	}
	if err := g.takes(r.Context(), grows(q.repository, max(1, state.Offset+max(0, r.ContentLength)))); err != nil {
		g.giveUp(r.Context(), u, err)
		return err
	}
	end, err := g.take(w, r, q, u, offset)
	if err != nil {
		g.giveUp(r.Context(), u, err)
		return err
	}
	return g.accepted(w, q, u, end, http.StatusAccepted)
}

// take appends the body of a request. If it does not belong where the upload is, the answer says where that is.
func (g *Registry) take(w *answer, r *http.Request, q request, u upload, offset int64) (end int64, err error) {
	now, err := g.now()
	if err != nil {
		return 0, err
	}
	content := g.bound(chunkBody(w, r), r, q.repository, max(u.offset, offset))
	end, err = alive(w, r, func(ctx context.Context) (int64, error) {
		return u.store.Blobs.Append(ctx, u.id, offset, content, blobstore.Time(now))
	})
	if other, ok := errors.AsType[*blobstore.OffsetError](err); ok {
		g.progress(w, q, u, other.Offset)
		return 0, fmt.Errorf("%w: %d, not %d", errOffset, other.Offset, offset)
	}
	return end, err
}

// uploadStatus says how much of an upload is there (end-13).
func (g *Registry) uploadStatus(w *answer, r *http.Request, q request, u upload) error {
	state, err := g.ensure(r.Context(), u)
	if err != nil {
		return err
	}
	return g.accepted(w, q, u, state.Offset, http.StatusNoContent)
}

// cancelUpload gives an upload up (end-14).
func (g *Registry) cancelUpload(w *answer, r *http.Request, _ request, u upload) error {
	if _, err := g.ensure(r.Context(), u); err != nil {
		return err
	}
	now, err := g.now()
	if err != nil {
		return err
	}
	if err := u.store.Blobs.EndUpload(r.Context(), u.id, blobstore.Time(now)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
