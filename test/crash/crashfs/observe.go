package crashfs

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// load takes a real directory into the tree as durable.
func (f *FS) load(dir *node, at string) error {
	entries, err := os.ReadDir(at)
	if err != nil {
		return err
	}
	for _, e := range entries {
		below := filepath.Join(at, e.Name())
		if e.IsDir() {
			n := f.tree.NewDir(&object{})
			f.tree.Load(dir, e.Name(), n)
			err = f.load(n, below)
		} else {
			n := f.tree.NewFile(&object{})
			f.tree.Load(dir, e.Name(), n)
			n.Value.synced, err = os.ReadFile(below)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// directory returns a directory of the tree, after it has noticed what others did to it.
func (f *FS) directory(at string) (*node, error) {
	dir := f.tree.Root()
	if at != "." {
		n, err := f.node(at)
		if err != nil {
			return nil, err
		}
		dir = n
	}
	if !dir.IsDir() {
		return nil, fmt.Errorf("crashfs: %s is not a directory", at)
	}
	return dir, f.notice(dir, f.path(at))
}

// parent returns the directory that a path lies in, and its name there.
func (f *FS) parent(at string) (dir *node, base string, err error) {
	dir, err = f.directory(path.Dir(at))
	return dir, path.Base(at), err
}

// node returns what a path leads to. The error is fs.ErrNotExist if that is nothing.
func (f *FS) node(at string) (*node, error) {
	dir, base, err := f.parent(at)
	if err != nil {
		return nil, err
	}
	n := dir.Lookup(base)
	if n == nil {
		return nil, fmt.Errorf("crashfs: %s: %w", at, fs.ErrNotExist)
	}
	return n, nil
}

// notice records as un-synced changes what others did to the names of a directory. Something of another
// kind under a known name is another thing.
func (f *FS) notice(dir *node, at string) error {
	entries, err := os.ReadDir(at)
	if err != nil {
		return err
	}
	found := make(map[string]bool, len(entries))
	for _, e := range entries {
		found[e.Name()] = true
		known := dir.Lookup(e.Name())
		if known != nil && known.IsDir() == e.IsDir() {
			continue
		}
		n := f.tree.NewFile(&object{})
		if e.IsDir() {
			n = f.tree.NewDir(&object{})
		}
		f.tree.Link(dir, e.Name(), n)
	}
	for _, name := range dir.Names() {
		if !found[name] {
			f.tree.Unlink(dir, name)
		}
	}
	return nil
}

// noticeAll does so for a directory and everything below it, and calls fn with every file.
func (f *FS) noticeAll(dir *node, at string, fn func(n *node, at string)) error {
	if err := f.notice(dir, f.path(at)); err != nil {
		return err
	}
	for _, name := range dir.Names() {
		n, below := dir.Lookup(name), path.Join(at, name)
		if !n.IsDir() {
			fn(n, below)
			continue
		}
		if err := f.noticeAll(n, below, fn); err != nil {
			return err
		}
	}
	return nil
}

// keepLast remembers the content of a file that is about to lose its name: the disk may still have the name
// after the power cut. A file that cannot be read has none to keep.
func (f *FS) keepLast(n *node, at string) {
	if n == nil || n.IsDir() {
		return
	}
	if content, err := os.ReadFile(f.path(at)); err == nil {
		n.Value.last = content
	}
}
