package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// Verify is as the contract says. The pages that the kernel keeps of the file are dropped first, or rot on
// the disk would go unseen for as long as the blob is popular.
func (s *Store) Verify(ctx context.Context, b blobstore.Blob, pace blobstore.Pace) (err error) {
	err = blobstore.CheckDigest(b.Digest)
	if err == nil {
		err = s.Check(ctx)
	}
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	id, f, err := s.openCopy(b)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	dropPages(f)
	t, err := sums.NewTally(b.Digest.Algorithm())
	if err != nil {
		return err
	}
	if err := s.readCopy(ctx, id, f, t, b.Size, pace); err != nil {
		return fmt.Errorf("verify copy %s: %w", id, err)
	}
	if t.Digest() != b.Digest {
		return fmt.Errorf("verify: %w", s.damaged(id, blobstore.WholeCopy, errDigest))
	}
	if err := s.mendSums(id, b, t); err != nil {
		return err
	}
	return s.sum(id)
}

func (s *Store) readCopy(ctx context.Context, id blobstore.CopyID, f io.ReaderAt, t *sums.Tally, size int64, pace blobstore.Pace) error {
	buf := s.chunks.take()
	defer s.chunks.put(buf)
	for t.Size < size {
		p := (*buf)[:min(blobstore.ChunkSize, size-t.Size)]
		if pace != nil {
			if err := pace(ctx, len(p)); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if n, err := f.ReadAt(p, t.Size); n < len(p) {
			return s.damaged(id, t.Size/blobstore.ChunkSize, err)
		}
		t.Add(p)
	}
	return nil
}

// mendSums writes the sums of a copy that is whole, unless they are there.
func (s *Store) mendSums(id blobstore.CopyID, b blobstore.Blob, t *sums.Tally) error {
	if b.Size <= blobstore.ChunkSize {
		return nil
	}
	kept, err := s.readSums(id, b.Digest, b.Size)
	if err == nil && slices.Equal(kept, t.Sums) {
		return nil
	}
	if err != nil && !errors.Is(err, blobstore.ErrCopyDamaged) && !errors.Is(err, errUnsummed) {
		return err
	}
	content, err := sums.Copy{Copy: id, Digest: b.Digest, Size: b.Size, Sums: t.Sums}.Encode()
	if err != nil {
		return err
	}
	if err := writeFile(s.files, copyName(id)+sumsSuffix, content, true); err != nil {
		return s.fault("mend sums", err)
	}
	return s.fault("mend sums", s.files.SyncDir(shardName(int(id[0]))))
}
