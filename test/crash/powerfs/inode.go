package powerfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/seed-16d79997/zot/test/crash/disk"
)

// cacheFor is how long the kernel may keep names and attributes: only its own operations change them, and it
// knows what those do.
const cacheFor = time.Hour

// inode is what there is to know about a file or directory beside its names.
type inode struct {
	id      uint64
	mode    uint32 // kind and permissions
	owner   fuse.Owner
	rdev    uint32
	changed time.Time // also the time of its content
	content *content  // of a regular file

	// object is its path in the backing directory; a new directory has none before the image is made.
	object string
	// unlike says that object does not have mode and owner.
	unlike bool

	lookups uint64 // what the kernel still knows it by
	opens   int
}

// load reads the backing directory.
func (f *FS) load() error {
	info, err := os.Stat(f.backing)
	if err != nil {
		return err
	}
	if err := os.Mkdir(f.objects(), 0o700); err != nil {
		return fmt.Errorf("left by a mount that ended without an image: %w", err)
	}
	f.tree = disk.New(f.newInode(f.backing, info), f.freed)
	f.nodes[f.tree.Root().Value.id] = f.tree.Root() // number 1, as FUSE wants it
	if err := f.loadDir(f.tree.Root(), "", map[uint64]*node{}); err != nil {
		_ = os.Remove(f.objects()) // the error of reading says more
		return err
	}
	return nil
}

func (f *FS) loadDir(dir *node, at string, linked map[uint64]*node) error {
	entries, err := os.ReadDir(filepath.Join(f.backing, at))
	if err != nil {
		return err
	}
	for _, e := range entries {
		below := filepath.Join(at, e.Name())
		if below == objectsDir {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		n := f.loadNode(filepath.Join(f.backing, below), info, linked)
		f.tree.Load(dir, e.Name(), n)
		f.loaded = append(f.loaded, below)
		if n.IsDir() {
			if err := f.loadDir(n, below, linked); err != nil {
				return err
			}
		}
	}
	return nil
}

// loadNode returns the node of a path; one file with several names has one node.
func (f *FS) loadNode(object string, info os.FileInfo, linked map[uint64]*node) *node {
	if info.IsDir() {
		return f.add(f.tree.NewDir(f.newInode(object, info)))
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && st.Nlink > 1 {
		if n := linked[st.Ino]; n != nil {
			return n
		}
	}
	n := f.add(f.tree.NewFile(f.newInode(object, info)))
	if ok {
		linked[st.Ino] = n
	}
	return n
}

func (f *FS) newInode(object string, info os.FileInfo) *inode {
	f.lastID++
	i := &inode{id: f.lastID, object: object, changed: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		// device numbers of FUSE have 32 bits
		i.mode, i.owner, i.rdev = st.Mode, fuse.Owner{Uid: st.Uid, Gid: st.Gid}, uint32(st.Rdev)
	}
	if info.Mode().IsRegular() {
		i.content = newContent(object, info.Size())
	}
	return i
}

// create makes an inode for something new.
func (f *FS) create(mode uint32, owner fuse.Owner) *inode {
	f.lastID++
	i := &inode{id: f.lastID, mode: mode, owner: owner, changed: time.Now(), unlike: true}
	if mode&syscall.S_IFMT != syscall.S_IFDIR {
		i.object = filepath.Join(f.objects(), strconv.FormatUint(i.id, 10))
	}
	if mode&syscall.S_IFMT == syscall.S_IFREG {
		i.content = newContent(i.object, 0)
	}
	return i
}

func (f *FS) add(n *node) *node {
	f.nodes[n.Value.id] = n
	return n
}

// freed removes what neither programs nor the disk have any more.
func (f *FS) freed(i *inode) {
	delete(f.nodes, i.id)
	if i.content != nil {
		f.status(i.content.close())
	}
	// A directory stays until the image: files with other names by now may still lie in it.
	if i.object != "" && i.mode&syscall.S_IFMT != syscall.S_IFDIR {
		if err := os.Remove(i.object); !os.IsNotExist(err) {
			f.status(err)
		}
	}
}

// entry answers with a node, which the kernel knows from then on.
func (f *FS) entry(n *node, out *fuse.EntryOut) {
	i := n.Value
	if i.lookups == 0 {
		f.tree.Hold(n)
	}
	i.lookups++
	out.NodeId = i.id
	out.SetEntryTimeout(cacheFor)
	out.SetAttrTimeout(cacheFor)
	fill(&out.Attr, n)
}

// Forget ends what entry began, count times.
func (f *FS) Forget(id, count uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.node(id)
	if n == nil || n.Value.lookups == 0 {
		return
	}
	n.Value.lookups -= min(count, n.Value.lookups)
	if n.Value.lookups == 0 {
		f.tree.Drop(n)
	}
}

func fill(a *fuse.Attr, n *node) {
	i := n.Value
	a.Ino = i.id
	a.Mode = i.mode
	a.Owner = i.owner
	a.Rdev = i.rdev
	a.Blksize = pageSize
	a.Nlink = 1
	if !n.IsDir() {
		a.Nlink = uint32(n.Links()) // a count of names
	}
	if i.content != nil {
		a.Size = uint64(i.content.size)
		a.Blocks = (a.Size + disk.SectorSize - 1) / disk.SectorSize
	}
	a.SetTimes(&i.changed, &i.changed, &i.changed)
}
