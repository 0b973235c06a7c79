//go:build unix

package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// usage asks the file system that f lies in; free is what others than root may take.
func usage(f *os.File) (total, free int64, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var st unix.Statfs_t
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.Fstatfs(int(fd), &st) })
	if err == nil {
		err = failed
	}
	if err != nil {
		return 0, 0, os.NewSyscallError("fstatfs", err)
	}
	size := int64(st.Bsize)                                      //nolint:unconvert // has another type on other systems
	return int64(st.Blocks) * size, int64(st.Bavail) * size, nil //nolint:gosec // blocks of a disk fit
}
