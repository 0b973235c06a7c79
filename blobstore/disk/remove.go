package disk

import (
	"context"
	"fmt"

	"github.com/seed-16d79997/zot/blobstore"
)

// RemoveCopies is as the contract says. Nothing is synced: what a power cut brings back is swept as unknown.
func (s *Store) RemoveCopies(ctx context.Context, ids ...blobstore.CopyID) error {
	if err := s.Check(ctx); err != nil {
		return fmt.Errorf("remove copies: %w", err)
	}
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("remove copies: %w", err)
		}
		if err := s.gone(copyFiles(id)); err != nil {
			return fmt.Errorf("remove copies: %w", err)
		}
	}
	return nil
}
