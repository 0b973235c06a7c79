package disk

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// What follows are wishes to the kernel: whatever comes of them, only Sync makes bytes durable, and what is
// read is the file's.

// dropPages asks the kernel to forget what it has of a file in memory.
func dropPages(f File) {
	wish(f, func(fd int) error { return unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED) })
}

// startWriting asks the kernel to begin to write out a part of a file.
func startWriting(f File, offset, n int64) {
	wish(f, func(fd int) error { return unix.SyncFileRange(fd, offset, n, unix.SYNC_FILE_RANGE_WRITE) })
}

func wish(f File, call func(fd int) error) {
	c, ok := f.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = call(int(fd)) }) // a wish
}
