package api

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// getBlob sends a blob, or a part of it (end-2).
func (g *Registry) getBlob(w *answer, r *http.Request, q request) error {
	var blob stored
	err := g.readDigest(w, r, func(v fsm.View) (err error) {
		blob, err = visible(v, q.repository, q.digest)
		return err
	})
	if err != nil {
		return err
	}
	etag := etagOf(q.digest)
	describeBlob(w, q.digest)
	if known, err := isKnown(r, etag); err != nil {
		return err
	} else if known {
		return notModified(w)
	}
	part, partial, err := rangeOf(r, blob.Size, etag)
	if err != nil {
		w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(blob.Size, 10))
		return err
	}
	if g.redirect(w, r, blob) {
		return nil
	}
	stream, err := g.openBlob(r.Context(), q.repository, blob, part)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }() // it was only read
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(part.length, 10))
	status := http.StatusOK
	if partial {
		w.Header().Set("Content-Range", contentRange(part, blob.Size))
		status = http.StatusPartialContent
	}
	if err := w.send(status, stream); err != nil {
		return fmt.Errorf("send blob %s: %w", q.digest, err)
	}
	return nil
}

// redirectLifetime is how long a client may take to begin to read where it is sent. It is not asked again once it has.
const redirectLifetime = 20 * time.Minute

// redirect sends a client elsewhere for the bytes of a blob, if they can be had there. It is for GET alone: what is
// signed for one method is refused for another. Whoever came through the operator's socket may not reach anything else.
func (g *Registry) redirect(w *answer, r *http.Request, b stored) bool {
	s, err := g.store(b.store)
	if err != nil || s.Elsewhere == nil || w.operator || r.Method != http.MethodGet || b.Size == 0 {
		return false
	}
	to, err := s.Elsewhere.Redirect(r.Context(), b.Blob, redirectLifetime)
	if err != nil { // then this node says what is wrong, or has the bytes all the same
		g.log.Debug("no redirection", "request_id", w.requestID, "digest", b.Digest.String(), "error", err)
		return false
	}
	w.Header().Set("Location", to)
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusTemporaryRedirect)
	return true
}

// describeBlob sets the headers that every answer about a blob has.
func describeBlob(w *answer, d digest.Digest) {
	w.Header().Set("Docker-Content-Digest", d.String())
	w.Header().Set("ETag", etagOf(d))
	w.Header().Set("Accept-Ranges", "bytes")
}

// visible is a blob that a repository may see.
//
// It fails with fsm.ErrBlobUnknown.
func visible(v fsm.View, repository string, d digest.Digest) (stored, error) {
	packed, err := fsm.Pack(d)
	if err != nil {
		return stored{}, err
	}
	link, err := v.Link(repository, packed)
	if err != nil {
		return stored{}, err
	}
	record, known := v.Blob(link.Store, packed)
	if !known {
		return stored{}, fmt.Errorf("%w: %s", errBlobUnknown, d)
	}
	blob := stored{blobstore.Blob{Digest: d, Size: record.Size}, link.Store}
	for _, c := range record.Copies {
		if c.Held {
			blob.Locations = append(blob.Locations, blobstore.Location{
				Incarnation: blobstore.Incarnation(c.Incarnation), Copy: blobstore.CopyID(c.Copy),
			})
		}
	}
	return blob, nil
}

// headBlob says whether a blob is there, and promises that it stays until its manifest comes: for half a lease
// from the moment that the request was sent (end-2, GC R16). Who may not push needs no promise, and gets none.
func (g *Registry) headBlob(w *answer, r *http.Request, q request) error {
	packed, err := fsm.Pack(q.digest)
	if err != nil {
		return err
	}
	var link fsm.Link
	read, pushes := g.read, mayPush(w.caller, q.repository)
	if pushes {
		read = g.readNewest
	}
	err = read(w, r, func(v fsm.View) (err error) {
		link, err = v.Link(q.repository, packed)
		return err
	})
	if err != nil {
		return err
	}
	if link.Damaged {
		return fmt.Errorf("%w: no good copy of %s is left, push it again", errBlobUnknown, q.digest)
	}
	known, err := isKnown(r, etagOf(q.digest))
	if err != nil {
		return err
	}
	if link.Renew && pushes {
		if _, err := do(r.Context(), g.proposer, fsm.RenewLease{Repository: q.repository, Digest: packed, Store: link.Store}); err != nil {
			return err
		}
	}
	describeBlob(w, q.digest)
	if known {
		return notModified(w)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(link.Size, 10))
	w.WriteHeader(http.StatusOK)
	return nil
}

// deleteBlob ends a repository's view of a blob (end-10).
func (g *Registry) deleteBlob(w *answer, r *http.Request, q request) error {
	packed, err := fsm.Pack(q.digest)
	if err != nil {
		return err
	}
	if err := digestCondition(r, q.digest); err != nil {
		return err
	}
	if _, err := do(r.Context(), g.proposer, fsm.DeleteBlob{Repository: q.repository, Digest: packed}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}
