package disk_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/blobstore/storetest"
	"github.com/seed-16d79997/zot/test/crash/crashfs"
	diskmodel "github.com/seed-16d79997/zot/test/crash/disk"
	"github.com/seed-16d79997/zot/test/crash/powerfs"
)

// crashStride is how many steps lie between two at which the power is cut. With 1 the test takes minutes under
// the race detector.
var crashStride = flag.Uint64("crash-stride", 5, "steps between two power cuts") //nolint:gochecknoglobals // a flag of the test binary

// machine is a disk whose power fails.
type machine struct {
	backing, mount string
	fs             *powerfs.FS
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	if err := powerfs.Supported(); err != nil {
		t.Skip(err)
	}
	m := &machine{backing: crashfs.TempDir(t), mount: t.TempDir()}
	t.Cleanup(func() {
		if m.fs != nil {
			_ = m.fs.Unmount() // the test has failed
		}
	})
	return m
}

func (m *machine) boot(t *testing.T, seed int64) disk.Config {
	t.Helper()
	fs, err := powerfs.Mount(m.backing, m.mount, seed)
	must(t, err)
	m.fs = fs
	return disk.Config{Dir: filepath.Join(m.mount, "store"), Incarnation: blobstore.Incarnation{1}, Files: roomy}
}

func (m *machine) cut(t *testing.T, policy diskmodel.Policy) {
	t.Helper()
	_, err := m.fs.CutWith(policy)
	must(t, err)
	m.unmount(t)
}

func (m *machine) unmount(t *testing.T) {
	t.Helper()
	must(t, m.fs.Unmount())
	m.fs = nil
}

// story is what a process does with a store, until it is done or the power fails. What was acknowledged up
// to then is in acked.
type story struct {
	blobs [][]byte
	acked []blobstore.Blob
}

func newStory() *story {
	return &story{blobs: [][]byte{
		storetest.Bytes(1, 3000),
		storetest.Bytes(2, 2*blobstore.ChunkSize+9),
		nil,
		storetest.Bytes(3, 1<<20+5), // one that survives a restart half way
	}}
}

