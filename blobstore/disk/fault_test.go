package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

// TestEachStepFails lets each call to the disk fail once. Whatever was acknowledged is whole, the store goes
// on, and the blob can be pushed: by going on with the upload, or anew.
func TestEachStepFails(t *testing.T) {
	t.Parallel()
	p := storetest.Bytes(1, 1<<20+77)
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		failed := 0
		for at := int64(1); ; at++ {
			f := &faults{failAt: at, err: cause}
			c := newStore(t, f)
			s := open(t, c)
			b, err := push(t, s, p, 0)
			if err == nil && f.steps.Load() < at {
				break
			}
			if err != nil {
				failed++
				what(t, at, err, cause)
				b = again(t, s, p)
			}
			must(t, s.Verify(t.Context(), b, nil))
			for id, err := range s.Copies(t.Context(), blobstore.CopyID{}) {
				must(t, err)
				if have, err := os.ReadFile(copyPath(c, id)); err == nil && !bytes.Equal(have, p) {
					t.Errorf("step %d: a copy is not whole", at)
				}
			}
		}
		if failed < 10 {
			t.Errorf("%v: only %d steps failed", cause, failed)
		}
	}
}

// what judges the error of a push whose step failed.
func what(t *testing.T, at int64, err, cause error) {
	t.Helper()
	if !errors.Is(err, cause) {
		t.Errorf("step %d: %v does not tell its cause", at, err)
	}
	if errors.Is(err, blobstore.ErrNoSpace) != errors.Is(cause, syscall.ENOSPC) {
		t.Errorf("step %d: %v", at, err)
	}
	if errors.Is(err, blobstore.ErrOffline) {
		t.Errorf("step %d: the marker is there: %v", at, err)
	}
}

func push(t *testing.T, s blobstore.Store, p []byte, offset int64) (blobstore.Blob, error) {
	t.Helper()
	id, d := storetest.ID("u"), digest.FromBytes(p)
	b := blobstore.Blob{Digest: d, Size: int64(len(p))}
	if offset == 0 {
		if err := s.CreateUpload(t.Context(), id, "", 1); err != nil {
			return b, err
		}
	}
	for _, n := range []int64{int64(len(p)) / 2, int64(len(p))} {
		if n <= offset {
			continue
		}
		end, err := s.Append(t.Context(), id, offset, bytes.NewReader(p[offset:n]), 1)
		if err != nil && !errors.Is(err, blobstore.ErrUploadFinished) {
			return b, err
		}
		offset = end
	}
	if _, err := s.Finish(t.Context(), id, d); err != nil {
		return b, err
	}
	at, err := s.Publish(t.Context(), id)
	b.Locations = at
	return b, err
}

// again does what a client does after a push that failed.
func again(t *testing.T, s blobstore.Store, p []byte) blobstore.Blob {
	t.Helper()
	up, err := s.Upload(t.Context(), storetest.ID("u"))
	if err != nil && !errors.Is(err, blobstore.ErrUploadUnknown) {
		t.Fatal(err)
	}
	if err == nil && up.Offset == 0 {
		must(t, s.RemoveUpload(t.Context(), up.ID))
	}
	b, err := push(t, s, p, up.Offset)
	must(t, err)
	return b
}

// TestFailedSyncLosesTheUpload: the kernel may drop pages that it could not write and call them clean, so
// that a second fsync succeeds over bytes that are not on the disk.
func TestFailedSyncLosesTheUpload(t *testing.T) {
	t.Parallel()
	f := &faults{only: "sync", failAt: 1, err: syscall.EIO}
	s := open(t, newStore(t, f))
	_, err := push(t, s, []byte("short"), 0)
	if !errors.Is(err, blobstore.ErrUploadBroken) {
		t.Fatalf("the first sync failed: %v", err)
	}
	if _, err := s.Upload(t.Context(), storetest.ID("u")); !errors.Is(err, blobstore.ErrUploadUnknown) {
		t.Errorf("the upload goes on: %v", err)
	}
	if _, err := push(t, s, []byte("short"), 0); err != nil {
		t.Error(err)
	}
}

