// Package powerfs is a file system whose power can be cut: whole processes run on it, and afterwards a
// directory holds what a disk could hold at that moment.
//
// It is a FUSE file system over a backing directory. What programs write stays in memory until they fsync
// it; Cut throws dice over all the rest, by the rules of package disk. The next Mount of the same backing
// directory is the machine after its restart. The pages of the kernel are used as on any disk, so that a
// database may map its file and write to it beside the map, as bbolt does.
//
// A round of a test is Mount, start the processes, wait for the moment, Cut (or CutAll for several
// machines), kill the processes, Unmount, Mount. Mount needs root and /dev/fuse; Supported says whether a
// test has to be skipped. A round costs a millisecond beside the processes if the backing directory is in
// memory (crashfs.TempDir); nothing is synced to a real disk. Start reading at FS, then content (bytes) and disk.Tree (names).
//
// The process that serves a mount must not use it in ways that stop the Go scheduler, or it waits for
// itself: it must not map a file of the mount, and must not have one open, or a working directory there,
// while it starts another process. Reading and writing files is fine.
//
// Times and extended attributes are not kept: a file has the time of the mount after it, and modes and
// owners are durable at once.
package powerfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/seed-16d79997/zot/test/crash/disk"
)

// ErrOff is returned when the power of a file system was cut before.
var ErrOff = errors.New("power is off")

// objectsDir is where, in the backing directory, files lie that have no name on the disk yet. Programs do
// not see it. It is there only while the file system is mounted.
const objectsDir = ".powerfs"

type (
	tree = disk.Tree[*inode]
	node = disk.Node[*inode]
)

// FS is a mounted file system.
type FS struct {
	fuse.RawFileSystem // answers "not implemented" to what the methods here leave out

	backing    string
	mountpoint string
	seed       int64
	served     chan struct{} // closed when the last request is answered

	// mu is held over the I/O of an operation: a power cut needs one moment that each operation is before or
	// after. Once off is set, whoever has it looks at nothing below, so that the image is made without it.
	mu       sync.Mutex
	off      bool
	tree     *tree
	nodes    map[uint64]*node // by the number that the kernel knows
	lastID   uint64
	listings map[uint64][]fuse.DirEntry // of open directories, by handle
	loaded   []string                   // paths in the backing directory, parents first
	changes  uint64                     // changing operations since the mount
	failAt   uint64                     // the one before which the power fails; 0 is none
	failed   chan struct{}
	broken   error // the first error of the backing directory

	cutOnce  sync.Once
	loss     Loss
	imageErr error
}

// Mount shows the backing directory at the mount point. The seed decides what a power cut leaves.
//
// Both directories exist, and outlive the mount. While it lasts the backing directory is nobody else's; it
// holds the image only after Cut or Unmount. A dead mount at the mount point, left by a process that was
// killed, is taken away.
//
// The error is that of Supported, of reading the backing directory, or of mount(2).
func Mount(backing, mountpoint string, seed int64) (*FS, error) {
	if err := Supported(); err != nil {
		return nil, err
	}
	f := &FS{
		RawFileSystem: fuse.NewDefaultRawFileSystem(),
		seed:          seed,
		served:        make(chan struct{}),
		nodes:         map[uint64]*node{},
		listings:      map[uint64][]fuse.DirEntry{},
		failed:        make(chan struct{}),
	}
	var err error
	if f.backing, err = filepath.Abs(backing); err != nil {
		return nil, fmt.Errorf("mount %s: %w", backing, err)
	}
	if f.mountpoint, err = filepath.Abs(mountpoint); err != nil {
		return nil, fmt.Errorf("mount %s: %w", mountpoint, err)
	}
	if err := f.load(); err != nil {
		return nil, fmt.Errorf("mount %s: %w", backing, err)
	}
	if err := f.attach(); err != nil {
		return nil, errors.Join(fmt.Errorf("mount on %s: %w", mountpoint, err), os.RemoveAll(f.objects()))
	}
	return f, nil
}

// Dir returns the mount point.
func (f *FS) Dir() string { return f.mountpoint }

// Unmount takes the mount away. If the power is on it is a clean shutdown: everything that programs have
// written is in the backing directory, as after sync. Processes that still use the mount do not hold it up:
// they get errors from then on, and SIGBUS on pages of their maps that are not in memory.
//
// The error is that of umount(2), or of writing the backing directory.
func (f *FS) Unmount() error {
	if err := f.detach(); err != nil {
		return fmt.Errorf("unmount %s: %w", f.mountpoint, err)
	}
	policy := disk.KeepAll
	if wasOff := f.freeze(); wasOff {
		policy = disk.Arbitrary // the power failed by itself, if Cut has not made the image already
	}
	if _, err := f.image(policy); !errors.Is(err, ErrOff) {
		return err
	}
	return nil
}

// String names the file system in the table of mounts.
func (f *FS) String() string { return "powerfs" }

func (f *FS) objects() string { return filepath.Join(f.backing, objectsDir) }

// node returns a file or directory by the number that the kernel has, or nil, also when the power is off. The
// caller holds mu.
func (f *FS) node(id uint64) *node {
	if f.off {
		return nil
	}
	return f.nodes[id]
}

// change counts a changing operation, and says whether the power is still on. The caller holds mu.
func (f *FS) change() bool {
	f.changes++
	if f.changes == f.failAt {
		f.off = true
		close(f.failed)
	}
	return !f.off
}

// status turns an error of the backing directory into an answer, and keeps it for whoever cuts the power: a
// test must not take a full disk of its own for a fault of the program.
func (f *FS) status(err error) fuse.Status {
	if err == nil {
		return fuse.OK
	}
	if f.broken == nil {
		f.broken = err
	}
	return fuse.EIO
}
