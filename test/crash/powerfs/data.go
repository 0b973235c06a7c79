package powerfs

import (
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// openFlags keep the kernel's pages of a file over an open, which would else drop them under a map, and
// leave out a request at each close, for which there is nothing to do.
const openFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH

// regular returns a regular file, or nil.
func (f *FS) regular(id uint64) *inode {
	n := f.node(id)
	if n == nil || n.Value.content == nil {
		return nil
	}
	return n.Value
}

// Open opens a file.
func (f *FS) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.node(in.NodeId)
	if n == nil || n.Value.content == nil {
		return fuse.EIO
	}
	f.opened(n)
	out.OpenFlags = openFlags
	return fuse.OK
}

func (f *FS) opened(n *node) {
	if n.Value.opens == 0 {
		f.tree.Hold(n)
	}
	n.Value.opens++
}

// Release closes a file that no descriptor and no map leads to any more.
func (f *FS) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.node(in.NodeId)
	if n == nil || n.Value.opens == 0 {
		return
	}
	n.Value.opens--
	if n.Value.opens == 0 {
		f.status(n.Value.content.close())
		f.tree.Drop(n)
	}
}

// Read answers from what was written, synced or not.
func (f *FS) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.regular(in.NodeId)
	if i == nil {
		return nil, fuse.EIO
	}
	n, err := i.content.readAt(buf, int64(in.Offset)) // the kernel sends no negative offset
	if err != nil {
		return nil, f.status(err)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// Write keeps the data in memory until an fsync.
func (f *FS) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	return f.write(in, [][]byte{data})
}

// Writev is Write of data in pieces.
func (f *FS) Writev(_ <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	return f.write(in, data)
}

func (f *FS) write(in *fuse.WriteIn, data [][]byte) (written uint32, status fuse.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.regular(in.NodeId)
	if i == nil || !f.change() {
		return 0, fuse.EIO
	}
	i.changed = time.Now()
	for _, part := range data {
		// the kernel sends no negative offset
		if err := i.content.writeAt(part, int64(in.Offset)+int64(written)); err != nil {
			return written, f.status(err)
		}
		written += uint32(len(part)) // at most requestSize
	}
	return written, fuse.OK
}

// Fsync makes the content of a file durable, and nothing of its name.
func (f *FS) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.regular(in.NodeId)
	if i == nil || !f.change() {
		return fuse.EIO
	}
	return f.status(i.content.sync())
}

// Fallocate grows a file, or does nothing: there is always space.
func (f *FS) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.regular(in.NodeId)
	if i == nil || !f.change() {
		return fuse.EIO
	}
	switch in.Mode {
	case 0:
		if end := int64(in.Offset + in.Length); end > i.content.size { // checked by the kernel
			i.content.truncate(end)
		}
	case unix.FALLOC_FL_KEEP_SIZE:
	default:
		return fuse.Status(unix.EOPNOTSUPP)
	}
	return fuse.OK
}
