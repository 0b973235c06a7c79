package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// Verify is as the contract says.
func (s *Store) Verify(ctx context.Context, b blobstore.Blob, pace blobstore.Pace) error {
	err := blobstore.CheckDigest(b.Digest)
	if err == nil {
		err = s.Check(ctx)
	}
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	id, err := s.ownCopy(ctx, b)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	t, err := sums.NewTally(b.Digest.Algorithm())
	if err != nil {
		return err
	}
	if err := s.missing(ctx, id, s.tallyCopy(ctx, id, t, b.Size, pace)); err != nil {
		return fmt.Errorf("verify copy %s: %w", id, err)
	}
	if t.Digest() != b.Digest {
		return fmt.Errorf("verify: %w", s.damaged(id, blobstore.WholeCopy, errDigest))
	}
	return s.mendSums(ctx, id, b, t)
}

// tallyCopy reads a whole copy. Where an answer breaks off it asks again from there on.
func (s *Store) tallyCopy(ctx context.Context, id blobstore.CopyID, t *sums.Tally, size int64, pace blobstore.Pace) error {
	w := walk{store: s, id: id, size: size}
	defer w.close()
	buf := s.chunks.Get().(*[]byte)
	defer s.chunks.Put(buf)
	for asked := false; t.Size < size || !asked; asked = true {
		p := (*buf)[:min(blobstore.ChunkSize, size-t.Size)]
		if pace != nil && len(p) > 0 {
			if err := pace(ctx, len(p)); err != nil {
				return err
			}
		}
		if err := s.bucket.patiently(ctx, func() error { return w.read(ctx, p, t.Size) }); err != nil {
			return err
		}
		t.Add(p)
	}
	return nil
}

// walk reads a copy from its beginning to its end, of whose bytes nothing is known.
type walk struct {
	store *Store
	id    blobstore.CopyID
	size  int64
	body  io.ReadCloser // nil: to be asked for
}

func (w *walk) close() {
	if w.body != nil {
		_ = w.body.Close()
		w.body = nil
	}
}

// read fills p with what is at an offset.
func (w *walk) read(ctx context.Context, p []byte, at int64) error {
	if w.body == nil {
		s := span{at, w.size - 1}
		if at == 0 {
			s = whole()
		}
		o, err := w.store.bucket.get(ctx, w.store.keys.copy(w.id), s)
		if err != nil {
			return err
		}
		w.body = o.body
		if o.size >= 0 && o.size != w.size {
			return w.store.damaged(w.id, blobstore.WholeCopy, fmt.Errorf("%w: %d bytes, not %d", errSize, o.size, w.size))
		}
	}
	if _, err := io.ReadFull(w.body, p); err != nil {
		w.close()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %w", errBroken, noEOF(err))
	}
	return nil
}

// mendSums writes the sums of a copy that is whole, unless they are there.
func (s *Store) mendSums(ctx context.Context, id blobstore.CopyID, b blobstore.Blob, t *sums.Tally) error {
	if b.Size <= blobstore.ChunkSize {
		return nil
	}
	s.sums.forget(id)
	kept, err := s.readSums(ctx, id, b)
	if err == nil && slices.Equal(kept.Sums, t.Sums) {
		return nil
	}
	if err != nil && !errors.Is(err, blobstore.ErrCopyDamaged) {
		return err
	}
	s.sums.forget(id)
	if err := s.putSums(ctx, sums.Copy{Copy: id, Digest: b.Digest, Size: b.Size, Sums: t.Sums}); err != nil {
		return fmt.Errorf("mend sums: %w", err)
	}
	return nil
}

// Stat asks the bucket for a copy's size, and when it took it by its own clock, and reads none of it. Nobody is told of one that is gone: whoever asks may have asked for a copy
// that the state has doomed meanwhile.
//   - blobstore.ErrCopyUnknown if there is no such object, in a bucket with its marker
func (s *Store) Stat(ctx context.Context, id blobstore.CopyID) (blobstore.CopyInfo, error) {
	if err := s.ready(ctx); err != nil {
		return blobstore.CopyInfo{}, err
	}
	size, written, err := s.bucket.head(ctx, s.keys.copy(id))
	if errors.Is(err, errNoObject) {
		if offline := s.marker.check(ctx); offline != nil {
			return blobstore.CopyInfo{}, fmt.Errorf("look at copy %s: %w", id, offline)
		}
		err = fmt.Errorf("%w: %w", blobstore.ErrCopyUnknown, err)
	}
	if err != nil {
		return blobstore.CopyInfo{}, fmt.Errorf("look at copy %s: %w", id, err)
	}
	return blobstore.CopyInfo{Size: size, Written: written}, nil
}