// TestErrorsOfReading tells damage, for which a copy is given up, from what says nothing about the copy.
func TestErrorsOfReading(t *testing.T) {
	t.Parallel()
	for cause, want := range map[syscall.Errno]error{
		syscall.EIO:    blobstore.ErrCopyDamaged,
		syscall.EMFILE: syscall.EMFILE,
		syscall.ENOMEM: syscall.ENOMEM,
	} {
		f := &faults{only: "read"}
		s := open(t, newStore(t, f))
		b := storetest.Store(t, s, "u", storetest.Bytes(1, 3*blobstore.ChunkSize))
		f.err, f.failAt = cause, f.steps.Load()+1
		err := s.Verify(t.Context(), b, nil)
		if !errors.Is(err, want) || !errors.Is(err, cause) || errors.Is(err, blobstore.ErrCopyDamaged) != errors.Is(want, blobstore.ErrCopyDamaged) {
			t.Errorf("verify after %v: %v", cause, err)
		}
		r, err := s.Open(t.Context(), b, 0, -1)
		must(t, err)
		f.failAt = f.steps.Load() + 2
		n, err := r.WriteTo(&bytes.Buffer{})
		if !errors.Is(err, want) || n != blobstore.ChunkSize {
			t.Errorf("%d bytes, and after %v: %v", n, cause, err)
		}
		if _, again := r.Read(make([]byte, 1)); again == nil {
			t.Error("the stream goes on after its error")
		}
		must(t, r.Close())
	}
}

// TestReadOfALostStore: an error is no damage if the marker is gone too.
func TestReadOfALostStore(t *testing.T) {
	t.Parallel()
	f := &faults{only: "read", err: syscall.EIO}
	c := newStore(t, f)
	s := open(t, c)
	b := storetest.Store(t, s, "u", storetest.Bytes(1, 3*blobstore.ChunkSize))
	r, err := s.Open(t.Context(), b, 0, -1)
	must(t, err)
	must(t, os.Remove(disk.MarkerPath(c.Dir)))
	f.failAt = f.steps.Load() + 1
	_, err = r.Read(make([]byte, 1))
	if !errors.Is(err, blobstore.ErrOffline) || errors.Is(err, blobstore.ErrCopyDamaged) {
		t.Error(err)
	}
	must(t, r.Close())
}

// TestWithoutHardLinks: where a file system has none, Publish copies.
func TestWithoutHardLinks(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 100, 2*blobstore.ChunkSize + 1} {
		f := &faults{}
		f.noLinks.Store(true)
		c := newStore(t, f)
		s := open(t, c)
		p := storetest.Bytes(n, n)
		b, err := push(t, s, p, 0)
		must(t, err)
		must(t, s.RemoveUpload(t.Context(), storetest.ID("u")))
		must(t, s.Verify(t.Context(), b, nil))
		entries, err := os.ReadDir(filepath.Dir(copyPath(c, b.Locations[0].Copy)))
		must(t, err)
		if want := 1 + min(1, n/blobstore.ChunkSize); len(entries) != want {
			t.Errorf("%d files of a copy of %d bytes, want %d", len(entries), n, want)
		}
	}
}

