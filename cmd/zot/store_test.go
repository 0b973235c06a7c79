package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/blobstore/storetest"
	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
)

// Which store a repository begins in: the longest sub-path that it is below, in whole components.
func TestRoute(t *testing.T) {
	t.Parallel()
	var all stores
	for _, name := range []string{fsm.DefaultStore, "/a", "/a/b", "/team"} {
		all = append(all, &store{SubPath: config.SubPath{Name: name}})
	}
	for repository, want := range map[string]string{
		"a": fsm.DefaultStore, "a/b": "/a", "a/b/c": "/a/b", "a/b/c/d": "/a/b", "a/bc/d": "/a", "a/x": "/a", "ab/c": fsm.DefaultStore, "x/a/b": fsm.DefaultStore,
		"team": fsm.DefaultStore, "team/app": "/team", "teams/app": fsm.DefaultStore, "default/x": fsm.DefaultStore,
	} {
		if got := all.Route(repository); got != want {
			t.Errorf("%s begins in %s, want %s", repository, got, want)
		}
	}
	if _, known := all.Store("/b"); known {
		t.Error("it has a store that it does not have")
	}
}

// A node that begins to use a store may crash anywhere, and its disk may not be mounted at any start. That it had the
// store stands in its own directory; without a marker the store is made only where it never was.
func TestOpenDisk(t *testing.T) {
	t.Parallel()
	mine, other := blobstore.Incarnation{1}, blobstore.Incarnation{2}
	const name = "/a/b"
	made := func(t *testing.T, d disk.Config) {
		t.Helper()
		if err := disk.Create(d); err != nil {
			t.Fatal(err)
		}
	}
	marked := func(i blobstore.Incarnation, name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { t.Helper(); made(t, disk.Config{Dir: dir, Incarnation: i, Name: name}) }
	}
	nothing := func(*testing.T, string) {}
	for title, test := range map[string]struct {
		noted  bool
		store  string
		before func(t *testing.T, dir string)
		fails  error // nil: there is a store
		check  error // what it says of itself
	}{
		"the first start":                                 {false, name, nothing, nil, nil},
		"a crash after its directories":                   {false, name, func(t *testing.T, dir string) { t.Helper(); mkdir(t, filepath.Join(dir, "copies", "00")) }, nil, nil},
		"a crash after the marker":                        {false, name, marked(mine, name), nil, nil},
		"any other start":                                 {true, name, marked(mine, name), nil, nil},
		"not mounted":                                     {true, name, nothing, nil, blobstore.ErrOffline},
		"not mounted, and the directory is gone":          {true, name, func(t *testing.T, dir string) { t.Helper(); removeFile(t, dir) }, nil, blobstore.ErrOffline},
		"the default store without its marker":            {true, fsm.DefaultStore, nothing, blobstore.ErrOffline, nil},
		"the default store of a node that had a bucket":   {false, fsm.DefaultStore, nothing, nil, nil},
		"another node's":                                  {false, name, marked(other, name), disk.ErrForeign, nil},
		"another node's, mounted in its place":            {true, name, marked(other, name), disk.ErrForeign, nil},
		"another store of this node":                      {true, name, marked(mine, "/a"), disk.ErrForeign, nil},
		"files without a marker":                          {false, name, func(t *testing.T, dir string) { t.Helper(); blob(t, dir) }, disk.ErrNotEmpty, nil},
		"files without a marker, where there was a store": {true, name, func(t *testing.T, dir string) { t.Helper(); blob(t, dir) }, nil, blobstore.ErrOffline},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			h := &home{Directory: &cluster.Directory{Incarnation: entry.Incarnation(mine)}, path: t.TempDir()}
			s := config.SubPath{Name: test.store, Store: config.Store{RootDirectory: t.TempDir()}}
			test.before(t, s.RootDirectory)
			if test.noted {
				if err := h.noteStore(s.Name, s.RootDirectory); err != nil {
					t.Fatal(err)
				}
			}
			local, err := openDisk(h, s, nil, hclog.NewNullLogger())
			if !errors.Is(err, test.fails) {
				t.Fatalf("%v, want %v", err, test.fails)
			}
			if had, err := h.hasStore(s.Name); err != nil || had != (test.noted || test.fails == nil) {
				t.Errorf("noted that there was a store: %t, %v", had, err)
			}
			if test.fails != nil {
				if !strings.Contains(err.Error(), "store "+s.Name) || !errors.Is(err, blobstore.ErrOffline) && !strings.Contains(err.Error(), s.RootDirectory+" (") {
					t.Errorf("it does not say which, or what to do: %v", err)
				}
				return
			}
			defer local.Close() //nolint:errcheck // it is not used any more
			if err := local.Check(t.Context()); !errors.Is(err, test.check) {
				t.Errorf("the store says %v, want %v", err, test.check)
			}
			if _, err := os.Stat(disk.MarkerPath(s.RootDirectory)); (err == nil) != (test.check == nil) {
				t.Errorf("the marker: %v", err)
			}
			if test.check == nil {
				storetest.Store(t, local, "u", []byte("layer"))
			} else if err := local.CreateUpload(t.Context(), storetest.ID("u"), "", 1); !errors.Is(err, blobstore.ErrOffline) {
				t.Errorf("a store that is offline takes uploads: %v", err)
			}
		})
	}
}

func mkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
}

// blob makes a store with a blob in it that has lost its marker.
func blob(t *testing.T, dir string) {
	t.Helper()
	c := disk.Config{Dir: dir, Incarnation: blobstore.Incarnation{1}, Name: "/a/b"}
	if err := disk.Create(c); err != nil {
		t.Fatal(err)
	}
	s, err := disk.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	storetest.Store(t, s, "u", []byte("layer"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	removeFile(t, disk.MarkerPath(dir))
}

// A store whose disk comes late is as any other once it is there.
func TestLateStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		c := disk.Config{Dir: t.TempDir(), Incarnation: blobstore.Incarnation{1}, Name: "/a"}
		late := func(t *testing.T) blobstore.Store {
			t.Helper()
			l := &lateStore{config: c}
			t.Cleanup(func() { _ = l.Close() }) // it was closed in the test, or has nothing to say
			return l
		}
		first := late(t)
		if err := first.Check(t.Context()); !errors.Is(err, blobstore.ErrOffline) {
			t.Fatalf("before its disk is there: %v", err)
		}
		if err := disk.Create(c); err != nil {
			t.Fatal(err)
		}
		return storetest.Subject{
			Store: first, Reopen: late,
			Damage: func(t *testing.T, id blobstore.CopyID, offset int64) {
				t.Helper()
				flipByte(t, filepath.Join(c.Dir, "copies", id.String()[:2], id.String()), offset)
			},
			Lose: func(t *testing.T) { t.Helper(); removeFile(t, disk.MarkerPath(c.Dir)) },
		}
	})
}

func flipByte(t *testing.T, name string, offset int64) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[offset] ^= 1
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A node without a store that the cluster has copies in does not serve, and says what is missing.
func TestStoreThatIsMissing(t *testing.T) {
	t.Parallel()
	w := newBucketWorld(t)
	w.form()
	mine := places{fsm.DefaultStore: {}}
	complete := func() error { return w.View(mine.complete) }
	do(w, fsm.SetStore{Name: "/a", GCDelay: time.Hour, Replicas: 1, WriteAcks: 1})
	if err := complete(); err != nil {
		t.Errorf("a store with nothing in it: %v", err)
	}
	d, err := fsm.Pack(digest.FromString("layer"))
	if err != nil {
		t.Fatal(err)
	}
	do(w, fsm.BlobStored{Repository: "a/b", Store: "/a", Digest: d, Size: 5, Stamp: w.Position().Time, Locations: []fsm.Location{{Incarnation: entry.Incarnation{1}, Copy: fsm.CopyID{1}}}})
	for what, err := range map[string]error{"a start": complete(), "its health": self{w.State, entry.Incarnation{1}, mine}.Placed()} {
		if !errors.Is(err, errNoSubPath) || !strings.Contains(err.Error(), "storage.subPaths./a") || !strings.Contains(err.Error(), "cluster move") {
			t.Errorf("%s without the store of copies: %v", what, err)
		}
	}
	mine["/a"] = fsm.Place{}
	if err := errors.Join(complete(), self{w.State, entry.Incarnation{1}, mine}.Placed()); err != nil {
		t.Errorf("with the store: %v", err)
	}
	mine["/a"] = fsm.Place{Bucket: "b"}
	if err := w.View(mine.placed); !errors.Is(err, errElsewhere) || !strings.Contains(err.Error(), "storage.subPaths./a.storageDriver") {
		t.Errorf("with the store in a bucket: %v", err)
	}
}
