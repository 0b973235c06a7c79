package disk_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

// TestStat: what is said of a file is how long it is and when it was written. Nobody is told of one that is gone,
// and a store without its marker knows nothing of any.
func TestStat(t *testing.T) {
	t.Parallel()
	c := newStore(t, nil)
	c.Suspect = func(id blobstore.CopyID) { t.Errorf("copy %s is suspected", id) }
	s := open(t, c)
	b := storetest.Store(t, s, "u", storetest.Bytes(1, 3*blobstore.ChunkSize))
	id := b.Locations[0].Copy
	written := time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)
	must(t, os.Chtimes(copyPath(c, id), time.Time{}, written))
	info, err := s.Stat(t.Context(), id)
	must(t, err)
	if info.Size != b.Size || !info.Written.Equal(written) {
		t.Errorf("%d bytes of %s, want %d of %s", info.Size, info.Written, b.Size, written)
	}
	must(t, os.Truncate(copyPath(c, id), 7))
	if info, err = s.Stat(t.Context(), id); err != nil || info.Size != 7 {
		t.Errorf("cut to 7: %d bytes, %v", info.Size, err)
	}
	must(t, os.Remove(copyPath(c, id)))
	if _, err := s.Stat(t.Context(), id); !errors.Is(err, blobstore.ErrCopyUnknown) {
		t.Errorf("removed: %v", err)
	}
	must(t, os.Remove(disk.MarkerPath(c.Dir)))
	if _, err := s.Stat(t.Context(), id); !errors.Is(err, blobstore.ErrOffline) {
		t.Errorf("without a marker: %v", err)
	}
}
