package s3

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// CreateUpload is as the contract says. Nothing is written for it, here or in the bucket.
func (s *Store) CreateUpload(ctx context.Context, id blobstore.UploadID, hint digest.Algorithm, at blobstore.Time) error {
	t, err := sums.NewTally(hint)
	if err == nil {
		err = s.look(ctx)
	}
	if err == nil {
		err = s.scratch.room()
	}
	if err != nil {
		return fmt.Errorf("create upload: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch u := s.uploads[id]; {
	case s.closed:
		return blobstore.ErrClosed
	case u != nil && (u.ended || u.fate != goesOn):
		return fmt.Errorf("create upload: %w", blobstore.ErrUploadEnded)
	case u != nil:
		return fmt.Errorf("create upload: %w", blobstore.ErrUploadExists)
	}
	s.uploads[id] = &upload{id: id, active: at, tally: t, draft: newDraft()}
	return nil
}

// Upload is as the contract says.
func (s *Store) Upload(ctx context.Context, id blobstore.UploadID) (blobstore.Upload, error) {
	if err := s.look(ctx); err != nil {
		return blobstore.Upload{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.uploads[id]
	switch {
	case u == nil:
		return blobstore.Upload{}, blobstore.ErrUploadUnknown
	case u.ended || u.fate != goesOn:
		return u.describe(), blobstore.ErrUploadEnded
	}
	return u.describe(), nil
}

// describe says how an upload is. The caller holds the mutex.
func (u *upload) describe() blobstore.Upload {
	if u.ended || u.fate != goesOn {
		return blobstore.Upload{ID: u.id, Active: u.active, Ended: true}
	}
	return blobstore.Upload{ID: u.id, Offset: u.size.Load(), Active: u.active, Writing: u.busy, Finished: u.sealed.Load()}
}

// EndUpload is as the contract says. The word that it has ended is in memory: the next process may take the id for
// a new one.
func (s *Store) EndUpload(ctx context.Context, id blobstore.UploadID, at blobstore.Time) error {
	return s.conclude(ctx, id, ends, at)
}

// RemoveUpload is as the contract says, and for one of those that belong to nobody too (Uploads).
func (s *Store) RemoveUpload(ctx context.Context, id blobstore.UploadID) error {
	if err := s.removeOrphan(ctx, id); err != nil {
		return fmt.Errorf("remove upload: %w", err)
	}
	return s.conclude(ctx, id, goes, 0)
}
