package disk

import (
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// readSums returns the sums beside a copy. The error is a *blobstore.DamageError if they are not there, or
// not its own.
func (s *Store) readSums(id blobstore.CopyID, d digest.Digest, size int64) ([]uint32, error) {
	limit := sums.Limit(size)
	b, err := readFile(s.files, copyName(id)+sumsSuffix, limit)
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
