package s3

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// fate is what is to become of an upload. It only grows.
type fate int

const (
	goesOn fate = iota
	ends        // its bytes go, its id stays taken
	goes        // nothing is left
)

// upload is one of this process. Its holder, the one call that has set busy, works on it; the rest goes by the
// store's mutex.
type upload struct {
	id blobstore.UploadID

	// For those who only ask, written by the holder.
	size   atomic.Int64
	sealed atomic.Bool // a Finish has succeeded: no more bytes are taken

	// Guarded by the store's mutex.
	busy   bool
	ended  bool // only the id is kept
	fate   fate
	active blobstore.Time

	// The holder's.
	tally *sums.Tally
	draft *draft
	// spent says that a Publish has begun with what is verified: the next Finish verifies anew, and makes another copy.
	spent    bool
	finished digest.Digest // what Publish may make visible; "" without a Finish that is not used up
}

// claim makes the caller the holder of an upload, until release. It returns ErrUploadUnknown, ErrUploadEnded,
// ErrUploadBusy or ErrClosed.
func (s *Store) claim(ctx context.Context, id blobstore.UploadID) (*upload, error) {
	if err := s.look(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.uploads[id]
	switch {
	case s.closed:
		return nil, blobstore.ErrClosed
	case u == nil:
		return nil, blobstore.ErrUploadUnknown
	case u.ended || u.fate != goesOn:
		return nil, blobstore.ErrUploadEnded
	case u.busy:
		return nil, blobstore.ErrUploadBusy
	}
	u.busy = true
	return u, nil
}

// release ends what claim began. If the upload was ended meanwhile, what is left of it is removed here: by its
// holder, so that nothing that the holder still sent stays.
func (s *Store) release(ctx context.Context, u *upload) {
	for done := goesOn; ; {
		s.mu.Lock()
		if u.fate == done {
			s.settleFate(u)
			s.mu.Unlock()
			return
		}
		done = u.fate
		s.mu.Unlock()
		s.discard(ctx, u.draft)
		u.draft, u.tally, u.finished = nil, nil, ""
		u.size.Store(0)
		u.sealed.Store(false)
	}
}

// maxEnded is how many ids of ended uploads are kept: of those that ended first no late request can come any more.
const maxEnded = 100_000

// settleFate gives an upload that is let go of its place, if it has one still. The caller holds the mutex.
func (s *Store) settleFate(u *upload) {
	u.busy = false
	switch {
	case u.fate == goes:
		delete(s.uploads, u.id)
	case u.fate == ends && !u.ended:
		u.ended = true
		if s.ended = append(s.ended, u.id); len(s.ended) > maxEnded {
			if first := s.uploads[s.ended[0]]; first != nil && first.ended {
				delete(s.uploads, first.id)
			}
			s.ended = s.ended[1:]
		}
	}
}

// touch notes the time of a call.
func (s *Store) touch(u *upload, at blobstore.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.active = max(u.active, at)
}

// doomed returns ErrUploadEnded once an upload has been ended.
func (s *Store) doomed(u *upload) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return blobstore.ErrClosed
	}
	if u.fate != goesOn {
		return blobstore.ErrUploadEnded
	}
	return nil
}

// lost is for an upload whose bytes are not to be had any more, here or in the bucket. It goes, for its client to
// begin again; errors that do not say so pass.
func (s *Store) lost(ctx context.Context, u *upload, err error) error {
	if !errors.Is(err, errNoUpload) && !errors.Is(err, errScratch) && !errors.Is(err, errGone) {
		return err
	}
	if offline := s.marker.check(ctx); offline != nil {
		return errors.Join(offline, err) // it proves nothing (GC R13)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u.fate = goes
	return fmt.Errorf("%w: %w", blobstore.ErrUploadBroken, err)
}

// conclude sets an upload's fate. If a call is at work on it, that call sees to the rest when it ends.
func (s *Store) conclude(ctx context.Context, id blobstore.UploadID, f fate, at blobstore.Time) error {
	if err := s.look(ctx); err != nil {
		return fmt.Errorf("end upload: %w", err)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return blobstore.ErrClosed
	}
	u := s.uploads[id]
	if u == nil {
		u = &upload{id: id}
		s.uploads[id] = u
	}
	u.fate, u.active = max(u.fate, f), max(u.active, at)
	held := u.busy
	u.busy = true
	s.mu.Unlock()
	if !held {
		s.release(ctx, u)
	}
	return nil
}