func (s *story) tell(t *testing.T, c disk.Config) (err error) {
	store, err := disk.Open(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	for i, p := range s.blobs {
		id := storetest.ID(fmt.Sprint(i))
		if err := store.CreateUpload(t.Context(), id, "", 1); err != nil {
			return err
		}
		for _, part := range [][]byte{p[:len(p)/3], p[len(p)/3:]} {
			if _, err := store.Append(t.Context(), id, -1, bytes.NewReader(part), 1); err != nil {
				return err
			}
		}
		for range 2 { // a PUT that is repeated
			if err := s.publish(t, store, id, p); err != nil {
				return err
			}
		}
		if err := store.EndUpload(t.Context(), id, 2); err != nil {
			return err
		}
	}
	return store.RemoveUpload(t.Context(), storetest.ID("0"))
}

func (s *story) publish(t *testing.T, store *disk.Store, id blobstore.UploadID, p []byte) error {
	n, err := store.Finish(t.Context(), id, digest.FromBytes(p))
	if err != nil {
		return err
	}
	at, err := store.Publish(t.Context(), id)
	if err == nil {
		s.acked = append(s.acked, blobstore.Blob{Digest: digest.FromBytes(p), Size: n, Locations: at})
	}
	return err
}

// check looks at what the disk has after the crash.
func (s *story) check(t *testing.T, c disk.Config) {
	t.Helper()
	store, err := disk.Open(c)
	must(t, err)
	defer func() { must(t, store.Close()) }()
	for _, b := range s.acked {
		r, err := store.Open(t.Context(), b, 0, -1) // first, for Verify mends sums
		must(t, err)
		_, err = io.Copy(io.Discard, r)
		must(t, errors.Join(err, r.Close()))
		must(t, store.Verify(t.Context(), b, nil))
	}
	whole := map[digest.Digest]bool{}
	for _, p := range s.blobs {
		whole[digest.FromBytes(p)] = true
	}
	for id, err := range store.Copies(t.Context(), blobstore.CopyID{}) {
		must(t, err)
		p, err := os.ReadFile(copyPath(c, id))
		if err == nil && !whole[digest.FromBytes(p)] {
			t.Errorf("copy %s has %d bytes of no blob", id, len(p))
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	}
	s.goOn(t, store)
}

// goOn brings every upload to its end, from whatever the crash has left of it.
func (s *story) goOn(t *testing.T, store *disk.Store) {
	t.Helper()
	for i, p := range s.blobs {
		id := storetest.ID(fmt.Sprint(i))
		up, err := store.Upload(t.Context(), id)
		if errors.Is(err, blobstore.ErrUploadEnded) {
			must(t, store.RemoveUpload(t.Context(), id))
		}
		if err != nil {
			must(t, store.CreateUpload(t.Context(), id, "", 3))
		}
		_, err = store.Append(t.Context(), id, up.Offset, bytes.NewReader(p[up.Offset:]), 3)
		if at := new(blobstore.OffsetError); errors.As(err, &at) {
			_, err = store.Append(t.Context(), id, at.Offset, bytes.NewReader(p[at.Offset:]), 3)
		}
		if !errors.Is(err, blobstore.ErrUploadFinished) {
			must(t, err)
		}
		_, err = store.Finish(t.Context(), id, digest.FromBytes(p))
		if errors.Is(err, blobstore.ErrDigestMismatch) && up.Finished {
			must(t, store.RemoveUpload(t.Context(), id)) // the power failed within Finish
			continue
		}
		must(t, err)
		at, err := store.Publish(t.Context(), id)
		must(t, err)
		must(t, store.Verify(t.Context(), blobstore.Blob{Digest: digest.FromBytes(p), Size: int64(len(p)), Locations: at}, nil))
	}
}

// TestCrashAtEveryStep cuts the power at each change that the store makes to the disk. What Publish has
// acknowledged is whole, nothing else can be taken for a copy, and uploads go on.
func TestCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	template := t.TempDir()
	must(t, disk.Create(disk.Config{Dir: filepath.Join(template, "store"), Incarnation: blobstore.Incarnation{1}}))
	died, acked := 0, 0
	for at := uint64(1); ; at += *crashStride {
		must(t, os.RemoveAll(filepath.Join(m.backing, "store")))
		must(t, os.CopyFS(m.backing, os.DirFS(template)))
		c := m.boot(t, int64(at))
		m.fs.FailAfter(at)
		s := newStory()
		err := s.tell(t, c)
		m.cut(t, diskmodel.Arbitrary)
		c = m.boot(t, 0)
		s.check(t, c)
		m.unmount(t)
		acked += len(s.acked)
		if err == nil {
			break
		}
		if died++; t.Failed() {
			t.Fatalf("after a power cut at step %d", at)
		}
	}
	t.Logf("%d steps, %d acknowledged copies", died, acked)
	if died < 100/int(*crashStride) || acked < died {
		t.Errorf("%d crashes with %d acknowledged copies in all: this tests nothing", died, acked)
	}
}

// TestCrashWhileCreating: a store is there or is not, and Create goes on with what is left.
func TestCrashWhileCreating(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	for at := uint64(1); ; at += 1 + at/4 {
		must(t, os.RemoveAll(filepath.Join(m.backing, "store")))
		c := m.boot(t, int64(at))
		m.fs.FailAfter(at)
		died := disk.Create(c)
		m.cut(t, diskmodel.Arbitrary)
		c = m.boot(t, 0)
		s, err := disk.Open(c)
		switch {
		case err == nil:
			must(t, s.Close())
		case died == nil, !errors.Is(err, blobstore.ErrOffline):
			t.Fatalf("after a power cut at step %d: %v, and the store opens with %v", at, died, err)
		}
		must(t, disk.Create(c))
		must(t, (&story{blobs: newStory().blobs}).tell(t, c))
		m.unmount(t)
		if died == nil {
			return
		}
	}
}

// TestCrashInALongUpload: of an upload that is under way, what came after the last sync is lost, no more.
func TestCrashInALongUpload(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	c := m.boot(t, 1)
	must(t, disk.Create(c))
	store, err := disk.Open(c)
	must(t, err)
	const size = 130 << 20
	p := storetest.Bytes(1, size)
	id := storetest.ID("u")
	must(t, store.CreateUpload(t.Context(), id, "", 1))
	// The power fails while the last bytes are awaited; the syncs before have ended when they are asked for.
	cut := errors.New("power is off")
	tail := readerFunc(func([]byte) (int, error) { return 0, cut })
	_, err = store.Append(t.Context(), id, 0, io.MultiReader(bytes.NewReader(p), tail), 1)
	if !errors.Is(err, cut) {
		t.Fatal(err)
	}
	m.cut(t, diskmodel.LoseAll)
	_ = store.Close() // its disk is gone
	c = m.boot(t, 2)
	store, err = disk.Open(c)
	must(t, err)
	up, err := store.Upload(t.Context(), id)
	must(t, err)
	if up.Offset != 128<<20 {
		t.Errorf("%d bytes of %d are left, not those of both syncs", up.Offset, size)
	}
	s := &story{blobs: [][]byte{p}}
	_, err = store.Append(t.Context(), id, up.Offset, bytes.NewReader(p[up.Offset:]), 1)
	must(t, err)
	must(t, s.publish(t, store, id, p))
	must(t, store.Verify(t.Context(), s.acked[0], nil))
	must(t, store.Close())
	m.unmount(t)
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
