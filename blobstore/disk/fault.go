package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/seed-16d79997/zot/blobstore"
)

// fault says what an error of the file system means. A name that is missing proves nothing while the marker
// is missing too: the directory may be another one, or that of a mount which is gone (GC R13).
func (s *Store) fault(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrClosed):
		return fmt.Errorf("%s: %w", doing, blobstore.ErrClosed)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%s: %w: %w", doing, blobstore.ErrNoSpace, err)
	case isFault(err) && !errors.Is(err, blobstore.ErrOffline):
		if lost := checkMarker(s.files, s.marker); lost != nil && !errors.Is(lost, os.ErrClosed) {
			return fmt.Errorf("%s: %w: %w: %w", doing, blobstore.ErrOffline, err, lost)
		}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// missing is what a name that is not there means: nothing is known of it, or the store is offline.
func (s *Store) missing(doing string, unknown error) error {
	if err := checkMarker(s.files, s.marker); err != nil {
		return s.fault(doing, err)
	}
	return fmt.Errorf("%s: %w", doing, unknown)
}

// damaged is for what is wrong with a copy that is there. Errors that say nothing about the copy, such as too
// many open files, are not taken for damage: it would be given up for them.
func (s *Store) damaged(id blobstore.CopyID, chunk int64, cause error) error {
	if isFault(cause) && !isRot(cause) || errors.Is(cause, os.ErrClosed) {
		return s.fault("read copy", cause)
	}
	if err := checkMarker(s.files, s.marker); err != nil {
		return s.fault("read copy", errors.Join(err, cause))
	}
	if errors.Is(cause, io.EOF) {
		cause = errSize // whoever looks for io.EOF must not take this for a regular end
	}
	s.suspect(id)
	return &blobstore.DamageError{Copy: id, Chunk: chunk, Cause: cause}
}

// isRot reports whether an error says that something which was written is not to be had: sectors that cannot
// be read, check sums of the file system that do not match, a file that is gone.
func isRot(err error) bool {
	for _, number := range append(rotNumbers(), syscall.EIO, syscall.ENOENT) {
		if errors.Is(err, number) {
			return true
		}
	}
	return false
}

// isFault tells errors of the operating system from those of this package.
func isFault(err error) bool {
	var number syscall.Errno
	return errors.As(err, &number)
}
