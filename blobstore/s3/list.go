package s3

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/seed-16d79997/zot/blobstore"
)

// errOrder is a list that cannot be gone on with where it was left.
var errOrder = errors.New("the bucket does not list its keys in their order")

// Copies is as the contract says. A key for a copy and one for its sums are one copy, and either alone is the remains
// of one.
func (s *Store) Copies(ctx context.Context, after blobstore.CopyID) iter.Seq2[blobstore.CopyID, error] {
	return func(yield func(blobstore.CopyID, error) bool) {
		if err := s.Check(ctx); err != nil {
			yield(blobstore.CopyID{}, fmt.Errorf("list copies: %w", err))
			return
		}
		last := after
		for key, err := range s.bucket.list(ctx, s.keys.prefix, s.keys.sums(after)) {
			if err != nil {
				yield(blobstore.CopyID{}, fmt.Errorf("list copies: %w", err))
				return
			}
			id, ours := s.keys.copyOf(key)
			order := slices.Compare(id[:], last[:])
			if !ours || order == 0 {
				continue
			}
			if order < 0 {
				yield(blobstore.CopyID{}, fmt.Errorf("list copies: %w: %s after %s", errOrder, id, last))
				return
			}
			if last = id; !yield(id, nil) {
				return
			}
		}
	}
}

// removals is how many copies are removed at a time.
const removals = 8

// RemoveCopies is as the contract says. The bytes go before their sums: what is left if only they are gone is no copy.
func (s *Store) RemoveCopies(ctx context.Context, ids ...blobstore.CopyID) error {
	if err := s.Check(ctx); err != nil {
		return fmt.Errorf("remove copies: %w", err)
	}
	all, doing := errgroup.WithContext(ctx)
	all.SetLimit(removals)
	for _, id := range ids {
		all.Go(func() error {
			return blobstore.Contain(func() error {
				if err := s.bucket.remove(doing, s.keys.copy(id)); err != nil {
					return err
				}
				return s.bucket.remove(doing, s.keys.sums(id))
			})
		})
	}
	if err := all.Wait(); err != nil {
		return fmt.Errorf("remove copies: %w", err)
	}
	return nil
}
