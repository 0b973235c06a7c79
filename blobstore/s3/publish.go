package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// Publish is as the contract says: one request that makes an object, and one that looks at it. The id is the bucket's
// from then on, whatever came of it: after an error the object may be there all the same, or come to be.
func (s *Store) Publish(ctx context.Context, id blobstore.UploadID) ([]blobstore.Location, error) {
	u, err := s.claim(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	defer s.release(ctx, u)
	done := u.finished
	if done == "" {
		return nil, fmt.Errorf("publish: %w", blobstore.ErrUploadNotFinished)
	}
	if err := s.marker.check(ctx); err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	u.finished, u.spent = "", true
	at := blobstore.Location{Copy: u.draft.copy}
	if err := s.publish(ctx, u, done); err != nil {
		return nil, fmt.Errorf("publish: %w", s.lost(ctx, u, err))
	}
	return []blobstore.Location{at}, nil
}

// publish puts the sums in place first: a copy that can be seen has them.
func (s *Store) publish(ctx context.Context, u *upload, d digest.Digest) error {
	if u.tally.Size > blobstore.ChunkSize {
		kept := sums.Copy{Copy: u.draft.copy, Digest: d, Size: u.tally.Size, Sums: u.tally.Sums}
		if err := s.putSums(ctx, kept); err != nil {
			return err
		}
	}
	if u.draft.small() {
		return s.putSmall(ctx, u)
	}
	return s.close(ctx, u.draft)
}

// putSums writes the sums beside a copy.
func (s *Store) putSums(ctx context.Context, c sums.Copy) error {
	b, err := c.Encode()
	if err != nil {
		return err
	}
	return s.bucket.put(ctx, s.keys.sums(c.Copy), bytes.NewReader(b), int64(len(b)), false)
}

// putSmall makes an object of an upload that lies in one file here.
func (s *Store) putSmall(ctx context.Context, u *upload) (err error) {
	var body io.ReadSeeker = bytes.NewReader(nil)
	for _, p := range u.draft.parts { // one at most
		f, r, err := s.openPart(u.draft, p, sumsOf(u.tally, p))
		if err != nil {
			return err
		}
		defer s.chunks.Put(r.buf)
		defer func() { err = errors.Join(err, f.Close()) }()
		body = r
	}
	key := s.keys.copy(u.draft.copy)
	return s.settle(ctx, u.draft, s.onlyNew, func(onlyNew bool) error {
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return err
		}
		return s.bucket.put(ctx, key, body, u.tally.Size, onlyNew)
	})
}
