package disk

import (
	"context"
	"fmt"

	"github.com/seed-16d79997/zot/blobstore"
)

// RemoveCopies is as the contract says. The marker is looked for first, in the directory that the names are
// removed from: then a name that is missing is gone, and its removal may be confirmed (GC R12). Nothing is
// synced: what a power cut brings back is swept as unknown.
func (s *Store) RemoveCopies(ctx context.Context, ids ...blobstore.CopyID) error {
	if err := s.Check(ctx); err != nil {
		return fmt.Errorf("remove copies: %w", err)
	}
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("remove copies: %w", err)
		}
		if err := removeAll(s.files, copyFiles(id)...); err != nil {
			return s.fault("remove copies", err)
		}
	}
	return nil
}
