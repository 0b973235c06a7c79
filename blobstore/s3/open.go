package s3

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

var (
	errSize   = errors.New("object has another size")
	errDigest = errors.New("bytes do not match the digest")
	errSum    = errors.New("bytes do not match their sum")
)

// Open is as the contract says. What is asked of the bucket is whole chunks, each of which is compared with its sum, as
// on a disk. To hash whole blobs besides was tried: it takes the processor twice as long, and proves little more, for
// the sums name the digest that they were made under.
func (s *Store) Open(ctx context.Context, b blobstore.Blob, offset, length int64) (blobstore.Reader, error) {
	if err := blobstore.CheckDigest(b.Digest); err != nil {
		return nil, fmt.Errorf("open copy: %w", err)
	}
	end, err := b.End(offset, length)
	if err == nil {
		err = s.ready(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("open copy: %w", err)
	}
	id, err := s.ownCopy(ctx, b)
	if err != nil {
		return nil, fmt.Errorf("open copy: %w", err)
	}
	if b.Size <= blobstore.ChunkSize {
		p, err := s.readSmall(ctx, id, b)
		if err != nil {
			return nil, fmt.Errorf("open copy: %w", s.missing(ctx, id, err))
		}
		return sums.Whole(p[offset:end]), nil
	}
	kept, err := s.readSums(ctx, id, b)
	if err != nil {
		return nil, fmt.Errorf("open copy: %w", s.missing(ctx, id, err))
	}
	r := s.newSource(ctx, kept, offset, end)
	if err := r.begin(); err != nil {
		return nil, errors.Join(fmt.Errorf("open copy: %w", s.missing(ctx, id, err)), r.Close())
	}
	return r.stream(), nil
}

// ownCopy returns the copy of a blob that is in the bucket. It returns blobstore.ErrCopyUnknown.
func (s *Store) ownCopy(ctx context.Context, b blobstore.Blob) (blobstore.CopyID, error) {
	for _, l := range b.Locations {
		if l.Incarnation == s.Incarnation() {
			return l.Copy, nil
		}
	}
	if err := s.look(ctx); err != nil {
		return blobstore.CopyID{}, err
	}
	return blobstore.CopyID{}, blobstore.ErrCopyUnknown
}

// missing makes blobstore.ErrCopyUnknown of errNoObject, if the marker is there.
func (s *Store) missing(ctx context.Context, id blobstore.CopyID, err error) error {
	if !errors.Is(err, errNoObject) {
		return err
	}
	if err := s.marker.check(ctx); err != nil {
		return err
	}
	s.config.Suspect(id)
	return fmt.Errorf("%w: %w", blobstore.ErrCopyUnknown, err)
}

// damaged is for what is wrong with a copy that is there.
func (s *Store) damaged(id blobstore.CopyID, chunk int64, cause error) error {
	s.config.Suspect(id)
	s.sums.forget(id)
	return &blobstore.DamageError{Copy: id, Chunk: chunk, Cause: cause}
}

// readSmall reads a copy of one chunk, and checks it by its digest; twice before it is taken for damaged, because bits
// flip on the way too.
func (s *Store) readSmall(ctx context.Context, id blobstore.CopyID, b blobstore.Blob) (p []byte, err error) {
	for range 2 {
		var size int64
		if p, size, err = s.bucket.read(ctx, s.keys.copy(id), b.Size); err != nil {
			return nil, err
		}
		switch {
		case size != b.Size:
			err = fmt.Errorf("%w: %d bytes, not %d", errSize, size, b.Size)
		case b.Digest.Algorithm().FromBytes(p) != b.Digest:
			err = errDigest
		default:
			return p, nil
		}
	}
	return nil, s.damaged(id, 0, err)
}

// readSums returns the sums beside a copy. The error is a *blobstore.DamageError if they are not its own, or not there
// while the copy is.
func (s *Store) readSums(ctx context.Context, id blobstore.CopyID, b blobstore.Blob) (sums.Copy, error) {
	if c, ok := s.sums.find(id); ok && c.Digest == b.Digest && c.Size == b.Size {
		return c, nil
	}
	record, _, err := s.bucket.read(ctx, s.keys.sums(id), sums.Limit(b.Size))
	if errors.Is(err, errNoObject) {
		if _, _, err := s.bucket.head(ctx, s.keys.copy(id)); err != nil {
			return sums.Copy{}, err
		}
		return sums.Copy{}, s.damaged(id, blobstore.WholeCopy, fmt.Errorf("read sums: %w", err))
	}
	if err != nil {
		return sums.Copy{}, err
	}
	c, err := sums.Decode(record)
	if err == nil && (c.Copy != id || c.Digest != b.Digest || c.Size != b.Size) {
		err = fmt.Errorf("%w: they are of %s of copy %s", sums.ErrRecord, c.Digest, c.Copy)
	}
	if err != nil {
		return sums.Copy{}, s.damaged(id, blobstore.WholeCopy, fmt.Errorf("sums: %w", err))
	}
	s.sums.add(c)
	return c, nil
}

// Redirect returns an address that the bytes of a whole blob can be read from without this node, for a while. Nothing
// is checked on that way: it is the client that compares the digest. It must not be given for HEAD, for what is
// signed is GET.
//   - blobstore.ErrCopyUnknown if none of the locations is in the bucket
func (s *Store) Redirect(ctx context.Context, b blobstore.Blob, lifetime time.Duration) (string, error) {
	id, err := s.ownCopy(ctx, b)
	if err == nil {
		err = s.look(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("redirect: %w", err)
	}
	return s.bucket.presign(ctx, s.keys.copy(id), lifetime)
}
