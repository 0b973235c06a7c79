package disk

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Adopt gives an open file a name. It goes by what is open, and not by a name that may lead elsewhere by now.
func (f systemFiles) Adopt(file *os.File, name string) error {
	dir, err := f.Open(path.Dir(name))
	if err != nil {
		return err
	}
	open := filepath.Join("/proc/self/fd", fmt.Sprint(file.Fd()))
	err = unix.Linkat(unix.AT_FDCWD, open, int(dir.Fd()), path.Base(name), unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		err = &os.LinkError{Op: "link", Old: file.Name(), New: name, Err: err}
	}
	return errors.Join(err, dir.Close())
}
