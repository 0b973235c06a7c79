package disk

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// Finish is as the contract says. The digest that was computed as bytes arrived serves once; all later calls
// read the bytes again, so that each Publish rests on a verification of its own (GC R10).
func (s *Store) Finish(ctx context.Context, id blobstore.UploadID, d digest.Digest) (size int64, err error) {
	if err := blobstore.CheckDigest(d); err != nil {
		return 0, fmt.Errorf("finish upload: %w", err)
	}
	u, err := s.hold(ctx, id)
	if err != nil {
		return 0, fmt.Errorf("finish upload: %w", err)
	}
	defer func() { err = errors.Join(err, s.release(u)) }()
	u.finished = nil
	if err := s.verify(ctx, u, d); err != nil {
		return 0, fmt.Errorf("finish upload: %w", err)
	}
	u.hashed = false
	done := &finished{copy: blobstore.NewCopyID(), digest: d}
	if err := s.makeDurable(u, done); err != nil {
		return 0, fmt.Errorf("finish upload: %w", err)
	}
	u.finished = done
	return u.tally.Size, nil
}

// verify returns a *blobstore.MismatchError unless the bytes hash to d.
func (s *Store) verify(ctx context.Context, u *upload, d digest.Digest) error {
	have := u.tally
	if !u.hashed || have.Algorithm != d.Algorithm() {
		var err error
		if have, err = s.reread(ctx, u, d.Algorithm()); err != nil {
			return err
		}
	}
	if sum := have.Digest(); sum != d {
		return &blobstore.MismatchError{Want: d, Have: sum}
	}
	return nil
}

// makeDurable makes the bytes durable under the upload's name, and the sums of the copy that they will be.
// The two syncs go on side by side: a file system mostly needs one write of its journal for both.
func (s *Store) makeDurable(u *upload, done *finished) error {
	sums := make(chan error, 1)
	go func() { // waited for below
		sums <- blobstore.Contain(func() error { return s.writeSums(u, done) })
	}()
	err := blobstore.Contain(func() error { return s.seal(u) }) // or nobody would wait
	return errors.Join(err, s.fault("write sums", <-sums))
}

// writeSums writes the sums of a copy to be, if it has more than one chunk. They lie beside the upload until
// the copy is published.
func (s *Store) writeSums(u *upload, done *finished) error {
	if u.tally.Size <= blobstore.ChunkSize {
		return nil
	}
	b, err := sums.Copy{Copy: done.copy, Digest: done.digest, Size: u.tally.Size, Sums: u.tally.Sums}.Encode()
	if err != nil {
		return err
	}
	return writeFile(s.files, uploadName(u.id)+sumsSuffix, b, true)
}
