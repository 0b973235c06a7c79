package disk_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

// TestRotThatTheFileSystemFound: file systems with check sums of their own answer with these.
func TestRotThatTheFileSystemFound(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{syscall.EUCLEAN, syscall.EBADMSG, syscall.ENODATA} {
		f := &faults{only: "read", err: cause}
		s := open(t, newStore(t, f))
		b := storetest.Store(t, s, "u", storetest.Bytes(1, 2*blobstore.ChunkSize))
		f.failAt = f.steps.Load() + 1
		if err := s.Verify(t.Context(), b, nil); !errors.Is(err, blobstore.ErrCopyDamaged) {
			t.Errorf("%v: %v", cause, err)
		}
	}
}
