package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/blobstore/replicated"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs/repair"
	"github.com/seed-16d79997/zot/jobs/scrub"
)

// localStore is what this node keeps copies and uploads of a store in: its disk, or the bucket of the cluster.
type localStore interface {
	replicated.Local
	Stat(ctx context.Context, id blobstore.CopyID) (blobstore.CopyInfo, error)
}

// linkable is a store into which files of this machine can be linked.
type linkable interface {
	scrub.Linked

	Link(ctx context.Context, f *os.File, size int64) (blobstore.Location, error)
}

var (
	_ linkable   = (*disk.Store)(nil)
	_ localStore = (*disk.Store)(nil)
	_ localStore = (*lateStore)(nil)
	_ localStore = bucketStore{}
)

// store is one of the stores that this node's configuration has.
type store struct {
	config.SubPath
	place    fsm.Place       // of its copies, as the configuration has it
	suspects *scrub.Suspects // copies that somebody took for bad
	linked   chan struct{}   // has something in it if copies were linked that are to be hashed
	local    localStore
	bucket   *bucketStore      // local, if that is one; else nil
	blobs    *replicated.Store // local, and those of other nodes
	away     *repair.Watch
	hints    *hints // of other clusters on the bucket; nil: there are none

	redirects atomic.Bool // clients are sent to the bucket for the bytes of blobs
	tells     atomic.Bool // other clusters are told of blobs
}

// stores are all of them, the default one first.
type stores []*store

var _ api.Stores = stores(nil)

// openStores opens this node's stores, or makes them. The caller closes them.
//
// It fails if one cannot be had, but for the disk of a sub-path that is missing: that is offline, and the others serve.
func openStores(ctx context.Context, s setting, h *home, state *fsm.State) (all stores, err error) {
	places := placesOf(s.config)
	err = state.View(func(v fsm.View) error {
		if err := places.placed(v); errors.Is(err, errElsewhere) {
			return err
		}
		return places.complete(v)
	})
	if err != nil {
		return nil, err
	}
	for _, c := range s.config.Storage.All() {
		one := &store{SubPath: c, place: placeOf(c.Store), suspects: scrub.NewSuspects(), linked: make(chan struct{}, 1)}
		if c.Bucket == nil {
			one.local, err = openDisk(h, c, one.suspects.Add, s.log)
		} else {
			var b bucketStore
			b, err = makeBucketStore(ctx, one, scratchOf(s.config, c), state, s.log)
			one.local, one.bucket = b, &b
			if err == nil {
				if one.hints, err = openHints(ctx, one, s.log); err != nil {
					err = errors.Join(err, b.Close())
				}
			}
		}
		if err != nil {
			return nil, errors.Join(err, all.Close())
		}
		all = append(all, one)
	}
	all.follow(s.config)
	return all, nil
}

// follow has the stores go by what a configuration says of them that may change.
func (all stores) follow(c config.Config) {
	for _, s := range all {
		b := c.Storage.Named(s.Name).Bucket
		s.redirects.Store(b != nil && b.Redirect)
		s.tells.Store(!c.HTTP.TLS.ClientMust)
	}
}

// scratchOf is where a store in a bucket keeps what is not there yet.
func scratchOf(c config.Config, s config.SubPath) string {
	if s.Name == fsm.DefaultStore {
		return filepath.Join(s.RootDirectory, "uploads")
	}
	return filepath.Join(cmp.Or(s.RootDirectory, c.Storage.RootDirectory), "uploads-"+url.PathEscape(s.Name))
}

