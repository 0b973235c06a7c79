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
// One that the bucket does not let go of keeps none of the others.
func (s *Store) RemoveCopies(ctx context.Context, ids ...blobstore.CopyID) error {
	if err := s.Check(ctx); err != nil {
		return fmt.Errorf("remove copies: %w", err)
	}
	all, doing := errgroup.WithContext(ctx)
	all.SetLimit(removals)
	kept := make([]error, len(ids))
	for i, id := range ids {
		all.Go(func() error {
			return blobstore.Contain(func() error {
				err := s.removeCopy(doing, id)
				if errors.Is(err, errKept) {
					kept[i], err = err, nil
				}
				return err
			})
		})
	}
	err := all.Wait()
	for i := 0; err == nil && i < len(kept); i++ {
		err = kept[i] // the first tells as much as all
	}
	if err != nil {
		return fmt.Errorf("remove copies: %w", err)
	}
	return nil
}

func (s *Store) removeCopy(ctx context.Context, id blobstore.CopyID) error {
	if err := s.bucket.remove(ctx, s.keys.copy(id)); err != nil {
		return err
	}
	return s.bucket.remove(ctx, s.keys.sums(id))
}
