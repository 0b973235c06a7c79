package disk_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

// TestWhoseStoreItIs: a directory is opened by the incarnation whose marker it has, and by nobody else. What
// is missing is offline, never empty.
func TestWhoseStoreItIs(t *testing.T) {
	t.Parallel()
	mine, other := blobstore.Incarnation{1}, blobstore.Incarnation{2}
	for name, c := range map[string]struct {
		found        func(t *testing.T, dir string)
		open, create error
	}{
		"no directory": {func(t *testing.T, dir string) { t.Helper(); must(t, os.RemoveAll(dir)) }, blobstore.ErrOffline, nil},
		"an empty one": {func(*testing.T, string) {}, blobstore.ErrOffline, nil},
		"my own store": {func(t *testing.T, dir string) {
			t.Helper()
			must(t, disk.Create(disk.Config{Dir: dir, Incarnation: mine}))
		}, nil, nil},
		"another's": {func(t *testing.T, dir string) {
			t.Helper()
			must(t, disk.Create(disk.Config{Dir: dir, Incarnation: other}))
		}, disk.ErrForeign, disk.ErrForeign},
		"another of mine": {func(t *testing.T, dir string) {
			t.Helper()
			must(t, disk.Create(disk.Config{Dir: dir, Incarnation: mine, Name: "/a"}))
		}, disk.ErrForeign, disk.ErrForeign},
		"a rotten one":   {func(t *testing.T, dir string) { t.Helper(); rotten(t, dir, mine) }, disk.ErrMarker, disk.ErrMarker},
		"a lost marker":  {func(t *testing.T, dir string) { t.Helper(); markerless(t, dir, mine) }, blobstore.ErrOffline, disk.ErrNotEmpty},
		"other business": {func(t *testing.T, dir string) { t.Helper(); must(t, os.Mkdir(filepath.Join(dir, "node"), 0o700)) }, blobstore.ErrOffline, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c.found(t, dir)
			own := disk.Config{Dir: dir, Incarnation: mine, Files: roomy}
			s, err := disk.Open(own)
			same(t, "open", err, c.open)
			if err == nil {
				must(t, s.Close())
			}
			err = disk.Create(own)
			same(t, "create", err, c.create)
			if err != nil {
				return
			}
			found, err := disk.ReadMarker(dir)
			must(t, err)
			if found != mine {
				t.Errorf("the marker is %s's", found)
			}
			storetest.Store(t, open(t, own), "u", []byte("x"))
		})
	}
}

func same(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func rotten(t *testing.T, dir string, i blobstore.Incarnation) {
	t.Helper()
	must(t, disk.Create(disk.Config{Dir: dir, Incarnation: i, Files: roomy}))
	b, err := os.ReadFile(disk.MarkerPath(dir))
	must(t, err)
	b[len(b)-20] ^= 1
	must(t, os.WriteFile(disk.MarkerPath(dir), b, 0o600))
}

func markerless(t *testing.T, dir string, i blobstore.Incarnation) {
	t.Helper()
	c := disk.Config{Dir: dir, Incarnation: i, Files: roomy}
	must(t, disk.Create(c))
	storetest.Store(t, open(t, c), "u", []byte("x"))
	must(t, os.Remove(disk.MarkerPath(dir)))
}

// TestForeignMarkerSaysWhose: the operator is told which node's disk it is.
func TestForeignMarkerSaysWhose(t *testing.T) {
	t.Parallel()
	c := newStore(t, nil)
	c.Incarnation = blobstore.Incarnation{9}
	_, err := disk.Open(c)
	if foreign := new(disk.ForeignError); !errors.As(err, &foreign) || foreign.Found != (blobstore.Incarnation{1}) || foreign.Want != c.Incarnation {
		t.Error(err)
	}
	if _, err := disk.ReadMarker(t.TempDir()); !errors.Is(err, blobstore.ErrOffline) {
		t.Error(err)
	}
}

// TestClear empties the store of an incarnation that is gone, and leaves what is not a store's.
func TestClear(t *testing.T) {
	t.Parallel()
	c := newStore(t, nil)
	storetest.Store(t, open(t, c), "u", []byte("x"))
	must(t, os.Mkdir(filepath.Join(c.Dir, "node"), 0o700))
	next := c
	next.Incarnation = blobstore.Incarnation{2}
	if err := disk.Clear(next); !errors.Is(err, disk.ErrForeign) {
		t.Fatalf("another's store was cleared: %v", err)
	}
	must(t, disk.Clear(c))
	must(t, disk.Clear(c))
	must(t, disk.Create(next))
	for id, err := range open(t, next).Copies(t.Context(), blobstore.CopyID{}) {
		t.Errorf("%s is left, %v", id, err)
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "node")); err != nil {
		t.Error(err)
	}
	c.Dir = filepath.Join(c.Dir, "nowhere")
	must(t, disk.Clear(c))
}

// TestNothingIsRemovedWithoutMarker (GC R13).
func TestNothingIsRemovedWithoutMarker(t *testing.T) {
	t.Parallel()
	c := newStore(t, nil)
	s := open(t, c)
	b := storetest.Store(t, s, "u", []byte("x"))
	_, err := push(t, s, []byte("y"), 0)
	must(t, err)
	must(t, os.Remove(disk.MarkerPath(c.Dir)))
	same(t, "remove", s.RemoveCopies(t.Context(), b.Locations[0].Copy), blobstore.ErrOffline)
	same(t, "remove upload", s.RemoveUpload(t.Context(), storetest.ID("u")), blobstore.ErrOffline)
	for _, path := range []string{copyPath(c, b.Locations[0].Copy), uploadPath(c, storetest.ID("u"))} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

// TestDirectoryTakenAway: the handle stays on the directory that had the marker; one that comes in its place
// is never taken for the store.
func TestDirectoryTakenAway(t *testing.T) {
	t.Parallel()
	c := newStore(t, nil)
	c.Dir = filepath.Join(c.Dir, "mount")
	must(t, disk.Create(c))
	s := open(t, c)
	p := storetest.Bytes(1, 2*blobstore.ChunkSize)
	b := storetest.Store(t, s, "u", p)
	away := c.Dir + ".away"
	must(t, os.Rename(c.Dir, away))
	must(t, disk.Create(c)) // an empty store of the same incarnation
	must(t, s.Verify(t.Context(), b, nil))
	must(t, s.RemoveCopies(t.Context(), storetest.Store(t, s, "v", p).Locations[0].Copy))
	must(t, os.RemoveAll(away))
	if err := s.Verify(t.Context(), b, nil); !errors.Is(err, blobstore.ErrOffline) {
		t.Errorf("a store that was deleted: %v", err)
	}
	if err := s.RemoveCopies(t.Context(), b.Locations[0].Copy); !errors.Is(err, blobstore.ErrOffline) {
		t.Errorf("a store that was deleted confirms a removal: %v", err)
	}
}
