package disk_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
)

// foreign is a file of somebody else's on the same file system as a store.
type foreign struct {
	path    string
	content []byte
	blob    blobstore.Blob
}

// newForeign makes the file and a store beside it. Reads and other steps of the store's disk are counted by f.
func newForeign(t *testing.T, size int, f *faults) (foreign, disk.Config, *disk.Store) {
	t.Helper()
	dir := t.TempDir()
	content := make([]byte, size)
	random := rand.NewChaCha8([32]byte{7})
	_, _ = random.Read(content) // never fails
	path := filepath.Join(dir, "blob")
	must(t, os.WriteFile(path, content, 0o400))
	c := disk.Config{Dir: filepath.Join(dir, "store"), Incarnation: blobstore.Incarnation{1}, Files: f.over}
	must(t, disk.Create(c))
	return foreign{path, content, blobstore.Blob{Digest: digest.FromBytes(content), Size: int64(size)}}, c, opened(t, c)
}

func opened(t *testing.T, c disk.Config) *disk.Store {
	t.Helper()
	s, err := disk.Open(c)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// link links a file and notes where.
func (f *foreign) link(t *testing.T, s *disk.Store) error {
	t.Helper()
	file, err := os.Open(f.path)
	must(t, err)
	defer func() { must(t, file.Close()) }()
	at, err := s.Link(t.Context(), file, f.blob.Size)
	f.blob.Locations = []blobstore.Location{at}
	return err
}

func (f *foreign) read(ctx context.Context, s *disk.Store) ([]byte, error) {
	r, err := s.Open(ctx, f.blob, 0, -1)
	if err != nil {
		return nil, err
	}
	p, err := io.ReadAll(r)
	return p, errors.Join(err, r.Close())
}

func unsummed(t *testing.T, s *disk.Store) (all []blobstore.CopyID) {
	t.Helper()
	for id, err := range s.Unsummed(t.Context()) {
		must(t, err)
		all = append(all, id)
	}
	return all
}

// What is linked is the file itself. It is hashed whole before its first byte is read, once for all who ask, and
// after that served as any other copy, also by the next process.
func TestLink(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"large": 5*blobstore.ChunkSize + 1, "of one chunk": 1000, "empty": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &faults{only: "read"}
			one, c, s := newForeign(t, size, f)
			must(t, one.link(t, s))
			id := one.blob.Locations[0].Copy
			path := filepath.Join(c.Dir, "copies", id.String()[:2], id.String())
			here, err := os.Stat(path)
			must(t, err)
			there, err := os.Stat(one.path)
			must(t, err)
			if !os.SameFile(here, there) || there.Mode() != 0o400 {
				t.Errorf("%v and %v", here, there)
			}
			if !slices.Equal(unsummed(t, s), []blobstore.CopyID{id}) || !s.IsUnsummed(id) {
				t.Error("nobody knows that it is to be hashed")
			}
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					if p, err := one.read(t.Context(), s); err != nil || !bytes.Equal(p, one.content) {
						t.Errorf("%d bytes, %v", len(p), err)
					}
				})
			}
			all.Wait()
			if chunks := int64(size+blobstore.ChunkSize-1) / blobstore.ChunkSize; size > blobstore.ChunkSize && f.steps.Load() != 9*chunks {
				t.Errorf("%d reads for eight readers of %d chunks: they did not share one hashing", f.steps.Load(), chunks)
			}
			must(t, s.Verify(t.Context(), one.blob, nil))
			must(t, s.Close())
			s = opened(t, c)
			if s.IsUnsummed(id) || len(unsummed(t, s)) > 0 {
				t.Error("it is hashed, and nobody knows")
			}
			if p, err := one.read(t.Context(), s); err != nil || !bytes.Equal(p, one.content) {
				t.Errorf("%d bytes, %v", len(p), err)
			}
			must(t, s.RemoveCopies(t.Context(), id))
			if _, err := os.Stat(one.path); err != nil {
				t.Errorf("the file itself: %v", err)
			}
		})
	}
}

// Of a file that is not what its digest says no byte is served, and the mark stays: it was no fault of this disk.
func TestLinkOfABadFile(t *testing.T) {
	t.Parallel()
	one, c, _ := newForeign(t, 3*blobstore.ChunkSize, &faults{})
	var suspects atomic.Int64
	c.Suspect = func(blobstore.CopyID) { suspects.Add(1) }
	s := opened(t, c)
	one.blob.Digest = digest.FromString("another")
	must(t, one.link(t, s))
	if p, err := one.read(t.Context(), s); !errors.Is(err, blobstore.ErrCopyDamaged) || len(p) > 0 {
		t.Errorf("%d bytes, %v", len(p), err)
	}
	if suspects.Load() == 0 || len(unsummed(t, s)) != 1 {
		t.Errorf("%d suspects, marks %v", suspects.Load(), unsummed(t, s))
	}
	id := one.blob.Locations[0].Copy
	must(t, s.RemoveCopies(t.Context(), id))
	if s.IsUnsummed(id) {
		t.Error("the mark outlives its copy")
	}
}

// A crash leaves the mark with the copy, and a failure leaves neither. What nobody hashed is not served by another
// process either.
func TestLinkSurvivesAndFails(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"create", "syncdir"} {
		f := &faults{failAt: -1, only: step, err: os.ErrPermission}
		one, c, s := newForeign(t, 2*blobstore.ChunkSize, f)
		f.failAt = f.steps.Load() + 1
		if err := one.link(t, s); err == nil {
			t.Errorf("linked although %s fails", step)
		}
		f.failAt = -1
		for id, err := range s.Copies(t.Context(), blobstore.CopyID{}) {
			t.Errorf("%s fails: %s is left, %v", step, id, err)
		}
		must(t, one.link(t, s))
		must(t, s.Close())
		s = opened(t, c)
		if len(unsummed(t, s)) != 1 {
			t.Error("a restart forgets what is to be hashed")
		}
		if p, err := one.read(t.Context(), s); err != nil || !bytes.Equal(p, one.content) {
			t.Errorf("%d bytes, %v", len(p), err)
		}
	}
}

func TestLinkRefuses(t *testing.T) {
	t.Parallel()
	one, c, s := newForeign(t, 1000, &faults{})
	one.blob.Size++
	if err := one.link(t, s); !errors.Is(err, disk.ErrNotLinked) {
		t.Errorf("another size: %v", err)
	}
	d := foreign{path: c.Dir}
	if err := d.link(t, s); !errors.Is(err, disk.ErrNotLinked) {
		t.Errorf("a directory: %v", err)
	}
	other := foreign{path: "/proc/self/cmdline"} // on another file system than anything
	if err := other.link(t, s); !errors.Is(err, disk.ErrNotLinked) {
		t.Errorf("another file system: %v", err)
	}
	for id, err := range s.Copies(t.Context(), blobstore.CopyID{}) {
		t.Errorf("%s is left, %v", id, err)
	}
}
