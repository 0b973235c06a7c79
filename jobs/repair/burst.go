package repair

import (
	"sync"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

// maxCounted is how far the blobs with too few copies are counted for the log.
const maxCounted = 1000

// burst is what one run did, for the log: a line when it begins to give blobs the copies that they lack, one
// when it has ended, none when there was nothing to do.
type burst struct {
	*repairer
	moves bool // blobs have as many copies as before: only the second line is of interest

	start sync.Once
	began time.Time // zero: not yet

	mu       sync.Mutex
	copies   int
	bytes    int64
	failures int
}

// begin says, the first time, that copies are about to be made.
func (b *burst) begin() {
	b.start.Do(func() {
		b.began = time.Now()
		if b.moves {
			return
		}
		below := 0
		_ = b.State.View(func(v fsm.View) error { // an error is the run's too, which says it
			for n, want := 1, b.roster(v).want; n < want; n++ {
				below += len(v.WithCopies(b.Store, n, "", maxCounted-below))
			}
			return nil
		})
		b.log.Info("repair begins", "store", b.Store, "blobs_below_replicas", below, "counted_to", maxCounted)
	})
}

// copied counts a copy that was recorded.
func (b *burst) copied(bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.copies++
	b.bytes += bytes
}

// fail counts a blob that got no copy. One line a run says why: what is wrong with many is mostly the same.
func (b *burst) fail(d fsm.Digest, err error) {
	b.mu.Lock()
	b.failures++
	first := b.failures == 1
	b.mu.Unlock()
	if first {
		message := "blob was not repaired and is tried again later"
		if b.moves {
			message = "copy was not moved and is tried again later"
		}
		b.log.Warn(message, "store", b.Store, "digest", d.String(), "error", err)
	}
}

// end says what became of the run, if it began anything. All that it began has ended.
func (b *burst) end() {
	if b.began.IsZero() {
		return
	}
	message := "repair ended"
	if b.moves {
		message = "copies moved"
	}
	b.log.Info(message, "store", b.Store, "copies", b.copies, "bytes", b.bytes, "failures", b.failures,
		"duration_seconds", time.Since(b.began).Seconds())
}
