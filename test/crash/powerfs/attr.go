package powerfs

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// GetAttr answers stat.
func (f *FS) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.node(in.NodeId)
	if n == nil {
		return fuse.EIO
	}
	return answer(n, out)
}

func answer(n *node, out *fuse.AttrOut) fuse.Status {
	out.SetTimeout(cacheFor)
	fill(&out.Attr, n)
	return fuse.OK
}

// SetAttr changes size, permissions, owner or time. The size is durable after an fsync.
func (f *FS) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.node(in.NodeId)
	if n == nil || !f.change() {
		return fuse.EIO
	}
	i := n.Value
	if size, ok := in.GetSize(); ok {
		if i.content == nil {
			return fuse.EINVAL
		}
		i.content.truncate(int64(size)) // the kernel sends no negative size
		i.changed = time.Now()
	}
	if mode, ok := in.GetMode(); ok {
		i.mode, i.unlike = i.mode&syscall.S_IFMT|mode, true
	}
	if uid, ok := in.GetUID(); ok {
		i.owner.Uid, i.unlike = uid, true
	}
	if gid, ok := in.GetGID(); ok {
		i.owner.Gid, i.unlike = gid, true
	}
	if t, ok := in.GetMTime(); ok {
		i.changed = t
	}
	return answer(n, out)
}

// StatFs answers with the space of the backing directory.
func (f *FS) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.off {
		return fuse.EIO
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(f.backing, &st); err != nil {
		return f.status(err)
	}
	out.FromStatfsT(&st)
	return fuse.OK
}
