package disk

import (
	"context"

	"github.com/seed-16d79997/zot/blobstore"
)

// Usage is that of the file system which the store lies in. It returns blobstore.ErrOffline if the store
// is not there.
func (s *Store) Usage(ctx context.Context) (blobstore.Usage, error) {
	if err := s.Check(ctx); err != nil {
		return blobstore.Usage{}, err
	}
	total, free, err := s.files.Usage()
	return blobstore.Usage{Total: total, Free: free}, s.fault("usage", err)
}
