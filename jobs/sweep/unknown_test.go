package sweep_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/sweep"
)

const (
	window = 10 * time.Minute // of a store whose gcDelay is an hour
	hold   = 3 * window
)

func TestUnknownCopyGoesAfterThreeWindows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := copyOf(w.write("bytes"))
	recorded := w.write("known")
	w.apply(recorded)
	w.run(unknown) // marks
	w.pass(hold - time.Second)
	w.run(unknown)
	w.expect(old, true, fsm.CopyUnknown)
	w.pass(time.Second)
	w.run(unknown)
	w.expect(old, false, fsm.CopyUnknown)
	w.expect(copyOf(recorded), true, fsm.CopyRecorded)
}

// The windows are the store's: with a short lease there is less to wait.
func TestUnknownCopyGoesByTheNumbersOfItsStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(fsm.SetStore{Name: fsm.DefaultStore, GCDelay: 4 * time.Minute, Replicas: 1, WriteAcks: 1})
	w.pass(2 * time.Hour) // the longer lease of before has passed
	old := copyOf(w.write("bytes"))
	w.run(unknown)
	w.pass(3*time.Minute - time.Second)
	w.run(unknown)
	w.expect(old, true, fsm.CopyUnknown)
	w.pass(time.Second)
	w.run(unknown)
	w.expect(old, false, fsm.CopyUnknown)
}

// A copy that came after the listing has a mark of its own, however old those of others are.
func TestYoungUnknownCopyStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := copyOf(w.write("old"))
	w.run(unknown)
	w.pass(hold - time.Second)
	young := copyOf(w.write("young"))
	w.pass(time.Second)
	w.run(unknown)
	w.expect(old, false, fsm.CopyUnknown)
	w.expect(young, true, fsm.CopyUnknown)
	w.pass(hold)
	w.run(unknown)
	w.expect(young, false, fsm.CopyUnknown)
}

func TestCopyThatIsRecordedMeanwhileStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	late := w.write("bytes")
	w.run(unknown)
	w.pass(window - 2*time.Second)
	w.apply(late)
	w.pass(3 * hold)
	w.run(unknown)
	w.expect(copyOf(late), true, fsm.CopyRecorded)
}

// What is doomed is the other job's, which confirms it.
func TestCopyThatIsDoomedMeanwhileIsNoUnknownOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.write("bytes")
	w.run(unknown)
	w.apply(old)
	w.apply(w.write("bytes"))
	w.pass(hold)
	w.run(unknown)
	w.expect(copyOf(old), true, fsm.CopyDoomed)
}

// GC R11, the race "age by the holder's own time": this node lags by an hour when it lists a copy that
// has just been written, and catches up in the round. By its own time before the round the copy would be
// an hour old.
func TestNodeThatLagsTakesNoNewCopyForAnOldOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	late := w.write("bytes")
	w.round = func() error { // all others have had these hours already
		w.pass(time.Hour)
		late.Stamp = w.now()
		return nil
	}
	w.run(unknown)
	w.round = nil
	w.run(unknown)
	w.apply(late)
	w.run(unknown)
	w.expect(copyOf(late), true, fsm.CopyRecorded)
}

// GC R11: the index is asked for after the listing. A copy that is listed after the round has a younger
// stamp than the mark would say.
func TestListingThatTakesLongMakesNoMarkOlder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var late fsm.BlobStored
	w.blobs.listing = func() {
		w.pass(hold)
		late = w.write("bytes") // in the very listing
	}
	w.run(unknown)
	w.blobs.listing = nil
	w.run(unknown)
	w.apply(late)
	w.run(unknown)
	w.expect(copyOf(late), true, fsm.CopyRecorded)
}

func TestNothingIsMarkedWithoutARound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := copyOf(w.write("bytes"))
	rounds, listings := 0, 0
	w.blobs.listing = func() { listings++ }
	w.round = func() error {
		if rounds++; rounds == 1 { // it ends while the copies are listed
			return nil
		}
		return errors.New("no quorum")
	}
	for range 3 {
		if err := w.all[unknown].Do(t.Context()); err == nil {
			t.Fatal("no error")
		}
		w.pass(hold)
	}
	w.expect(old, true, fsm.CopyUnknown)
	if listings != 1 {
		t.Errorf("listed %d times", listings)
	}
	w.round = nil
	w.run(unknown)
	w.expect(old, true, fsm.CopyUnknown)
}

// Marks need not survive a restart: they are made anew.
func TestMarksAreForgottenWithTheProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := copyOf(w.write("bytes"))
	w.run(unknown)
	w.pass(hold)
	w.restart()
	w.run(unknown)
	w.expect(old, true, fsm.CopyUnknown)
	w.pass(hold)
	w.run(unknown)
	w.expect(old, false, fsm.CopyUnknown)
}

// GC R13: of a store without its marker nothing is marked or removed; what was marked before stays so.
func TestOfflineStoreIsNotSwept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := copyOf(w.write("bytes"))
	w.run(unknown)
	w.pass(hold)
	w.blobs.setOffline(true)
	if err := w.all[unknown].Do(t.Context()); !errors.Is(err, blobstore.ErrOffline) {
		t.Fatalf("error %v", err)
	}
	w.expect(old, true, fsm.CopyUnknown)
	w.blobs.setOffline(false)
	w.run(unknown)
	w.expect(old, false, fsm.CopyUnknown)
}

