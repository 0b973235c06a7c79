package s3

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// Object is the address of one of the store's copies, for other clusters that share the bucket. The store is attached.
func (s *Store) Object(id blobstore.CopyID) string {
	return "s3://" + s.config.Bucket.Name + "/" + s.keys.copy(id)
}

// Others reports whether an address is that of a copy which another cluster has in this bucket. The store is attached.
func (s *Store) Others(object string) bool {
	_, ok := s.othersKey(object)
	return ok
}

// othersKey is the key in the address of another cluster's copy. Nothing else is ever read: what is not the copy of a
// cluster may be anything.
func (s *Store) othersKey(object string) (key string, ok bool) {
	key, here := strings.CutPrefix(object, "s3://"+s.config.Bucket.Name+"/")
	parts := strings.Split(key, "/")
	if !here || len(parts) < 2 || strings.HasPrefix(key, s.keys.prefix) {
		return "", false
	}
	_, err := blobstore.ParseCopyID(parts[len(parts)-1])
	return key, err == nil && isClusterID(parts[len(parts)-2])
}

// Adopt makes a copy of an object that another cluster has put into the bucket. The store copies it by itself; then the
// copy is read whole and compared with the digest: what another cluster says of its object is not believed (GC R10).
// Of an error nothing is left but what the sweeper finds.
//   - blobstore.ErrCopyUnknown if there is no such object, or it is not that of another cluster
//   - *blobstore.MismatchError (is ErrDigestMismatch) if it has other bytes
func (s *Store) Adopt(ctx context.Context, object string, d digest.Digest) (blobstore.Blob, error) {
	err := blobstore.CheckDigest(d)
	if err == nil {
		err = s.Check(ctx)
	}
	if err != nil {
		return blobstore.Blob{}, fmt.Errorf("adopt %s: %w", object, err)
	}
	key, ok := s.othersKey(object)
	if !ok {
		return blobstore.Blob{}, fmt.Errorf("adopt %s: %w: no cluster has it in this bucket", object, blobstore.ErrCopyUnknown)
	}
	b := blobstore.Blob{Digest: d, Locations: []blobstore.Location{{Copy: blobstore.NewCopyID()}}}
	if b.Size, err = s.copyObject(ctx, key, b.Locations[0].Copy); err != nil {
		return blobstore.Blob{}, fmt.Errorf("adopt %s: %w", object, err)
	}
	if err := s.confirmAdopted(ctx, b); err != nil {
		s.dropAdopted(ctx, b.Locations[0].Copy)
		return blobstore.Blob{}, fmt.Errorf("adopt %s: %w", object, err)
	}
	return b, nil
}

// copyObject copies an object to the key of a copy, and returns its size.
func (s *Store) copyObject(ctx context.Context, from string, to blobstore.CopyID) (size int64, err error) {
	size, _, err = s.bucket.head(ctx, from)
	if err == nil && size < 0 {
		err = fmt.Errorf("%w: the answer does not say how large it is", blobstore.ErrUnreachable)
	}
	if err == nil && size <= s.config.MaxCopied {
		err = s.bucket.copy(ctx, from, s.keys.copy(to))
	} else if err == nil {
		err = s.copyInParts(ctx, from, to, size)
	}
	if errors.Is(err, errNoObject) {
		err = fmt.Errorf("%w: %w", blobstore.ErrCopyUnknown, err)
	}
	return size, err
}

// copyInParts is copyObject for what is too large for one request.
func (s *Store) copyInParts(ctx context.Context, from string, to blobstore.CopyID, size int64) error {
	d := newDraft()
	d.copy = to
	if err := s.begin(ctx, d); err != nil {
		return err
	}
	defer s.discard(ctx, d)
	copies, doing := errgroup.WithContext(ctx)
	copies.SetLimit(s.config.Parallel)
	for at := int64(0); at < size; at += s.config.CopiedPart {
		p := &part{number: len(d.parts), from: at, size: min(s.config.CopiedPart, size-at)}
		d.parts = append(d.parts, p)
		copies.Go(func() error {
			return blobstore.Contain(func() (err error) {
				p.etag, err = s.bucket.partFrom(doing, from, s.keys.copy(to), d.upload, int32(p.number+1), span{p.from, p.from + p.size - 1}) //nolint:gosec // 10,000 at most
				return err
			})
		})
	}
	if err := copies.Wait(); err != nil {
		return err
	}
	return s.close(ctx, d)
}

// confirmAdopted reads a copy that was just made, and gives it its sums if it is what it should be.
func (s *Store) confirmAdopted(ctx context.Context, b blobstore.Blob) error {
	t, err := sums.NewTally(b.Digest.Algorithm())
	if err != nil {
		return err
	}
	id := b.Locations[0].Copy
	if err := s.tallyCopy(ctx, id, t, b.Size, nil); err != nil {
		return fmt.Errorf("%w: read the copy: %w", blobstore.ErrUnreachable, err) // its own, and not the other cluster's
	}
	if have := t.Digest(); have != b.Digest {
		return &blobstore.MismatchError{Want: b.Digest, Have: have}
	}
	if b.Size <= blobstore.ChunkSize {
		return nil
	}
	return s.putSums(ctx, sums.Copy{Copy: id, Digest: b.Digest, Size: b.Size, Sums: t.Sums})
}

// dropAdopted removes a copy that is good for nothing.
func (s *Store) dropAdopted(ctx context.Context, id blobstore.CopyID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.Timing.Tidy)
	defer cancel()
	if err := s.removeCopy(ctx, id); err != nil {
		blobstore.LogFor(ctx, s.log).Warn("a copy that is not what it should be is left to the sweeper", "copy", id.String(), "error", err)
	}
}

// sourceOf names an object in the words of a request that copies it.
func (b *bucket) sourceOf(key string) string {
	return (&url.URL{Path: *b.name + "/" + key}).EscapedPath()
}
