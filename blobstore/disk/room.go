package disk

import (
	"fmt"

	"github.com/seed-16d79997/zot/blobstore"
)

// room fails with blobstore.ErrNoSpace if the disk is so full that what is left belongs to the node's log and
// state: without these it could not even delete. It asks the disk each time, so a store that was full takes
// uploads again as soon as there is room.
func (s *Store) room() error {
	total, free, err := s.files.Usage()
	if err != nil {
		return s.fault("ask for room", err)
	}
	if u := (blobstore.Usage{Total: total, Free: free}); u.Full() {
		return fmt.Errorf("%w: its disk is used to %d %%, and uploads are taken below %d %%: make room there; pulls and deletes go on",
			blobstore.ErrNoSpace, u.Percent(), blobstore.FullFrom)
	}
	return nil
}
