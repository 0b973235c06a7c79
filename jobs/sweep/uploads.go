package sweep

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

const (
	// silence is how long an upload may be left alone, in state time. A client that comes back later
	// starts that blob again.
	silence = 24 * time.Hour
	// maxTimeless bounds how many uploads without a usable time are remembered; more come next time.
	maxTimeless = 1 << 16
)

// removeUploads removes the uploads that were silent too long, and what was kept of ended ones. One that
// a call is at work on stays, however long ago that began.
func (s *sweeper) removeUploads(ctx context.Context) error {
	now, err := s.now() // before the listing: one that is gone on with meanwhile is younger, not older
	if err != nil {
		return err
	}
	removed, timeless := 0, map[blobstore.UploadID]blobstore.Time{}
	var failed error
	for u, err := range s.Blobs.Uploads(ctx, blobstore.UploadID{}) {
		if err != nil {
			return fmt.Errorf("list uploads: %w", err)
		}
		if u.Writing || now-s.activeAt(u, now, timeless) < blobstore.Time(silence) {
			continue
		}
		err := s.Blobs.RemoveUpload(ctx, u.ID)
		if err != nil && hopeless(ctx, err) {
			return fmt.Errorf("remove uploads: %w", err)
		}
		if err != nil {
			failed = keepFirst(failed, fmt.Errorf("remove upload %s: %w", u.ID, err))
			continue
		}
		removed++
	}
	s.timeless = timeless
	if removed > 0 {
		s.log.Info("silent uploads removed", "store", s.Store, "uploads", removed)
	}
	return errors.Join(failed, ctx.Err())
}

func (s *sweeper) now() (now blobstore.Time, err error) {
	err = s.State.View(func(v fsm.View) error {
		now = blobstore.Time(v.Time())
		return nil
	})
	return now, err
}

// activeAt is when an upload was last active. Whose time was lost in a power cut, or lies in the future
// because a backup was restored, counts from when it was first seen so; next remembers that.
func (s *sweeper) activeAt(u blobstore.Upload, now blobstore.Time, next map[blobstore.UploadID]blobstore.Time) blobstore.Time {
	if 0 < u.Active && u.Active <= now {
		return u.Active
	}
	first, seen := s.timeless[u.ID]
	if !seen || first > now {
		first = now
	}
	if len(next) < maxTimeless {
		next[u.ID] = first
	}
	return first
}