// TestSumsAreMended: a copy whose sums rotted is not read, and not given up either.
func TestSumsAreMended(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(path string) error{
		"gone":      os.Remove,
		"empty":     func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"cut short": func(path string) error { return os.Truncate(path, 40) },
		"flipped":   func(path string) error { flip(t, path, 60); return nil },
	} {
		c := newStore(t, nil)
		s := open(t, c)
		b := storetest.Store(t, s, "u", storetest.Bytes(1, 3*blobstore.ChunkSize))
		sums := copyPath(c, b.Locations[0].Copy) + ".sums"
		must(t, spoil(sums))
		if _, err := s.Open(t.Context(), b, 0, 1); !errors.Is(err, blobstore.ErrCopyDamaged) {
			t.Errorf("%s: opened with %v", name, err)
		}
		if err := s.Verify(t.Context(), b, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		r, err := s.Open(t.Context(), b, 0, -1)
		must(t, err)
		if n, err := r.WriteTo(&bytes.Buffer{}); n != b.Size || err != nil {
			t.Errorf("%s: %d bytes and %v after they were mended", name, n, err)
		}
		must(t, r.Close())
	}
}

// TestSumsOfAnotherCopy: sums are taken for no copy but their own, however their file came there.
func TestSumsOfAnotherCopy(t *testing.T) {
	t.Parallel()
	c := newStore(t, nil)
	s := open(t, c)
	p := storetest.Bytes(1, 3*blobstore.ChunkSize)
	a, b := storetest.Store(t, s, "a", p), storetest.Store(t, s, "b", p)
	must(t, os.Rename(copyPath(c, a.Locations[0].Copy)+".sums", copyPath(c, b.Locations[0].Copy)+".sums"))
	if _, err := s.Open(t.Context(), b, 0, -1); !errors.Is(err, blobstore.ErrCopyDamaged) {
		t.Error(err)
	}
}

// TestRemainsAreListed: what a crash leaves of copies and uploads is found by who sweeps, and can be removed.
func TestRemainsAreListed(t *testing.T) {
	t.Parallel()
	c := newStore(t, nil)
	s := open(t, c)
	id := blobstore.CopyID{0xab, 1}
	for _, suffix := range []string{".sums", ".new", ".sums.new"} {
		must(t, os.WriteFile(copyPath(c, id)+suffix, []byte("remains"), 0o600))
	}
	must(t, os.WriteFile(filepath.Join(c.Dir, "copies", "ab", "lost+found"), nil, 0o600))
	for found, err := range s.Copies(t.Context(), blobstore.CopyID{}) {
		must(t, err)
		if found != id {
			t.Errorf("found %s", found)
		}
		must(t, s.RemoveCopies(t.Context(), found))
	}
	up := storetest.ID("u")
	path := filepath.Join(c.Dir, "uploads", up.String())
	for _, suffix := range []string{"", ".sums", ".sums.new", ".state", ".state.new"} {
		must(t, os.WriteFile(path+suffix, []byte("remains"), 0o600))
	}
	for found, err := range s.Uploads(t.Context(), blobstore.UploadID{}) {
		must(t, err)
		if found != (blobstore.Upload{ID: up}) {
			t.Errorf("found %v", found)
		}
		must(t, s.RemoveUpload(t.Context(), found.ID))
	}
	if left, err := filepath.Glob(filepath.Join(c.Dir, "*", "*")); err != nil || len(left) != 256 {
		t.Errorf("left are %d names, %v", len(left), err)
	}
	if left, err := filepath.Glob(filepath.Join(c.Dir, "*", "*", "*")); err != nil || len(left) != 1 {
		t.Errorf("left are %q, %v", left, err)
	}
}

// TestManySilentUploads: uploads beyond what memory holds go on from the disk, also small ones.
func TestManySilentUploads(t *testing.T) {
	t.Parallel()
	s := open(t, newStore(t, nil))
	const many = 600
	for i := range many {
		id := storetest.ID(fmt.Sprint(i))
		must(t, s.CreateUpload(t.Context(), id, "", 1))
		_, err := s.Append(t.Context(), id, 0, strings.NewReader("first "), 1)
		must(t, err)
	}
	for i := range many {
		id := storetest.ID(fmt.Sprint(i))
		_, err := s.Append(t.Context(), id, 6, strings.NewReader("second"), 1)
		must(t, err)
		_, err = s.Finish(t.Context(), id, digest.FromString("first second"))
		must(t, err)
	}
	if n := s.InMemory(); n != many {
		t.Errorf("%d uploads in memory: a Finish was forgotten", n)
	}
	for i := range many {
		_, err := s.Publish(t.Context(), storetest.ID(fmt.Sprint(i)))
		must(t, err)
	}
	if n := s.InMemory(); n > 400 {
		t.Errorf("%d uploads are in memory", n)
	}
}

// TestStartDoesNotGrowWithTheStore: opening lists nothing.
func TestStartDoesNotGrowWithTheStore(t *testing.T) {
	t.Parallel()
	c := newStore(t, nil)
	c.Files = func(root *os.Root) disk.Files { return noList{disk.SystemFiles(root), t} }
	open(t, c)
}

type noList struct {
	disk.Files
	t *testing.T
}

func (n noList) List(dir string) ([]string, error) {
	n.t.Errorf("%s was listed", dir)
	return n.Files.List(dir)
}
