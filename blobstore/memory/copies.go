package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/seed-16d79997/zot/blobstore"
)

var errDigest = errors.New("bytes do not match size and digest")

// Open is as the contract says. The whole copy is checked here, whatever part of it was asked for.
func (s *Store) Open(ctx context.Context, b blobstore.Blob, offset, length int64) (blobstore.Reader, error) {
	if err := blobstore.CheckDigest(b.Digest); err != nil {
		return nil, fmt.Errorf("open copy: %w", err)
	}
	end, err := b.End(offset, length)
	if err != nil {
		return nil, fmt.Errorf("open copy: %w", err)
	}
	whole, err := s.read(ctx, b)
	if err != nil {
		return nil, fmt.Errorf("open copy: %w", err)
	}
	return stream{bytes.NewReader(whole[offset:end])}, nil
}

// read returns the bytes of this store's copy of a blob, checked.
func (s *Store) read(ctx context.Context, b blobstore.Blob) ([]byte, error) {
	id, whole, err := s.find(ctx, b)
	if err != nil {
		return nil, err
	}
	if int64(len(whole)) != b.Size || b.Digest.Algorithm().FromBytes(whole) != b.Digest {
		return nil, &blobstore.DamageError{Copy: id, Chunk: blobstore.WholeCopy, Cause: errDigest}
	}
	return whole, nil
}

func (s *Store) find(ctx context.Context, b blobstore.Blob) (blobstore.CopyID, []byte, error) {
	defer s.lock()()
	if err := s.ready(ctx); err != nil {
		return blobstore.CopyID{}, nil, err
	}
	for _, l := range b.Locations {
		if whole, ok := s.copies[l.Copy]; ok && l.Incarnation == s.incarnation {
			return l.Copy, whole, nil
		}
	}
	return blobstore.CopyID{}, nil, blobstore.ErrCopyUnknown
}

// stream is a stream of bytes that have been checked already.
type stream struct{ *bytes.Reader }

// Close does nothing.
func (stream) Close() error { return nil }

// Copies is as the contract says.
func (s *Store) Copies(ctx context.Context, after blobstore.CopyID) iter.Seq2[blobstore.CopyID, error] {
	return func(yield func(blobstore.CopyID, error) bool) {
		ids, err := s.sortedCopies(ctx)
		if err != nil {
			yield(blobstore.CopyID{}, err)
			return
		}
		for _, id := range ids {
			if bytes.Compare(id[:], after[:]) > 0 && !yield(id, nil) {
				return
			}
		}
	}
}

// RemoveCopies is as the contract says.
func (s *Store) RemoveCopies(ctx context.Context, ids ...blobstore.CopyID) error {
	defer s.lock()()
	if err := s.ready(ctx); err != nil {
		return err
	}
	for _, id := range ids {
		s.used -= int64(len(s.copies[id]))
		delete(s.copies, id)
	}
	return nil
}

// Verify is as the contract says.
func (s *Store) Verify(ctx context.Context, b blobstore.Blob, pace blobstore.Pace) error {
	if err := blobstore.CheckDigest(b.Digest); err != nil {
		return fmt.Errorf("verify copy: %w", err)
	}
	for left := b.Size; left > 0 && pace != nil; left -= blobstore.ChunkSize {
		if err := pace(ctx, int(min(left, blobstore.ChunkSize))); err != nil {
			return fmt.Errorf("verify copy: %w", err)
		}
	}
	if _, err := s.read(ctx, b); err != nil {
		return fmt.Errorf("verify copy: %w", err)
	}
	return nil
}
