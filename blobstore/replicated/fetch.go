package replicated

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
)

// A node that fetches a blob shows that it is at work every so often, and is taken for dead after a longer
// silence: to make the bytes durable takes a while at the end.
const (
	showEvery    = 2 * time.Second
	fetchSilence = time.Minute
)

// fetchCost is what a fetch costs beside its bytes, as if it were so many more: files are made and synced for it,
// and a command is proposed.
const fetchCost = blobstore.ChunkSize

// Fetch has a node, which may be this one, read a blob from another holder into an upload of its own, and
// finish it: the digest is verified there, and the bytes are durable. The copy is made by PublishAt, before
// which the caller takes the stamp (GC R2, R10). An upload that is never published is swept.
//
// It fails as Open, Append and Finish do on that node, or with the transport's error.
func (s *Store) Fetch(ctx context.Context, to blobstore.Incarnation, b blobstore.Blob) (blobstore.UploadID, error) {
	var id blobstore.UploadID
	var err error
	if to == s.Incarnation() {
		id, err = s.fetchHere(ctx, b, func() {})
	} else {
		id, err = s.peers.fetch(ctx, to, b, fetchSilence)
	}
	if err != nil {
		return blobstore.UploadID{}, fmt.Errorf("fetch blob %s: %w", b.Digest, err)
	}
	return id, nil
}

// PublishAt makes the copy of an upload that Fetch has made on a node, durable when it returns, and gives the
// upload up.
//
// It fails with blobstore.ErrUploadNotFinished or blobstore.ErrUploadUnknown if the node has restarted since
// (fetch it anew), as Publish does, or with the transport's error: there may be a copy then, which is swept.
func (s *Store) PublishAt(ctx context.Context, to blobstore.Incarnation, id blobstore.UploadID) (blobstore.Location, error) {
	var at blobstore.Location
	var err error
	if to == s.Incarnation() {
		at, err = s.publishHere(ctx, id)
	} else {
		at, err = s.peers.publish(ctx, to, id)
	}
	if err != nil {
		return blobstore.Location{}, fmt.Errorf("publish fetched blob: %w", err)
	}
	return at, nil
}

// fetchHere brings a blob from other nodes into an upload of this one. It calls show as bytes come.
func (s *Store) fetchHere(ctx context.Context, b blobstore.Blob, show func()) (blobstore.UploadID, error) {
	m, err := s.cluster.Membership()
	if err != nil {
		return blobstore.UploadID{}, fmt.Errorf("members: %w", err)
	}
	if err := s.pace.Wait(ctx, fetchCost); err != nil {
		return blobstore.UploadID{}, err
	}
	b.Locations = slices.DeleteFunc(slices.Clone(b.Locations), func(l blobstore.Location) bool { return l.Incarnation == s.Incarnation() })
	from, err := s.openStream(ctx, part{blob: b, length: -1, repair: true}, s.sources(b))
	if err != nil {
		return blobstore.UploadID{}, err
	}
	defer func() { _ = from.Close() }() // it was only read
	id := newTee()
	if err := s.take(ctx, id, b, &shown{Reader: s.paced(ctx, from), show: show}, m.Time); err != nil {
		return blobstore.UploadID{}, errors.Join(err, s.Local.RemoveUpload(context.WithoutCancel(ctx), id))
	}
	return id, nil
}

// take makes a finished upload of a stream.
func (s *Store) take(ctx context.Context, id blobstore.UploadID, b blobstore.Blob, from io.Reader, at blobstore.Time) error {
	if err := s.Local.CreateUpload(ctx, id, b.Digest.Algorithm(), at); err != nil {
		return err
	}
	if _, err := s.Local.Append(ctx, id, 0, from, at); err != nil {
		return err
	}
	_, err := s.Local.Finish(ctx, id, b.Digest)
	return err
}

// paced is from, read no faster than the node's pace.
func (s *Store) paced(ctx context.Context, from io.Reader) io.Reader {
	return pacedReader{from, func(n int) error { return s.pace.Wait(ctx, n) }}
}

type pacedReader struct {
	io.Reader
	wait func(n int) error
}

// Read reads, and hands on what it has read when so much may be moved.
func (r pacedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if late := r.wait(n); late != nil {
		return 0, late
	}
	return n, err
}

// shown is a reader that shows that it is read.
type shown struct {
	io.Reader
	show func()
	last time.Time
}

// Read reads.
func (r *shown) Read(p []byte) (int, error) {
	if now := time.Now(); now.Sub(r.last) >= showEvery {
		r.last = now
		r.show()
	}
	return r.Reader.Read(p)
}

// serveFetch brings a blob here. The answer has a line whenever it is seen to be at work, so that whoever asked
// knows a long work from a dead node, and at last one that says how it went.
func (s *Store) serveFetch(w http.ResponseWriter, r *http.Request) {
	q := parseQuery(r.URL.RawQuery)
	b := blobstore.Blob{Digest: q.digest(q.text("digest")), Size: q.number("size"), Locations: q.holders()}
	if err := q.end(); err != nil {
		s.refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	lines, control := json.NewEncoder(w), http.NewResponseController(w)
	write := func(line fetching) {
		_ = control.SetWriteDeadline(time.Now().Add(maxSilence)) // some connections of tests have none
		_ = lines.Encode(line)                                   // whoever asked is gone then, and ends the context
		_ = control.Flush()
		_ = control.SetWriteDeadline(time.Time{})
	}
	id, err := s.fetchHere(r.Context(), b, func() { write(fetching{}) })
	if err != nil {
		f, _ := describe(err)
		write(fetching{Error: &f})
		return
	}
	write(fetching{Upload: id.String()})
}
