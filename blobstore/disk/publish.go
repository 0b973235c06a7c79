package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// Publish is as the contract says: one link and one fsync of a directory. The bytes keep the upload's name
// too, so that a repeated PUT makes a new copy without a byte moved: renaming would take the first copy
// away under its recorded id (GC R6).
func (s *Store) Publish(ctx context.Context, id blobstore.UploadID) (at []blobstore.Location, err error) {
	u, err := s.hold(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	defer func() {
		if err = errors.Join(err, s.release(u)); err != nil {
			at = nil
		}
	}()
	done := u.finished
	if done == nil {
		return nil, fmt.Errorf("publish: %w", blobstore.ErrUploadNotFinished)
	}
	if err := s.Check(ctx); err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	u.finished = nil
	if err := s.publish(ctx, u, done); err != nil {
		return nil, s.fault("publish", err)
	}
	return []blobstore.Location{{Incarnation: s.marker.incarnation, Copy: done.copy}}, nil
}

// publish puts the sums in place first: a copy that can be seen has them.
func (s *Store) publish(ctx context.Context, u *upload, done *finished) error {
	name := copyName(done.copy)
	if u.tally.Size > blobstore.ChunkSize {
		if err := s.files.Rename(uploadName(u.id)+sumsSuffix, name+sumsSuffix); err != nil {
			return err
		}
	}
	err := s.files.Link(uploadName(u.id), name)
	if cannotLink(err) {
		err = s.duplicate(ctx, u, done)
	}
	if err != nil {
		return err
	}
	return s.files.SyncDir(shardName(int(done.copy[0])))
}

// cannotLink reports whether a file system has no hard links, or no more of them for this file.
func cannotLink(err error) bool {
	for _, number := range []error{syscall.EPERM, syscall.ENOTSUP, syscall.ENOSYS, syscall.EMLINK} {
		if errors.Is(err, number) {
			return true
		}
	}
	return false
}

// duplicate is the link of a file system that has none. The bytes are verified once more as they are copied:
// what is acknowledged is what was just written.
func (s *Store) duplicate(ctx context.Context, u *upload, done *finished) error {
	name := copyName(done.copy)
	t, err := sums.NewTally(done.digest.Algorithm())
	if err != nil {
		return err
	}
	to, err := s.files.OpenFile(name+draftSuffix, openNew)
	if err != nil {
		return err
	}
	err = s.copyBytes(ctx, to, u, t)
	if err == nil && t.Digest() != done.digest {
		err = &blobstore.MismatchError{Want: done.digest, Have: t.Digest()}
	}
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); err != nil {
		return errors.Join(err, removeAll(s.files, name+draftSuffix))
	}
	return s.files.Rename(name+draftSuffix, name)
}

func (s *Store) copyBytes(ctx context.Context, to io.WriterAt, u *upload, t *sums.Tally) error {
	buf := s.chunks.take()
	defer s.chunks.put(buf)
	for t.Size < u.tally.Size {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := (*buf)[:min(blobstore.ChunkSize, u.tally.Size-t.Size)]
		if _, err := u.file.ReadAt(p, t.Size); err != nil {
			return err
		}
		if _, err := to.WriteAt(p, t.Size); err != nil {
			return err
		}
		t.Add(p)
	}
	return nil
}
