package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/seed-16d79997/zot/blobstore"
)

// Stat looks at the file of a copy of this store and reads none of it. Nobody is told of one that is gone: whoever
// asks may have asked for a copy that the state has doomed meanwhile.
//   - blobstore.ErrCopyUnknown if there is no such file, in a store with its marker
func (s *Store) Stat(ctx context.Context, id blobstore.CopyID) (blobstore.CopyInfo, error) {
	if err := ctx.Err(); err != nil {
		return blobstore.CopyInfo{}, err
	}
	doing := "look at copy " + id.String()
	f, err := s.files.OpenFile(copyName(id), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return blobstore.CopyInfo{}, s.missing(doing, blobstore.ErrCopyUnknown)
	}
	if err != nil {
		return blobstore.CopyInfo{}, s.fault(doing, err)
	}
	info, err := f.Stat()
	if err = errors.Join(err, f.Close()); err != nil {
		return blobstore.CopyInfo{}, s.fault(doing, err)
	}
	return blobstore.CopyInfo{Size: info.Size(), Written: info.ModTime()}, nil
}
