package disk

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// errUnsummed is for a copy that was linked and whose sums are yet to be made.
var errUnsummed = errors.New("copy has no sums yet")

// readSums returns the sums beside a copy. The error is a *blobstore.DamageError if they are not there, or
// not its own, and errUnsummed if they are yet to be made.
func (s *Store) readSums(id blobstore.CopyID, d digest.Digest, size int64) ([]uint32, error) {
	limit := sums.Limit(size)
	b, err := readFile(s.files, copyName(id)+sumsSuffix, limit)
	if errors.Is(err, fs.ErrNotExist) && s.IsUnsummed(id) {
		return nil, errUnsummed
	}
	if err != nil {
		return nil, s.damaged(id, blobstore.WholeCopy, fmt.Errorf("read sums: %w", err))
	}
	c, err := sums.Decode(b)
	if err == nil && (c.Copy != id || c.Digest != d || c.Size != size) {
		err = fmt.Errorf("%w: they are of %s of copy %s", sums.ErrRecord, c.Digest, c.Copy)
	}
	if err != nil {
		return nil, s.damaged(id, blobstore.WholeCopy, fmt.Errorf("sums: %w", err))
	}
	return c.Sums, nil
}
