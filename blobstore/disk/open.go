package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

var (
	errSize   = errors.New("file has another size")
	errDigest = errors.New("bytes do not match the digest")
	errSum    = errors.New("bytes do not match their sum")
)

// Open is as the contract says.
func (s *Store) Open(ctx context.Context, b blobstore.Blob, offset, length int64) (blobstore.Reader, error) {
	if err := blobstore.CheckDigest(b.Digest); err != nil {
		return nil, fmt.Errorf("open copy: %w", err)
	}
	end, err := b.End(offset, length)
	if err != nil {
		return nil, fmt.Errorf("open copy: %w", err)
	}
	id, f, err := s.openCopy(b)
	if err != nil {
		return nil, err
	}
	if b.Size <= blobstore.ChunkSize {
		whole, err := s.readSmall(id, f, b)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("open copy: %w", err)
		}
		return sums.Whole(whole[offset:end]), nil
	}
	kept, err := s.sumsOf(ctx, id, b)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open copy: %w", err), f.Close())
	}
	return sums.NewStream(&source{s, id, f, kept}, &s.chunks.pool, b.Size, offset, end), nil
}

// sumsOf returns the sums of a copy. One that was linked is hashed for them first.
func (s *Store) sumsOf(ctx context.Context, id blobstore.CopyID, b blobstore.Blob) ([]uint32, error) {
	sums, err := s.readSums(id, b.Digest, b.Size)
	if errors.Is(err, errUnsummed) {
		if err := s.hashFirst(ctx, id, b); err != nil {
			return nil, err
		}
		sums, err = s.readSums(id, b.Digest, b.Size)
	}
	return sums, err
}

// openCopy opens the file of this store's copy of a blob.
func (s *Store) openCopy(b blobstore.Blob) (blobstore.CopyID, File, error) {
	for _, l := range b.Locations {
		if l.Incarnation != s.marker.incarnation {
			continue
		}
		f, err := s.files.OpenFile(copyName(l.Copy), os.O_RDONLY)
		if errors.Is(err, fs.ErrNotExist) {
			err := s.missing("open copy "+l.Copy.String(), blobstore.ErrCopyUnknown)
			if errors.Is(err, blobstore.ErrCopyUnknown) {
				s.suspect(l.Copy)
			}
			return l.Copy, nil, err
		}
		if err != nil {
			return l.Copy, nil, s.fault("open copy", err)
		}
		if err := s.checkSize(l.Copy, f, b.Size); err != nil {
			return l.Copy, nil, errors.Join(fmt.Errorf("open copy: %w", err), f.Close())
		}
		return l.Copy, f, nil
	}
	return blobstore.CopyID{}, nil, fmt.Errorf("open copy: %w", blobstore.ErrCopyUnknown)
}

func (s *Store) checkSize(id blobstore.CopyID, f File, size int64) error {
	info, err := f.Stat()
	if err != nil {
		return s.fault("open copy", err)
	}
	if info.Size() != size {
		return s.damaged(id, blobstore.WholeCopy, fmt.Errorf("%w: %d bytes, not %d", errSize, info.Size(), size))
	}
	return nil
}

// readSmall reads a copy of one chunk, and checks it by its digest.
func (s *Store) readSmall(id blobstore.CopyID, f File, b blobstore.Blob) ([]byte, error) {
	p := make([]byte, b.Size)
	if _, err := io.ReadFull(f, p); err != nil {
		return nil, s.damaged(id, 0, err)
	}
	if err := matches(p, b.Digest); err != nil {
		return nil, s.damaged(id, 0, err)
	}
	return p, nil
}

func matches(p []byte, d digest.Digest) error {
	h, err := blobstore.NewHash(d.Algorithm())
	if err != nil {
		return err
	}
	_, _ = h.Write(p) // never fails, says package hash
	if digest.NewDigest(d.Algorithm(), h) != d {
		return errDigest
	}
	return nil
}
