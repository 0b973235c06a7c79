package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strings"

	"github.com/seed-16d79997/zot/blobstore"
)

// ErrNotLinked is why a file of somebody else's is no copy now: it is on another file system, not a plain file, has
// another size, may not be linked, or this system cannot. Its bytes have to be uploaded.
var ErrNotLinked = errors.New("file cannot be linked into the store")

// Link makes a copy of a file that lies elsewhere on the same file system by giving it a name here, and returns where
// it is, durable. Nobody has read the bytes: the copy has a mark beside it until a Verify, or the first Open, has
// hashed all of it. Until then nothing of it is served, so invariant 11 holds; that the bytes are what the digest
// says is the caller's guess (the one exception to GC R10).
//
// The file is one that the caller has opened, for reading, and not a name: what lies under a name may be another file
// by the time it is looked at. It is never written to here, and the two names are one file from now on: whoever
// writes to the other changes the copy.
//   - ErrNotLinked, with the reason; nothing is left behind
func (s *Store) Link(ctx context.Context, f *os.File, size int64) (blobstore.Location, error) {
	if err := s.Check(ctx); err != nil {
		return blobstore.Location{}, fmt.Errorf("link: %w", err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		return blobstore.Location{}, fmt.Errorf("link: %w: %w", ErrNotLinked, err)
	case !info.Mode().IsRegular():
		return blobstore.Location{}, fmt.Errorf("link: %w: it is no plain file", ErrNotLinked)
	case info.Size() != size:
		return blobstore.Location{}, fmt.Errorf("link: %w: it has %d bytes, not %d", ErrNotLinked, info.Size(), size)
	}
	if err := f.Sync(); err != nil { // who wrote it may not have, and it is to survive a power cut from now on
		return blobstore.Location{}, fmt.Errorf("link: %w: %w", ErrNotLinked, err)
	}
	id := blobstore.NewCopyID()
	if err := s.link(f, id); err != nil {
		return blobstore.Location{}, errors.Join(err, removeAll(s.files, copyFiles(id)...))
	}
	return blobstore.Location{Incarnation: s.Incarnation(), Copy: id}, nil
}

// link puts the mark in place first: a copy that nobody has hashed is never seen without it. One fsync makes both
// names durable.
func (s *Store) link(f *os.File, id blobstore.CopyID) error {
	mark, err := s.files.OpenFile(copyName(id)+unsummedSuffix, openNew)
	if err == nil {
		err = mark.Close()
	}
	if err != nil {
		return s.fault("link", err)
	}
	if err := s.files.Adopt(f, copyName(id)); err != nil {
		return fmt.Errorf("link: %w: %w", ErrNotLinked, err)
	}
	return s.fault("link", s.files.SyncDir(shardName(int(id[0]))))
}

// Unsummed lists the copies that were linked and that nobody has hashed yet, in their order. It reads the names of all
// copies.
func (s *Store) Unsummed(ctx context.Context) iter.Seq2[blobstore.CopyID, error] {
	return func(yield func(blobstore.CopyID, error) bool) {
		if err := s.Check(ctx); err != nil {
			yield(blobstore.CopyID{}, fmt.Errorf("list linked copies: %w", err))
			return
		}
		for shard := range shards {
			if err := ctx.Err(); err != nil {
				yield(blobstore.CopyID{}, err)
				return
			}
			names, err := s.files.List(shardName(shard))
			if err != nil {
				yield(blobstore.CopyID{}, s.fault("list linked copies", err))
				return
			}
			var marks []string
			for _, name := range names {
				if strings.HasSuffix(name, unsummedSuffix) {
					marks = append(marks, name)
				}
			}
			for _, id := range sortedIDs(marks, blobstore.ParseCopyID) {
				if !yield(id, nil) {
					return
				}
			}
		}
	}
}

// IsUnsummed reports whether a copy was linked and nobody has hashed it yet.
func (s *Store) IsUnsummed(id blobstore.CopyID) bool {
	f, err := s.files.OpenFile(copyName(id)+unsummedSuffix, os.O_RDONLY)
	if err != nil {
		return false
	}
	_ = f.Close() // nothing was written to it
	return true
}

// sum takes the mark off a copy that has been hashed and has its sums.
func (s *Store) sum(id blobstore.CopyID) error {
	err := s.files.Remove(copyName(id) + unsummedSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return s.fault("take mark off copy", err)
}

// hashing is the first reading of a copy that was linked. All who want to read the copy wait for one.
type hashing struct {
	done chan struct{}
	err  error // after done
}

// hashFirst returns when a copy that was linked has been hashed whole and has its sums. The work goes on when nobody
// waits for it any more, or a large copy could never be read by clients of little patience.
func (s *Store) hashFirst(ctx context.Context, id blobstore.CopyID, b blobstore.Blob) error {
	s.mu.Lock()
	h := s.hashing[id]
	if h == nil && s.closed {
		s.mu.Unlock()
		return blobstore.ErrClosed
	}
	if h == nil {
		h = &hashing{done: make(chan struct{})}
		s.hashing[id] = h
		ctx := context.WithoutCancel(ctx) // as said above; Close ends it
		s.background.Go(func() {          // Close waits for it
			h.err = blobstore.Contain(func() error { return s.hashWhole(ctx, id, b) })
			s.mu.Lock()
			delete(s.hashing, id)
			s.mu.Unlock()
			close(h.done)
		})
	}
	s.mu.Unlock()
	select {
	case <-h.done:
		return h.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) hashWhole(ctx context.Context, id blobstore.CopyID, b blobstore.Blob) error {
	b.Locations = []blobstore.Location{{Incarnation: s.Incarnation(), Copy: id}}
	return s.Verify(ctx, b, func(context.Context, int) error {
		select {
		case <-s.ending:
			return blobstore.ErrClosed
		default:
			return nil
		}
	})
}
