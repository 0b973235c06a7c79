package kill_test

import (
	"context"
	"net/http"
	"time"

	"github.com/opencontainers/go-digest"
)

// deleteBlob pushes a blob that nobody else knows, deletes it, and looks that it is gone. Now and then it is in
// another repository, too, where it stays, and is pushed again.
func (w *worker) deleteBlob(ctx context.Context, repo string) {
	w.undecided = false
	c := w.gallery.newBlob(1+w.rng.Int64N(2<<20), digest.SHA256)
	if !w.pushBlob(ctx, repo, c, true) {
		return
	}
	other, _ := w.someTag()
	if other != repo && !w.mount(ctx, other, repo, c) {
		return
	}
	w.ledger.forget(repo, c)
	if !w.removeBlob(ctx, repo, c) {
		return
	}
	if other != repo && !w.pullBlob(ctx, other, c) {
		return
	}
	if w.undecided { // it may come back, or go again
		w.figures.count("blobs deleted", "perhaps not for ever")
		return
	}
	there, ok := w.hasBlob(ctx, repo, c)
	if !ok {
		return
	}
	if there {
		w.fail("%s was deleted in %s, and is there", c.digest, repo)
		return
	}
	w.figures.count("blobs deleted", "gone")
	if w.rng.IntN(2) == 0 && w.pushBlob(ctx, repo, c, false) && w.pullBlob(ctx, repo, c) {
		w.figures.count("blobs deleted", "pushed again")
	}
}

// removeBlob deletes a blob that is there.
func (w *worker) removeBlob(ctx context.Context, repo string, c *content) bool {
	q := request{what: "DELETE blob", method: http.MethodDelete, target: blobTarget(repo, c)}
	for t := new(tries); ; {
		r, err := w.send(ctx, q, w.waits())
		switch {
		case err != nil:
			return false
		case r.status == http.StatusAccepted, r.status == http.StatusNotFound && t.count > 0:
			return true
		}
		w.undecided = true
		if !w.again(ctx, t, r) {
			return false
		}
	}
}

// deleteUsed tries to delete a blob that manifests name, and must not be able to (invariants 2 and 3).
func (w *worker) deleteUsed(ctx context.Context) {
	q := request{what: "DELETE blob in use", method: http.MethodDelete, target: blobTarget(probeRepository, w.used)}
	for t := new(tries); ; {
		r, err := w.send(ctx, q, w.waits())
		if err != nil || r.status == http.StatusMethodNotAllowed {
			return
		}
		if !w.again(ctx, t, r) {
			return
		}
	}
}

// abandon begins an upload and gives it up in the middle: it is not there any more.
func (w *worker) abandon(ctx context.Context, repo string) {
	c := w.gallery.newBlob(2+w.rng.Int64N(4<<20), digest.SHA256)
	u := &upload{repo: repo, content: c, owners: map[*node]time.Time{}}
	t := new(tries)
	if w.begin(ctx, t, u) != succeeded || w.chunks(ctx, t, u, c.size/2) != succeeded || !w.removeUpload(ctx, u) {
		return
	}
	if u.disturbed { // one of its requests may come late, and begin it anew
		w.figures.count("uploads given up", "after a disturbance")
		return
	}
	q := request{what: "GET upload, of one given up", method: http.MethodGet, target: u.location}
	for t := new(tries); ; {
		r, err := w.send(ctx, q, w.waits())
		switch {
		case err != nil:
			return
		case r.status == http.StatusNotFound:
			w.figures.count("uploads given up", "gone")
			return
		case !w.again(ctx, t, r):
			return
		}
	}
}

// removeUpload deletes an upload, which is there unless its owner was killed.
func (w *worker) removeUpload(ctx context.Context, u *upload) bool {
	q := request{what: "DELETE upload", method: http.MethodDelete, target: u.location}
	for t := new(tries); ; {
		r, err := w.send(ctx, q, w.waits())
		switch {
		case err != nil:
			return false
		case r.status == http.StatusNoContent, r.status == http.StatusNotFound && (t.count > 0 || w.isLost(u)):
			return true
		case !w.again(ctx, t, r):
			return false
		}
		u.disturbed = true
	}
}
