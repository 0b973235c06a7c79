package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
)

// CopyInfo is what the file system says of a copy.
type CopyInfo struct {
	Size int64
	// Written is when its last byte was, by the clock of the machine. It is for people: nothing is removed for
	// it (GC T1).
	Written time.Time
}

// Stat looks at the file of a copy of this store and reads none of it. Nobody is told of one that is gone: whoever
// asks may have asked for a copy that the state has doomed meanwhile.
//   - blobstore.ErrCopyUnknown if there is no such file, in a store with its marker
func (s *Store) Stat(ctx context.Context, id blobstore.CopyID) (CopyInfo, error) {
	if err := ctx.Err(); err != nil {
		return CopyInfo{}, err
	}
	doing := "look at copy " + id.String()
	f, err := s.files.OpenFile(copyName(id), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return CopyInfo{}, s.missing(doing, blobstore.ErrCopyUnknown)
	}
	if err != nil {
		return CopyInfo{}, s.fault(doing, err)
	}
	info, err := f.Stat()
	if err = errors.Join(err, f.Close()); err != nil {
		return CopyInfo{}, s.fault(doing, err)
	}
	return CopyInfo{Size: info.Size(), Written: info.ModTime()}, nil
}