// A file that the disk does not let go of is tried again with the next marks, and keeps no other.
func TestStuckUnknownCopyKeepsNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stuck, other := copyOf(w.write("stuck")), copyOf(w.write("other"))
	w.blobs.stuck[stuck] = true
	w.run(unknown)
	w.pass(hold)
	w.run(unknown)
	w.expect(stuck, true, fsm.CopyUnknown)
	w.expect(other, false, fsm.CopyUnknown)
	delete(w.blobs.stuck, stuck)
	w.pass(hold)
	w.run(unknown)
	w.expect(stuck, false, fsm.CopyUnknown)
}

// GC R11: after the restore of a backup, what was pushed since is unknown, and nothing of it goes for a
// week; neither do marks from before say anything.
func TestNothingUnknownGoesAfterARestore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	backup := w.backup()
	lost := w.write("pushed since the backup")
	w.apply(lost)
	marked := copyOf(w.write("marked before the restore"))
	w.run(unknown)
	w.restore(backup)
	for range 2 {
		w.pass(hold)
		w.run(unknown)
	}
	w.pass(7*24*time.Hour - 3*hold - time.Second)
	for range 2 {
		w.run(unknown)
		w.pass(hold / 2)
	}
	w.run(unknown)
	w.pass(time.Second)
	w.run(unknown) // the first marks
	w.expect(copyOf(lost), true, fsm.CopyUnknown)
	w.expect(marked, true, fsm.CopyUnknown)
	w.pass(hold)
	w.run(unknown)
	w.expect(copyOf(lost), false, fsm.CopyUnknown)
	w.expect(marked, false, fsm.CopyUnknown)
}

// The job may not have run for the whole week: the marks are from before the restore all the same.
func TestMarksFromBeforeARestoreAreForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	backup := w.backup()
	lost := copyOf(w.write("bytes"))
	w.run(unknown)
	w.restore(backup)
	w.pass(7*24*time.Hour + time.Second)
	w.run(unknown)
	w.expect(lost, true, fsm.CopyUnknown)
	w.pass(hold)
	w.run(unknown)
	w.expect(lost, false, fsm.CopyUnknown)
}

// heap is a store with so many unknown copies that they are not all marked, or looked at, at once.
type heap struct {
	*shelf
	ids      []blobstore.CopyID
	removing func() error // called before some are removed
}

// numbered is the n-th copy of a heap.
func numbered(n int) blobstore.CopyID {
	return blobstore.CopyID{0: byte(n >> 16), 1: byte(n >> 8), 2: byte(n), 15: 1}
}

// newHeap has n copies, and the job for them.
func newHeap(t *testing.T, n int) (*world, *heap, jobs.Job) {
	t.Helper()
	w := newWorld(t)
	h := &heap{shelf: w.blobs, removing: func() error { return nil }}
	for i := range n {
		h.ids = append(h.ids, numbered(i))
	}
	all, err := sweep.New(sweep.Deps{Store: fsm.DefaultStore, Blobs: h, State: w.state, Consistency: w, Proposer: w})
	if err != nil {
		t.Fatal(err)
	}
	return w, h, all[unknown]
}

func (h *heap) Copies(_ context.Context, after blobstore.CopyID) iter.Seq2[blobstore.CopyID, error] {
	return func(yield func(blobstore.CopyID, error) bool) {
		for _, id := range h.ids {
			if compare(id, after) > 0 && !yield(id, nil) {
				return
			}
		}
	}
}

func (h *heap) RemoveCopies(_ context.Context, ids ...blobstore.CopyID) error {
	if err := errors.Join(h.removing(), h.fault(ids...)); err != nil {
		return err
	}
	h.ids = slices.DeleteFunc(h.ids, func(id blobstore.CopyID) bool {
		_, gone := slices.BinarySearchFunc(ids, id, compare)
		return gone
	})
	return nil
}

func compare(a, b blobstore.CopyID) int { return bytes.Compare(a[:], b[:]) }

// What does not fit among the marks has its turn when they are dealt with, also if they are all stuck.
func TestMoreCopiesThanAreMarked(t *testing.T) {
	t.Parallel()
	const stuck = 66_000
	w, h, job := newHeap(t, stuck+1000)
	for i := range stuck {
		h.stuck[numbered(i)] = true
	}
	var left []int
	for range 3 {
		if err := job.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		left = append(left, len(h.ids))
		w.pass(hold)
	}
	if want := []int{stuck + 1000, stuck + 1000, stuck}; !slices.Equal(left, want) {
		t.Errorf("left after each run: %v, want %v", left, want)
	}
}

// A backup may be restored while marks are worked off: what is judged later is judged by the new state.
func TestRestoreStopsTheRemoval(t *testing.T) {
	t.Parallel()
	w, h, job := newHeap(t, 2500)
	if err := job.Do(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.pass(hold)
	backup, restored := w.backup(), false
	h.removing = func() error {
		if !restored {
			w.restore(backup)
			restored = true
		}
		return nil
	}
	if err := job.Do(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(h.ids) != 1500 {
		t.Errorf("%d copies are left, want those that were not yet being removed: 1500", len(h.ids))
	}
}
