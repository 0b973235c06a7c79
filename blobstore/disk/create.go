package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/seed-16d79997/zot/blobstore"
)

// Create makes a directory the store of an incarnation, and the directory too if need be. If it is that
// already, nothing is done; one that a crash left half is gone on with. Only who knows that this node never
// had a store there may call it: a store that is missing is offline, not new.
//
// It returns a *ForeignError (is ErrForeign) if it is another incarnation's store or has another name, and ErrNotEmpty
// if it has blobs but no marker.
func Create(c Config) error {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("create store: %w", err)
	}
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return fmt.Errorf("create store: %w", err)
	}
	files := c.files(root)
	err = checkMarker(files, c.marker())
	if errors.Is(err, blobstore.ErrOffline) {
		err = begin(files, c.marker())
	}
	if err == nil {
		err = syncParents(c.Dir)
	}
	if err = errors.Join(err, root.Close()); err != nil {
		return fmt.Errorf("create store %s: %w", c.Dir, err)
	}
	return nil
}

// begin fills an empty directory. The marker is last and renamed into place: while it is not there, nobody
// takes what is there for a store.
func begin(files Files, m marker) error {
	dirs := []string{copiesDir, uploadsDir}
	for shard := range shards {
		dirs = append(dirs, shardName(shard))
	}
	for _, dir := range dirs {
		if err := files.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for _, dir := range dirs[1:] { // the first holds the others
		names, err := files.List(dir)
		if err != nil {
			return err
		}
		if len(names) > 0 {
			return fmt.Errorf("%w: %s/%s", ErrNotEmpty, dir, names[0])
		}
	}
	if err := files.SyncDir(copiesDir); err != nil {
		return err
	}
	if err := writeFile(files, markerName, m.encode(), true); err != nil {
		return err
	}
	return files.SyncDir(".")
}

// syncParents makes the name of the store's directory itself durable, and those of the directories above it, which may have
// been made with it: one that vanished with the power would take all copies along.
func syncParents(dir string) error {
	path, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for above := filepath.Dir(path); ; above = filepath.Dir(above) {
		err := syncDir(above)
		if errors.Is(err, fs.ErrPermission) {
			return nil // not ours, so it was there before us
		}
		if err != nil || above == filepath.Dir(above) {
			return err
		}
	}
}

func syncDir(path string) error {
	f, err := os.Open(path) //nolint:gosec // above the store
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) {
		err = nil // a file system that has no such thing, above the one that the store is on
	}
	return errors.Join(err, f.Close())
}

// Clear empties the store of an incarnation that the replicated state says is dropped (GC R19), so that
// Create can make it another's. The marker goes last: what was begun is found again. Nothing of a directory
// but what a store has there is touched; one without marker is left alone.
//
// It returns a *ForeignError (is ErrForeign) if it is another incarnation's store.
func Clear(c Config) error {
	root, err := os.OpenRoot(c.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("clear store: %w", err)
	}
	files := c.files(root)
	err = checkMarker(files, c.marker())
	switch {
	case errors.Is(err, blobstore.ErrOffline):
		err = nil
	case err == nil:
		err = empty(root, files)
	}
	if err = errors.Join(err, root.Close()); err != nil {
		return fmt.Errorf("clear store %s: %w", c.Dir, err)
	}
	return nil
}

func empty(root *os.Root, files Files) error {
	for _, dir := range []string{copiesDir, uploadsDir} {
		if err := root.RemoveAll(dir); err != nil {
			return err
		}
	}
	if err := files.SyncDir("."); err != nil {
		return err
	}
	if err := files.Remove(markerName); err != nil {
		return err
	}
	return files.SyncDir(".")
}
