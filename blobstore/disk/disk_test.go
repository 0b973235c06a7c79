package disk_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		faults := &faults{}
		c := newStore(t, faults)
		return storetest.Subject{
			Store:  open(t, c),
			Reopen: func(t *testing.T) blobstore.Store { return open(t, c) },
			Damage: func(t *testing.T, id blobstore.CopyID, offset int64) { flip(t, copyPath(c, id), offset) },
			Full:   func(_ *testing.T, full bool) { faults.full.Store(full) },
			Lose:   func(t *testing.T) { must(t, os.Remove(disk.MarkerPath(c.Dir))) },
		}
	})
}

func copyPath(c disk.Config, id blobstore.CopyID) string {
	return filepath.Join(c.Dir, "copies", id.String()[:2], id.String())
}
