package powerfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// place is a path on the disk and what is there.
type place struct {
	path  string // below the backing directory
	inode *inode
}

func (p place) isDir() bool { return p.inode.mode&syscall.S_IFMT == syscall.S_IFDIR }

// placed lists what the disk has, parents before their children.
func (f *FS) placed() ([]place, error) {
	var all []place
	err := f.tree.Walk(func(path string, n *node) error {
		all = append(all, place{filepath.FromSlash(path), n.Value})
		return nil
	})
	return all, err
}

// arrange gives the backing directory the names that the disk has. What is in its place already, which is
// nearly everything, is left alone: the cost of a cut is that of what changed.
func (f *FS) arrange(paths []place) error {
	homes := homes(f.backing, paths)
	if err := f.fetchAway(homes); err != nil {
		return err
	}
	if err := f.clearOut(paths, homes); err != nil {
		return err
	}
	for _, p := range paths {
		if err := f.put(p, homes); err != nil {
			return err
		}
	}
	for _, n := range f.nodes {
		if n.Value.content != nil { // of those that have no name any more
			if err := n.Value.content.close(); err != nil {
				return err
			}
		}
	}
	return errors.Join(like(f.tree.Root().Value), os.RemoveAll(f.objects()))
}

// homes picks for each file the path that its object gets, the one where it lies if that is among them. The
// others become links to it.
func homes(backing string, paths []place) map[*inode]string {
	homes := map[*inode]string{}
	for _, p := range paths {
		if p.isDir() {
			continue
		}
		full := filepath.Join(backing, p.path)
		if _, ok := homes[p.inode]; !ok || p.inode.object == full {
			homes[p.inode] = full
		}
	}
	return homes
}

// fetchAway moves files that are to have another name out of the way of those that get theirs.
func (f *FS) fetchAway(homes map[*inode]string) error {
	for i, home := range homes {
		away := filepath.Join(f.objects(), strconv.FormatUint(i.id, 10))
		if i.object == home || i.object == away {
			continue
		}
		if err := os.Rename(i.object, away); err != nil {
			return err
		}
		i.object = away
	}
	return nil
}

// clearOut removes what the backing directory had at the mount and the disk no longer has, children first.
func (f *FS) clearOut(paths []place, homes map[*inode]string) error {
	stays := map[string]bool{}
	for _, p := range paths {
		full := filepath.Join(f.backing, p.path)
		switch {
		case p.isDir():
			info, err := os.Lstat(full)
			stays[full] = err == nil && info.IsDir()
		case homes[p.inode] == full:
			stays[full] = p.inode.object == full
		}
	}
	for _, path := range slices.Backward(f.loaded) {
		full := filepath.Join(f.backing, path)
		if stays[full] {
			continue
		}
		if err := os.Remove(full); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// put puts one path in its place.
func (f *FS) put(p place, homes map[*inode]string) error {
	full := filepath.Join(f.backing, p.path)
	if p.isDir() {
		if err := os.Mkdir(full, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return like(&inode{object: full, mode: p.inode.mode, owner: p.inode.owner, unlike: p.inode.unlike || p.inode.object != full})
	}
	home := homes[p.inode]
	if p.inode.object != home {
		if err := os.MkdirAll(filepath.Dir(home), 0o700); err != nil {
			return err
		}
		if err := os.Rename(p.inode.object, home); err != nil {
			return err
		}
		p.inode.object = home
	}
	if full != home {
		if err := os.Link(home, full); err != nil {
			return err
		}
	}
	return like(p.inode)
}

// like gives an object the permissions and the owner of its inode.
func like(i *inode) error {
	if !i.unlike {
		return nil
	}
	if err := os.Lchown(i.object, int(i.owner.Uid), int(i.owner.Gid)); err != nil {
		return err
	}
	if i.mode&syscall.S_IFMT == syscall.S_IFLNK {
		return nil
	}
	return syscall.Chmod(i.object, i.mode&0o7777)
}
