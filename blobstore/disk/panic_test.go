package disk_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

// A panic at any sync, most of which goroutines beside the call wait for, ends that call alone, and says where it came
// from. The push can be made again.
func TestEachSyncPanics(t *testing.T) {
	t.Parallel()
	p := storetest.Bytes(1, syncEvery+1<<20) // one of them in the middle of an Append
	panicked := 0
	for at := int64(1); ; at++ {
		f := &faults{only: "sync", failAt: at, panics: true}
		s := open(t, newStore(t, f))
		var b blobstore.Blob
		err := blobstore.Contain(func() (err error) { // as who answers a request
			b, err = push(t, s, p, 0)
			return err
		})
		if err == nil && f.steps.Load() < at {
			break
		}
		if err != nil {
			panicked++
			if !errors.Is(err, blobstore.ErrPanic) || !strings.Contains(err.Error(), "faults_test.go") {
				t.Errorf("sync %d: %v", at, err)
			}
			b = again(t, s, p)
		}
		must(t, s.Verify(t.Context(), b, nil))
	}
	if panicked < 5 {
		t.Errorf("only %d syncs panicked", panicked)
	}
}

const syncEvery = 64 << 20
