package powerfs

import "github.com/hanwen/go-fuse/v2/fuse"

// OpenDir opens a directory for reading.
func (f *FS) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.directory(in.NodeId) == nil {
		return fuse.EIO
	}
	f.lastID++
	out.Fh = f.lastID
	return fuse.OK
}

// ReadDir lists a directory as it was when the reading began, so that an offset means the same throughout.
func (f *FS) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir := f.directory(in.NodeId)
	if dir == nil {
		return fuse.EIO
	}
	if in.Offset == 0 {
		f.listings[in.Fh] = list(dir)
	}
	entries := f.listings[in.Fh]
	for _, e := range entries[min(in.Offset, uint64(len(entries))):] {
		if !out.AddDirEntry(e) {
			break
		}
	}
	return fuse.OK
}

func list(dir *node) []fuse.DirEntry {
	names := dir.Names()
	entries := make([]fuse.DirEntry, 0, len(names))
	for at, name := range names {
		i := dir.Lookup(name).Value
		// at is not negative
		entries = append(entries, fuse.DirEntry{Name: name, Ino: i.id, Mode: i.mode, Off: uint64(at) + 1})
	}
	return entries
}

// ReleaseDir closes a directory.
func (f *FS) ReleaseDir(in *fuse.ReleaseIn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.listings, in.Fh)
}