// openDisk opens a store on a disk, which a node that never had it makes first.
//
// That it had it stands in the node's own directory, from after the marker was made until for ever: it is written before
// the store is used. So a directory without a marker is new only if nothing was ever there; else it is a disk that is not
// mounted, and the store is offline, never empty (GC R13). After a crash between the two the marker is there and is this
// node's.
func openDisk(h *home, s config.SubPath, suspect func(blobstore.CopyID), log hclog.Logger) (localStore, error) {
	d := disk.Config{Dir: s.RootDirectory, Incarnation: blobstore.Incarnation(h.Incarnation), Name: s.Name, Suspect: suspect}
	had, err := h.hasStore(s.Name)
	if err != nil {
		return nil, err
	}
	if !had {
		if err := disk.Create(d); err != nil {
			return nil, lostStore(fmt.Errorf("make the store: %w", err), s)
		}
		if err := h.noteStore(s.Name, s.RootDirectory); err != nil {
			return nil, err
		}
	}
	local, err := disk.Open(d)
	switch {
	case err == nil:
		return local, nil
	case errors.Is(err, blobstore.ErrOffline) && s.Name != fsm.DefaultStore:
		log.Error("the disk of a store is not there: it is offline until it is", "store", s.Name, "directory", s.RootDirectory,
			"how_to_go_on", "mount it; if it is lost for good, so is this node: 'zot cluster remove NODE --lost'", "error", err)
		return &lateStore{config: d}, nil
	}
	return nil, lostStore(fmt.Errorf("open the store: %w", err), s)
}

// lostStore adds to an error of a store's directory what a person can do about it.
func lostStore(err error, s config.SubPath) error {
	err = fmt.Errorf("store %s: %w", s.Name, err)
	if errors.Is(err, disk.ErrForeign) || errors.Is(err, disk.ErrNotEmpty) || errors.Is(err, disk.ErrMarker) {
		return fmt.Errorf("%w: see that %s (%s) is the directory that this node has had for this store; "+
			"if it is to be a new one, empty it or name another", err, s.RootDirectory, s.Key("rootDirectory"))
	}
	return err
}

// noteName is the file of the node's directory which says that the node has made a store.
func (h *home) noteName(store string) string {
	return filepath.Join(h.path, notePrefix+url.PathEscape(store))
}

const notePrefix = "store-"

// hasStore reports whether this node has ever made a store.
func (h *home) hasStore(store string) (bool, error) {
	_, err := os.Stat(h.noteName(store))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// noteStore notes, durably, that this node has made a store.
func (h *home) noteStore(store, dir string) error {
	if err := replaceFile(fsm.SystemFiles(), h.noteName(store), dir+"\n"); err != nil {
		return fmt.Errorf("note that store %s was made: %w", store, err)
	}
	return nil
}

// Close closes them. Nothing uses them any more.
func (all stores) Close() error {
	var err error
	for _, s := range all {
		err = errors.Join(err, s.local.Close())
	}
	return err
}

// named returns a store by its name; nil if there is none.
func (all stores) named(name string) *store {
	for _, s := range all {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Store returns a store by its name.
func (all stores) Store(name string) (api.Store, bool) {
	s := all.named(name)
	if s == nil {
		return api.Store{}, false
	}
	found := api.Store{Name: name, Blobs: s.blobs}
	if s.redirects.Load() {
		found.Elsewhere = s.bucket
	}
	if s.hints != nil {
		found.Hints = *s.hints
	}
	return found, true
}

// names are those of all.
func (all stores) names() (names []string) {
	for _, s := range all {
		names = append(names, s.Name)
	}
	return names
}

// Route is the sub-path with the most components that a repository is below, or the default store. One that is named as a
// sub-path is not below it: for zot that is a path alone.
func (all stores) Route(repository string) string {
	for path := "/" + repository; ; {
		end := strings.LastIndexByte(path, '/')
		if path = path[:end]; path == "" {
			return fsm.DefaultStore
		}
		if all.named(path) != nil {
			return path
		}
	}
}

// blobStores are the stores as other nodes ask for them.
func (all stores) blobStores() (blobs []*replicated.Store) {
	for _, s := range all {
		blobs = append(blobs, s.blobs)
	}
	return blobs
}
