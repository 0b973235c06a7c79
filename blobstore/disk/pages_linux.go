package disk

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// dropPages asks the kernel to forget what it has of a file in memory. It is a wish: whatever comes of it,
// the bytes that are read are the file's.
func dropPages(f File) {
	c, ok := f.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.Fadvise(int(fd), 0, 0, unix.FADV_DONTNEED) }) // a wish
}
