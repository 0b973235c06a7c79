package disk

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/seed-16d79997/zot/blobstore"
)

// Copies is as the contract says. One shard's names are in memory at a time.
func (s *Store) Copies(ctx context.Context, after blobstore.CopyID) iter.Seq2[blobstore.CopyID, error] {
	return func(yield func(blobstore.CopyID, error) bool) {
		if err := s.Check(ctx); err != nil {
			yield(blobstore.CopyID{}, fmt.Errorf("list copies: %w", err))
			return
		}
		for shard := int(after[0]); shard < shards; shard++ {
			ids, err := s.shard(ctx, shard)
			if err != nil {
				yield(blobstore.CopyID{}, fmt.Errorf("list copies: %w", err))
				return
			}
			for _, id := range ids {
				if compareIDs(id, after) > 0 && !yield(id, nil) {
					return
				}
			}
		}
	}
}

func (s *Store) shard(ctx context.Context, shard int) ([]blobstore.CopyID, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	names, err := s.files.List(shardName(shard))
	if err != nil {
		return nil, s.fault("list", err)
	}
	return sortedIDs(names, blobstore.ParseCopyID), nil
}

// Uploads is as the contract says. One whose state a power cut took is in the list too, as silent for ever.
func (s *Store) Uploads(ctx context.Context, after blobstore.UploadID) iter.Seq2[blobstore.Upload, error] {
	return func(yield func(blobstore.Upload, error) bool) {
		names, err := s.listUploads(ctx)
		if err != nil {
			yield(blobstore.Upload{}, fmt.Errorf("list uploads: %w", err))
			return
		}
		for _, id := range sortedIDs(append(names, s.loadedNames()...), blobstore.ParseUploadID) {
			if compareIDs(id, after) <= 0 {
				continue
			}
			up, err := s.listed(ctx, id)
			if !yield(up, err) || err != nil {
				return
			}
		}
	}
}

func (s *Store) listUploads(ctx context.Context) ([]string, error) {
	if err := s.Check(ctx); err != nil {
		return nil, err
	}
	names, err := s.files.List(uploadsDir)
	return names, s.fault("list", err)
}

// loadedNames names the uploads in memory, of which the disk need not know yet.
func (s *Store) loadedNames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, 0, len(s.uploads))
	for id, u := range s.uploads {
		if u.size.Load() >= 0 {
			names = append(names, id.String())
		}
	}
	return names
}

func (s *Store) listed(ctx context.Context, id blobstore.UploadID) (blobstore.Upload, error) {
	if err := ctx.Err(); err != nil {
		return blobstore.Upload{}, err
	}
	up, err := s.Upload(ctx, id)
	if errors.Is(err, blobstore.ErrUploadUnknown) {
		return blobstore.Upload{ID: id}, nil
	}
	if errors.Is(err, blobstore.ErrUploadEnded) {
		err = nil
	}
	return up, err
}
