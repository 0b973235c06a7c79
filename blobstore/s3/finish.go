package s3

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// Finish is as the contract says. The digest that was computed as bytes arrived serves until a Publish has used it;
// after that, or for another algorithm, everything is read again: each Publish rests on a verification of its own
// (GC R10). What is in the bucket by parts cannot be read before an object is made of them (restage).
func (s *Store) Finish(ctx context.Context, id blobstore.UploadID, d digest.Digest) (int64, error) {
	if err := blobstore.CheckDigest(d); err != nil {
		return 0, fmt.Errorf("finish upload: %w", err)
	}
	u, err := s.claim(ctx, id)
	if err != nil {
		return 0, fmt.Errorf("finish upload: %w", err)
	}
	defer s.release(ctx, u)
	u.finished = ""
	if err := s.verify(ctx, u, d); err != nil {
		return 0, fmt.Errorf("finish upload: %w", s.lost(ctx, u, err))
	}
	if !u.draft.small() {
		if err := s.flush(ctx, u); err != nil {
			return 0, fmt.Errorf("finish upload: %w", s.lost(ctx, u, err))
		}
	}
	u.finished = d
	u.sealed.Store(true)
	return u.tally.Size, nil
}

// flush sends all parts that were not sent.
func (s *Store) flush(ctx context.Context, u *upload) error {
	w := s.newWriter(ctx, u.draft, u.tally)
	return w.end(w.flush())
}

// verify returns a *blobstore.MismatchError unless the bytes hash to d.
func (s *Store) verify(ctx context.Context, u *upload, d digest.Digest) error {
	var err error
	switch stale := u.spent || u.tally.Algorithm != d.Algorithm(); {
	case u.draft.closed:
		err = s.restage(ctx, u, d.Algorithm())
	case stale && u.draft.small():
		err = s.reread(ctx, u, d.Algorithm())
	case stale:
		err = s.restage(ctx, u, d.Algorithm())
	}
	if err != nil {
		return err
	}
	if have := u.tally.Digest(); have != d {
		return &blobstore.MismatchError{Want: d, Have: have}
	}
	return nil
}

// reread reads an upload again that lies in one file here. It is to become another copy than the last time.
func (s *Store) reread(ctx context.Context, u *upload, a digest.Algorithm) error {
	t, err := sums.NewTally(a)
	if err != nil {
		return err
	}
	for _, p := range u.draft.parts { // one at most
		f, r, err := s.openPart(u.draft, p, sumsOf(u.tally, p))
		if err != nil {
			return err
		}
		defer s.chunks.Put(r.buf)
		if err = errors.Join(s.count(ctx, t, r), f.Close()); err != nil {
			return err
		}
	}
	u.tally, u.spent, u.draft.copy = t, false, blobstore.NewCopyID()
	return nil
}

// count adds what r has to a tally.
func (s *Store) count(ctx context.Context, t *sums.Tally, r io.Reader) error {
	buf := s.pieces.Get().(*[]byte)
	defer s.pieces.Put(buf)
	for {
		n, err := blobstore.Fill(ctx, r, *buf)
		t.Add((*buf)[:n])
		if err == io.EOF { //nolint:errorlint // a wrapped one is no regular end
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// restage makes an object of the parts, unless there is one, reads that, and sends what it reads to the key of
// another copy: as parts, so that nothing of it is visible. That object itself cannot be the copy: it may have been
// recorded and collected before, or listed before the stamp is taken (GC R6, R10). It is as much work as the upload
// was, and comes only after an answer that was lost, or with a client that has not announced its algorithm.
func (s *Store) restage(ctx context.Context, u *upload, a digest.Algorithm) error {
	t, err := sums.NewTally(a)
	if err != nil {
		return err
	}
	old, published := u.draft, u.spent
	if err := s.makeReadable(ctx, u); err != nil {
		return err
	}
	source := s.newSource(ctx, sums.Copy{Copy: old.copy, Size: u.tally.Size, Sums: u.tally.Sums}, 0, u.tally.Size).stream()
	next := newDraft()
	w := s.newWriter(ctx, next, t)
	w.doomed = func() error { return s.doomed(u) }
	err = errors.Join(w.end(w.copy(source)), source.Close())
	if err != nil {
		s.discard(ctx, next)
		if errors.Is(err, blobstore.ErrCopyDamaged) || errors.Is(err, errNoObject) {
			err = errors.Join(errGone, err)
		}
		return fmt.Errorf("read again: %w", err)
	}
	u.draft, u.tally, u.spent = next, t, false
	if published {
		return nil
	}
	if err := s.bucket.remove(ctx, s.keys.copy(old.copy)); err != nil {
		blobstore.LogFor(ctx, s.log).Warn("what an upload was read again from is left to the sweeper", "copy", old.copy.String(), "error", err)
	}
	return nil
}

// makeReadable makes an object of the parts that there are, unless it is there.
func (s *Store) makeReadable(ctx context.Context, u *upload) error {
	if u.draft.closed {
		err := s.confirm(ctx, u.draft)
		if !errors.Is(err, errNoObject) {
			return err
		}
		return s.close(ctx, u.draft)
	}
	if err := s.flush(ctx, u); err != nil {
		return err
	}
	return s.close(ctx, u.draft)
}
