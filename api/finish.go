package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/fsm/oci"
)

// tidying bounds what is done to an upload after its client was answered.
const tidying = 10 * time.Second

// finishUpload takes the last bytes of an upload, if there are any, and makes a blob of it (end-6).
func (g *Registry) finishUpload(w *answer, r *http.Request, q request, u upload) error {
	d, err := oci.ParseDigest(r.URL.Query().Get("digest"))
	if err != nil {
		return err
	}
	return g.finish(w, r, q, u, d)
}

// finish takes the body of a request and makes a blob of an upload. A PUT that is repeated, because its answer
// was lost, finds what the first has done.
func (g *Registry) finish(w *answer, r *http.Request, q request, u upload, d digest.Digest) error {
	offset, err := chunkOf(r)
	if err != nil {
		return err
	}
	c, err := alive(w, r, func(ctx context.Context) (*commit, error) { return g.commits.enter(ctx, u.id) })
	if err != nil {
		return unavailable(err) // the client has gone, or another PUT of this upload takes its time
	}
	defer c.leave()
	if err := g.makeBlob(w, r, q, c, u, d, offset); err != nil {
		g.giveUp(r.Context(), u, err)
		return err
	}
	g.endUpload(r.Context(), u)
	return created(w, blobPath(q.repository, d), d)
}

// endUpload gives the bytes of an upload up that is stored, or refused for good, whether its client waits or not.
func (g *Registry) endUpload(ctx context.Context, u upload) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidying)
	defer cancel()
	now, err := g.now()
	if err == nil {
		err = u.store.Blobs.EndUpload(ctx, u.id, blobstore.Time(now))
	}
	if err != nil {
		blobstore.LogFor(ctx, g.log).Warn("bytes of an upload are left behind", "store", u.store.Name, "upload", u.id.String(), "error", err)
	}
}

// makeBlob makes a blob of an upload, or repeats to propose the one that was made of it.
func (g *Registry) makeBlob(w *answer, r *http.Request, q request, c *commit, u upload, d digest.Digest, offset int64) error {
	if c.is(q.repository, d) {
		_, err := alive(w, r, func(ctx context.Context) (struct{}, error) { return struct{}{}, g.propose(ctx, c) })
		if err == nil || !isSpent(err) {
			return err
		}
	}
	size, err := g.complete(w, r, q, c, u, d, offset)
	if err != nil {
		return err
	}
	_, err = alive(w, r, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, g.commit(ctx, c, q.repository, u, d, size)
	})
	return err
}

// commit makes copies of what was verified and records them, in the store in which they are (GC R6, R10, R15).
func (g *Registry) commit(ctx context.Context, c *commit, repository string, u upload, d digest.Digest, size int64) error {
	packed, err := fsm.Pack(d)
	if err != nil {
		return err
	}
	cmd := fsm.BlobStored{Repository: repository, Store: u.store.Name, Digest: packed, Size: size}
	err = g.publish(ctx, &cmd, u)
	if errors.Is(err, blobstore.ErrUploadNotFinished) { // the store has forgotten it among a thousand others
		if _, err = u.store.Blobs.Finish(ctx, u.id, d); err == nil {
			err = g.publish(ctx, &cmd, u)
		}
	}
	if err != nil {
		return err
	}
	c.set(repository, d, cmd, g.proposer.Once())
	return g.propose(ctx, c)
}

// publish makes copies of what was verified, and puts them into the command with their stamp. That is taken after
// a round and before any file gets its name: a copy that is older than its stamp could be swept before it is
// recorded (GC R10). What does not fit is refused here, so that only a race leaves copies that are swept.
func (g *Registry) publish(ctx context.Context, cmd *fsm.BlobStored, u upload) error {
	err := g.readNew(ctx, func(v fsm.View) error {
		cmd.Stamp = v.Time()
		return growsBy(cmd.Repository, cmd.Digest, cmd.Size)(v)
	})
	if err != nil {
		return err
	}
	locations, err := u.store.Blobs.Publish(ctx, u.id)
	if err != nil {
		return err
	}
	cmd.Locations = recordedAs(locations)
	return nil
}

// recordedAs is locations in the words of the state.
func recordedAs(all []blobstore.Location) (recorded []fsm.Location) {
	for _, l := range all {
		recorded = append(recorded, fsm.Location{Incarnation: [16]byte(l.Incarnation), Copy: fsm.CopyID(l.Copy)})
	}
	return recorded
}

// propose records the copies of a commit, under the one request id that they have.
func (g *Registry) propose(ctx context.Context, c *commit) error {
	_, err := do(ctx, c.proposer, c.command)
	if err == nil {
		g.tell(c.digest, c.command)
	}
	return err
}

// isSpent reports whether a set of copies can never be recorded any more, or nobody knows whether it was:
// new copies are needed then, under new ids (GC R6).
func isSpent(err error) bool {
	var refused *fsm.Refusal
	return errors.As(err, &refused) || errors.Is(err, fsm.ErrOutcomeUnknown)
}

// created answers 201 with where the content is.
func created(w *answer, path string, d digest.Digest) error {
	w.locate(path)
	h := w.Header()
	h.Set("Docker-Content-Digest", d.String())
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
	return nil
}

func blobPath(repository string, d digest.Digest) string {
	return "/v2/" + repository + "/blobs/" + d.String()
}
