package disk

import (
	"context"
	"fmt"

	"github.com/seed-16d79997/zot/blobstore"
)

// EndUpload is as the contract says. What keeps the id taken is not synced: a power cut at worst gives it
// free.
func (s *Store) EndUpload(ctx context.Context, id blobstore.UploadID, at blobstore.Time) error {
	return s.conclude(ctx, id, ends, at)
}

// RemoveUpload is as the contract says.
func (s *Store) RemoveUpload(ctx context.Context, id blobstore.UploadID) error {
	return s.conclude(ctx, id, goes, 0)
}

// conclude sets an upload's fate. If a call is at work on it, that call sees to the rest when it ends.
func (s *Store) conclude(ctx context.Context, id blobstore.UploadID, f fate, at blobstore.Time) error {
	if err := s.Check(ctx); err != nil {
		return fmt.Errorf("end upload: %w", err)
	}
	s.mu.Lock()
	u, err := s.entry(id)
	if err != nil {
		s.mu.Unlock()
		return err
	}
	u.fate, u.active = max(u.fate, f), max(u.active, at)
	held := u.busy
	u.busy = true
	s.mu.Unlock()
	if held {
		return nil
	}
	return s.release(u)
}

// bury leaves of an upload what its fate says. A crash on the way leaves the word that it has ended, or an
// upload without bytes, or remains that Uploads lists: never bytes that a new upload of this id could take.
func (s *Store) bury(u *upload, f fate) error {
	if f == ends {
		s.mu.Lock()
		ended := uploadState{id: u.id, ended: true, algorithm: "sha256", active: u.active}
		s.mu.Unlock()
		if err := writeFile(s.files, stateName(u.id), ended.encode(0), false); err != nil {
			return s.fault("end upload", err)
		}
		return s.fault("end upload", removeAll(s.files, uploadFiles(u.id)...))
	}
	return s.fault("remove upload", removeAll(s.files, append(uploadFiles(u.id), stateName(u.id))...))
}
