package powerfs

import (
	"os"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// namesHeld bounds how many changes of names wait for an fsync that may never come. Beyond it they are
// written out, as a journal does after a while.
const namesHeld = 1 << 13

// directory returns a directory, or nil.
func (f *FS) directory(id uint64) *node {
	n := f.node(id)
	if n == nil || !n.IsDir() {
		return nil
	}
	return n
}

// Lookup finds a name.
func (f *FS) Lookup(_ <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir := f.directory(in.NodeId)
	if dir == nil {
		return fuse.EIO
	}
	n := dir.Lookup(name)
	if n == nil {
		return fuse.ENOENT
	}
	f.entry(n, out)
	return fuse.OK
}

// link gives a node a new name.
func (f *FS) link(dirID uint64, name string, build func() (*node, error)) (*node, fuse.Status) {
	dir := f.directory(dirID)
	if dir == nil || !f.change() {
		return nil, fuse.EIO
	}
	if dir.Lookup(name) != nil || dirID == f.tree.Root().Value.id && name == objectsDir {
		return nil, fuse.Status(syscall.EEXIST)
	}
	n, err := build()
	if err != nil {
		return nil, f.status(err)
	}
	f.tree.Link(dir, name, n)
	f.touch(dir)
	return n, fuse.OK
}

// touch ends a change of names in a directory.
func (f *FS) touch(dir *node) {
	dir.Value.changed = time.Now()
	if f.tree.Pending() > namesHeld {
		f.tree.SyncAll()
	}
}

// Create makes a file and opens it. The name is durable after an fsync of the directory.
func (f *FS) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, status := f.link(in.NodeId, name, func() (*node, error) {
		i := f.create(in.Mode&^syscall.S_IFMT|syscall.S_IFREG, in.Owner)
		return f.add(f.tree.NewFile(i)), i.content.open()
	})
	if status != fuse.OK {
		return status
	}
	f.opened(n)
	out.OpenFlags = openFlags
	f.entry(n, &out.EntryOut)
	return fuse.OK
}

// Mkdir makes a directory. The name is durable after an fsync of the directory above.
func (f *FS) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, status := f.link(in.NodeId, name, func() (*node, error) {
		return f.add(f.tree.NewDir(f.create(in.Mode&^syscall.S_IFMT|syscall.S_IFDIR, in.Owner))), nil
	})
	if status == fuse.OK {
		f.entry(n, out)
	}
	return status
}

// Mknod makes a file, a socket or a pipe.
func (f *FS) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, status := f.link(in.NodeId, name, func() (*node, error) {
		i := f.create(in.Mode, in.Owner)
		return f.add(f.tree.NewFile(i)), unix.Mknod(i.object, in.Mode, 0)
	})
	if status == fuse.OK {
		f.entry(n, out)
	}
	return status
}

// Symlink makes a symbolic link.
func (f *FS) Symlink(_ <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, status := f.link(in.NodeId, name, func() (*node, error) {
		i := f.create(syscall.S_IFLNK|0o777, in.Owner)
		return f.add(f.tree.NewFile(i)), os.Symlink(target, i.object)
	})
	if status == fuse.OK {
		f.entry(n, out)
	}
	return status
}

// Readlink answers with the target of a symbolic link.
func (f *FS) Readlink(_ <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.node(in.NodeId)
	if n == nil {
		return nil, fuse.EIO
	}
	target, err := os.Readlink(n.Value.object)
	return []byte(target), f.status(err)
}

// Link gives a file one more name.
func (f *FS) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.node(in.Oldnodeid)
	if n == nil {
		return fuse.EIO
	}
	_, status := f.link(in.NodeId, name, func() (*node, error) { return n, nil })
	if status == fuse.OK {
		f.entry(n, out)
	}
	return status
}

// Unlink removes a name. What was open stays usable.
func (f *FS) Unlink(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return f.remove(in.NodeId, name, false)
}

// Rmdir removes an empty directory.
func (f *FS) Rmdir(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return f.remove(in.NodeId, name, true)
}

func (f *FS) remove(dirID uint64, name string, isDir bool) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir := f.directory(dirID)
	if dir == nil || !f.change() {
		return fuse.EIO
	}
	n := dir.Lookup(name)
	if n == nil {
		return fuse.ENOENT
	}
	if status := replaceable(n, isDir); status != fuse.OK {
		return status
	}
	f.tree.Unlink(dir, name)
	f.touch(dir)
	return fuse.OK
}

// replaceable says whether a name may be taken away from what has it, which may be nothing.
func replaceable(n *node, isDir bool) fuse.Status {
	switch {
	case n == nil:
		return fuse.OK
	case isDir && !n.IsDir():
		return fuse.ENOTDIR
	case !isDir && n.IsDir():
		return fuse.Status(syscall.EISDIR)
	case isDir && len(n.Names()) > 0:
		return fuse.Status(syscall.ENOTEMPTY)
	}
	return fuse.OK
}

// Rename moves a name, in one step also for a power cut. It is durable after an fsync of either directory.
func (f *FS) Rename(_ <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	from, to := f.directory(in.NodeId), f.directory(in.Newdir)
	if from == nil || to == nil || !f.change() {
		return fuse.EIO
	}
	if in.Flags&^unix.RENAME_NOREPLACE != 0 {
		return fuse.EINVAL
	}
	n, replaced := from.Lookup(oldName), to.Lookup(newName)
	switch {
	case n == nil:
		return fuse.ENOENT
	case replaced != nil && in.Flags&unix.RENAME_NOREPLACE != 0:
		return fuse.Status(syscall.EEXIST)
	case replaced == n:
		return fuse.OK
	}
	if status := replaceable(replaced, n.IsDir()); status != fuse.OK {
		return status
	}
	f.tree.Rename(from, oldName, to, newName)
	f.touch(from)
	f.touch(to)
	return fuse.OK
}

// FsyncDir makes the names in a directory durable.
func (f *FS) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir := f.directory(in.NodeId)
	if dir == nil || !f.change() {
		return fuse.EIO
	}
	f.tree.SyncDir(dir)
	return fuse.OK
}
