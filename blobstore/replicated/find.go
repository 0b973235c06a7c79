package replicated

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/seed-16d79997/zot/blobstore"
)

// FindUpload asks all other members for an upload, in Timing.Find at most, and returns the one that has most
// of it.
//   - blobstore.ErrUploadUnknown if none that answered knows it
//   - blobstore.ErrUploadEnded if one knows that it has ended, and none has it
func (s *Store) FindUpload(ctx context.Context, id blobstore.UploadID) (blobstore.Incarnation, blobstore.Upload, error) {
	m, err := s.cluster.Membership()
	if err != nil {
		return blobstore.Incarnation{}, blobstore.Upload{}, fmt.Errorf("find upload: members: %w", err)
	}
	asking, cancel := context.WithTimeout(ctx, s.timing.Find)
	defer cancel()
	found := make([]struct {
		upload blobstore.Upload
		err    error
	}, len(m.Others))
	var all errgroup.Group
	for i, o := range m.Others {
		all.Go(func() error {
			return blobstore.Contain(func() error {
				found[i].upload, found[i].err = s.peers.upload(asking, o.Incarnation, id)
				return nil
			})
		})
	}
	if err := all.Wait(); err != nil {
		return blobstore.Incarnation{}, blobstore.Upload{}, fmt.Errorf("find upload: %w", err)
	}
	best, missing := -1, blobstore.ErrUploadUnknown
	for i, f := range found {
		if errors.Is(f.err, blobstore.ErrUploadEnded) {
			missing = blobstore.ErrUploadEnded
		}
		if f.err == nil && (best < 0 || found[best].upload.Offset < f.upload.Offset) {
			best = i
		}
	}
	if err := ctx.Err(); best < 0 && err != nil {
		missing = err
	}
	if best < 0 {
		return blobstore.Incarnation{}, blobstore.Upload{}, fmt.Errorf("find upload: %w", missing)
	}
	return m.Others[best].Incarnation, found[best].upload, nil
}
