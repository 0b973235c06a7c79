package disk

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// CreateUpload is as the contract says. It writes nothing: a file is made for the first bytes.
func (s *Store) CreateUpload(ctx context.Context, id blobstore.UploadID, hint digest.Algorithm, at blobstore.Time) (err error) {
	t, err := sums.NewTally(hint)
	if err == nil {
		err = s.Check(ctx)
	}
	if err == nil {
		err = s.room()
	}
	if err != nil {
		return fmt.Errorf("create upload: %w", err)
	}
	u, err := s.claim(id)
	if errors.Is(err, blobstore.ErrUploadBusy) {
		err = fmt.Errorf("%w: %w", blobstore.ErrUploadExists, err)
	}
	if err != nil {
		return fmt.Errorf("create upload: %w", err)
	}
	defer func() { err = errors.Join(err, s.release(u)) }()
	if err := s.vacant(u); err != nil {
		return fmt.Errorf("create upload: %w", err)
	}
	s.touch(u, at)
	s.loaded(u, t)
	return nil
}

// vacant returns nil if an upload's id is not taken, and removes what a power cut may have left of one.
func (s *Store) vacant(u *upload) error {
	if u.tally != nil {
		return blobstore.ErrUploadExists
	}
	old, err := s.readState(u.id)
	switch {
	case errors.Is(err, blobstore.ErrUploadUnknown):
		return s.fault("remove remains", removeAll(s.files, uploadFiles(u.id)...))
	case err != nil:
		return err
	case old.ended:
		return blobstore.ErrUploadEnded
	}
	return blobstore.ErrUploadExists
}

func (s *Store) loaded(u *upload, t *sums.Tally) {
	u.tally, u.hashed = t, true
	u.size.Store(t.Size)
}

// Upload is as the contract says. It reads no bytes: after a restart the offset is what was written down.
func (s *Store) Upload(_ context.Context, id blobstore.UploadID) (blobstore.Upload, error) {
	if up, ok, err := s.inMemory(id); ok || err != nil {
		return up, err
	}
	state, err := s.readState(id)
	if err != nil {
		return blobstore.Upload{}, err
	}
	up := blobstore.Upload{ID: id, Active: state.active, Ended: state.ended}
	if up.Ended {
		return up, blobstore.ErrUploadEnded
	}
	up.Offset, up.Finished, err = s.onDisk(id)
	if !up.Finished {
		up.Offset = min(up.Offset, state.size)
	}
	return up, err
}

// inMemory says how a loaded upload is, and false if it is not loaded.
func (s *Store) inMemory(id blobstore.UploadID) (blobstore.Upload, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return blobstore.Upload{}, false, blobstore.ErrClosed
	}
	u := s.uploads[id]
	if u == nil {
		return blobstore.Upload{}, false, nil
	}
	up := blobstore.Upload{ID: id, Offset: max(0, u.size.Load()), Active: u.active, Writing: u.busy, Finished: u.sealed.Load()}
	if u.fate != goesOn {
		up.Ended = true
		return up, true, blobstore.ErrUploadEnded
	}
	return up, u.size.Load() >= 0, nil
}
