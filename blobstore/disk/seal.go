package disk

import (
	"errors"
	"io/fs"
	"os"

	"github.com/seed-16d79997/zot/blobstore"
)

// openNew makes a file that must not be there: bytes are never written into one that has another name too.
const openNew = os.O_RDWR | os.O_CREATE | os.O_EXCL

// sealedMode is that of files that take no more bytes. Publish gives an upload's file a second name, and from
// then on a write to the upload would be one to an acknowledged copy. The mark is in the file itself, where
// the fsync that makes the bytes durable makes it durable too: no crash parts the two, and a resumed upload
// knows that it must not cut off anything.
const sealedMode = 0o400

// seal makes the bytes of an upload final and durable.
func (s *Store) seal(u *upload) error {
	if u.file == nil { // an empty blob has a file too
		f, err := s.files.OpenFile(uploadName(u.id), openNew)
		if err != nil {
			return s.fault("finish upload", err)
		}
		u.file = f
	}
	if err := u.file.Chmod(sealedMode); err != nil {
		return s.fault("finish upload", err)
	}
	u.sealed.Store(true)
	if info, err := u.file.Stat(); err != nil || info.Size() != u.tally.Size {
		return s.broken(u, errors.Join(err, errSize))
	}
	if err := u.file.Sync(); err != nil {
		return s.broken(u, err)
	}
	u.synced = u.tally.Size
	return nil
}

// onDisk says what the disk has of an upload that is not in memory.
func (s *Store) onDisk(id blobstore.UploadID) (size int64, sealed bool, err error) {
	f, err := s.files.OpenFile(uploadName(id), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, s.fault("open upload", checkMarker(s.files, s.marker))
	}
	if err != nil {
		return 0, false, s.fault("open upload", err)
	}
	size, sealed, err = inspect(f)
	return size, sealed, s.fault("open upload", errors.Join(err, f.Close()))
}

// inspect returns the size of an upload's file, and whether it is sealed.
func inspect(f File) (size int64, sealed bool, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, false, err
	}
	return info.Size(), info.Mode().Perm()&0o200 == 0, nil
}
