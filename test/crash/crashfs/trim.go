package crashfs

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Trim cuts off the hole at the end of a file, if there is one. bbolt lets its files grow by 16 MiB at once
// and does not miss what it has not written yet; with that, a crash point costs ten times as much.
//
// The error is one of the file.
func Trim(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("trim: %w", err)
	}
	end, err := endOfData(f)
	if err == nil {
		err = f.Truncate(end)
	}
	return errors.Join(err, f.Close())
}

// endOfData is where the last hole of a file begins. Where the file system knows no holes it is the size.
func endOfData(f *os.File) (end int64, err error) {
	for {
		data, err := f.Seek(end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // nothing follows
			return end, nil
		}
		if err != nil {
			return 0, err
		}
		if end, err = f.Seek(data, unix.SEEK_HOLE); err != nil {
			return 0, err
		}
	}
}
