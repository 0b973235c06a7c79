package powerfs

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// requestSize is the largest read or write that the kernel sends.
const requestSize = 128 << 10

// Supported says whether this process can mount, and if not why: it is not root, or there is no /dev/fuse.
func Supported() error {
	if os.Geteuid() != 0 {
		return errors.New("powerfs needs root to mount")
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("powerfs needs /dev/fuse: %w", err)
	}
	return unix.Close(fd)
}

// attach mounts and starts to serve; detach waits for the end of it.
//
// It calls mount(2) itself, so that no fusermount is needed, and so that children do not inherit the
// connection: with a copy of it in a child, requests would wait for ever after this process was killed, and
// so would whoever made them.
func (f *FS) attach() error {
	var st unix.Stat_t
	if err := unix.Stat(f.mountpoint, &st); errors.Is(err, unix.ENOTCONN) {
		if err := unix.Unmount(f.mountpoint, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("take away a dead mount: %w", err)
		}
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/fuse: %w", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,max_read=%d,allow_other,default_permissions", fd, requestSize)
	if err := unix.Mount("powerfs", f.mountpoint, "fuse.powerfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	server, err := fuse.NewServer(f, fmt.Sprintf("/dev/fd/%d", fd), &fuse.MountOptions{
		MaxWrite: requestSize,
		// All changes come through this mount, so the kernel's pages are right by themselves. Without this it
		// would drop them at every change of a file's time, and a mapped database would be read again and again.
		ExplicitDataCacheControl: true,
		DisableReadDirPlus:       true,
		DisableXAttrs:            true,
		// Answers that nobody waits for any more are usual when processes are killed.
		Logger: log.New(io.Discard, "", 0),
		// A fault of this package must end the test, not look like a fault of the disk.
		PanicHandler: func(v any) fuse.Status { panic(v) },
	})
	if err != nil {
		return errors.Join(err, unix.Unmount(f.mountpoint, unix.MNT_FORCE|unix.MNT_DETACH))
	}
	go func() { // detach waits for it
		defer close(f.served)
		server.Serve()
	}()
	if err := refusePolling(f.mountpoint); err != nil {
		return errors.Join(err, f.detach())
	}
	return nil
}

// refusePolling makes the kernel ask once whether files can be polled. If the first to ask were a file that
// this process opens, the Go scheduler would wait for an answer that it has to give itself.
func refusePolling(mountpoint string) error {
	fd, err := unix.Open(filepath.Join(mountpoint, ".go-fuse-epoll-hack"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return errors.Join(err, unix.Close(fd))
}

// detach takes the mount away and waits until the last request is answered.
func (f *FS) detach() error {
	err := unix.Unmount(f.mountpoint, 0)
	if errors.Is(err, unix.EBUSY) {
		if err := f.writeBack(); err != nil {
			return err
		}
		// The force breaks the connection off, so that the wait ends although files are open; alone it would
		// leave the mount, and the next one would be stacked on top of it.
		err = unix.Unmount(f.mountpoint, unix.MNT_FORCE|unix.MNT_DETACH)
	}
	if err != nil {
		return err
	}
	<-f.served
	return nil
}

// writeBack has the kernel send what processes changed through maps, as it does before it unmounts. It syncs
// the open files one by one: syncfs does not wait for the pages of a FUSE file system.
func (f *FS) writeBack() error {
	f.mu.Lock()
	var open []string
	if !f.off {
		f.failAt = 0 // the power does not fail any more: what follows is not the program's doing
		open = openFiles(f.tree.Root(), f.mountpoint, nil)
	}
	f.mu.Unlock()
	for _, path := range open {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOENT) {
			continue // removed since, so that nothing of it is to be kept
		}
		if err != nil {
			return err
		}
		if err := errors.Join(unix.Fsync(fd), unix.Close(fd)); err != nil {
			return err
		}
	}
	return nil
}

// openFiles appends the paths of the files below a directory that processes have open or mapped.
func openFiles(dir *node, path string, found []string) []string {
	for _, name := range dir.Names() {
		n, below := dir.Lookup(name), filepath.Join(path, name)
		if n.IsDir() {
			found = openFiles(n, below, found)
		} else if n.Value.opens > 0 {
			found = append(found, below)
		}
	}
	return found
}
