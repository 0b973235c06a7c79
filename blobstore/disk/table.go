package disk

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// maxIdle is how many uploads keep their running hash and open file while nobody writes to them. One that
// is silent and makes room for others is read again when it goes on. From half of it on small ones are kept
// on the disk too, so that there is always one that can make room. One that is finished goes only when there
// are four times as many.
const maxIdle = 256

// fate is what is to become of an upload. It only grows.
type fate int

const (
	goesOn fate = iota
	ends        // its bytes go, its id stays taken
	goes        // nothing is left
)

// upload is one in memory. Its holder, the one call that has set busy, works on it; the rest goes by the
// store's mutex.
type upload struct {
	id blobstore.UploadID

	// For those who only ask, written by the holder.
	size   atomic.Int64 // of the tally; -1 until loaded
	sealed atomic.Bool  // a Finish has made the file read-only: it may be a copy's by now

	// Guarded by the store's mutex.
	busy   bool
	fate   fate
	active blobstore.Time
	used   uint64 // the store's count when it was last released

	// The holder's.
	tally    *sums.Tally // nil until loaded
	file     File        // nil while there is no byte
	synced   int64       // bytes that are durable
	kept     kept        // what this process wrote down of it
	onDisk   bool        // enough is written down to go on without what is in memory
	hashed   bool        // no Finish has used the tally's digest up
	finished *finished
}

// finished is what Publish needs of a Finish.
type finished struct {
	copy   blobstore.CopyID
	digest digest.Digest
}

func (u *upload) close() error {
	if u.file == nil {
		return nil
	}
	f := u.file
	u.file = nil
	return f.Close()
}

// state is what is to be kept of a loaded upload.
func (s *Store) state(u *upload) uploadState {
	s.mu.Lock()
	active := u.active
	s.mu.Unlock()
	return uploadState{id: u.id, algorithm: u.tally.Algorithm, active: active, size: u.tally.Size, sums: u.tally.Sums}
}

// claim makes the caller the holder of an upload, loaded or not, until release. It returns ErrUploadEnded,
// ErrUploadBusy or ErrClosed.
func (s *Store) claim(id blobstore.UploadID) (*upload, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.entry(id)
	switch {
	case err != nil:
		return nil, err
	case u.fate != goesOn:
		return nil, blobstore.ErrUploadEnded
	case u.busy:
		return nil, blobstore.ErrUploadBusy
	}
	u.busy = true
	return u, nil
}

// entry returns an upload's place in memory. The caller holds the mutex.
func (s *Store) entry(id blobstore.UploadID) (*upload, error) {
	if s.closed {
		return nil, blobstore.ErrClosed
	}
	u := s.uploads[id]
	if u == nil {
		u = &upload{id: id}
		u.size.Store(-1)
		s.uploads[id] = u
	}
	return u, nil
}

// hold is claim and load.
func (s *Store) hold(ctx context.Context, id blobstore.UploadID) (*upload, error) {
	u, err := s.claim(id)
	if err != nil {
		return nil, err
	}
	if err := s.load(ctx, u); err != nil {
		return nil, errors.Join(err, s.release(u))
	}
	return u, nil
}

// release ends what claim began. If the upload was ended meanwhile, what is left of it is removed here: by
// its holder, so that nothing that the holder still wrote stays. It returns the error of that.
func (s *Store) release(u *upload) error {
	var errs []error
	for done := goesOn; ; {
		s.mu.Lock()
		if u.fate == done {
			idle := s.settle(u)
			s.mu.Unlock()
			return errors.Join(append(errs, idle.closeAll())...)
		}
		done = u.fate
		s.mu.Unlock()
		errs = append(errs, u.close(), s.bury(u, done))
	}
}

// settle gives a released upload its place among the idle ones, or takes it out of memory, and returns those
// whose files are to be closed. The caller holds the mutex.
func (s *Store) settle(u *upload) leaving {
	u.busy = false
	s.uses++
	u.used = s.uses
	if u.fate != goesOn || u.tally == nil || s.closed {
		delete(s.uploads, u.id)
		return leaving{u}
	}
	if len(s.uploads) <= maxIdle {
		return nil
	}
	var oldest *upload
	for _, v := range s.uploads {
		if v.busy || !v.onDisk || v.finished != nil && len(s.uploads) <= 4*maxIdle {
			continue // nothing else knows it, or Publish is about to come
		}
		if oldest == nil || v.used < oldest.used {
			oldest = v
		}
	}
	if oldest == nil {
		return nil
	}
	delete(s.uploads, oldest.id)
	return leaving{oldest}
}

// leaving are uploads that have just been taken out of memory.
type leaving []*upload

func (l leaving) closeAll() error {
	var errs []error
	for _, u := range l {
		errs = append(errs, u.close())
	}
	return errors.Join(errs...)
}

// crowded reports whether uploads may soon have to make room.
func (s *Store) crowded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.uploads) > maxIdle/2
}

// touch notes the time of a call.
func (s *Store) touch(u *upload, at blobstore.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.active = max(u.active, at)
}

// doom sets what is to become of an upload. The holder sees it at its next step.
func (s *Store) doom(u *upload, f fate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.fate = max(u.fate, f)
}

// doomed returns ErrUploadEnded once an upload has been ended.
func (s *Store) doomed(u *upload) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.fate != goesOn {
		return blobstore.ErrUploadEnded
	}
	return nil
}

// broken is for a failed fsync: the kernel may have dropped the bytes while it still shows them, so neither
// reading nor syncing them again would prove anything. The upload goes.
func (s *Store) broken(u *upload, cause error) error {
	s.doom(u, goes)
	return fmt.Errorf("%w: %w", blobstore.ErrUploadBroken, s.fault("keep upload", cause))
}
