package sweep_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

func TestDoomedCopiesAreRemovedAndThenConfirmed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.doom("bytes")
	confirmed := 0
	w.proposed = func([]byte) error {
		confirmed++
		if w.blobs.has(old) {
			t.Error("confirmed before the file was gone")
		}
		return nil
	}
	w.run(doomed)
	w.expect(old, false, fsm.CopyUnknown)
	w.run(doomed)
	if confirmed != 1 {
		t.Errorf("confirmed %d times", confirmed)
	}
}

// A file that is gone already, because an earlier confirmation was lost, is confirmed.
func TestLostConfirmationIsRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.doom("bytes")
	lost := errors.New("no leader")
	w.proposed = func([]byte) error { return lost }
	if err := w.all[doomed].Do(t.Context()); !errors.Is(err, lost) {
		t.Fatalf("error %v, want %v", err, lost)
	}
	w.expect(old, false, fsm.CopyDoomed)
	w.proposed = nil
	w.run(doomed)
	w.expect(old, false, fsm.CopyUnknown)
}

// GC R13.
func TestOfflineStoreRemovesAndConfirmsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.doom("bytes")
	w.blobs.setOffline(true)
	w.proposed = func([]byte) error { t.Error("something was confirmed"); return nil }
	if err := w.all[doomed].Do(t.Context()); !errors.Is(err, blobstore.ErrOffline) {
		t.Fatalf("error %v", err)
	}
	w.expect(old, true, fsm.CopyDoomed)
	w.proposed = nil
	w.blobs.setOffline(false)
	w.run(doomed)
	w.expect(old, false, fsm.CopyUnknown)
}

func TestStuckFileKeepsNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stuck, first, last := w.doom("stuck"), w.doom("first"), w.doom("last")
	w.blobs.stuck[stuck] = true
	if err := w.all[doomed].Do(t.Context()); !errors.Is(err, errStuck) {
		t.Fatalf("error %v", err)
	}
	w.expect(stuck, true, fsm.CopyDoomed)
	w.expect(first, false, fsm.CopyUnknown)
	w.expect(last, false, fsm.CopyUnknown)
}

// More than one command takes are removed in one run, also behind a page with a file that is stuck.
func TestManyDoomedCopies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var all []blobstore.CopyID
	for n := range 305 {
		all = append(all, w.doom(fmt.Sprint(n)))
	}
	w.blobs.stuck[all[0]] = true
	if err := w.all[doomed].Do(t.Context()); !errors.Is(err, errStuck) {
		t.Fatalf("error %v", err)
	}
	for _, id := range all[1:] {
		if w.stateOf(id) != fsm.CopyUnknown {
			t.Fatalf("copy %s is left", id)
		}
	}
}

func TestDoomedCopiesOfOthersStay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(fsm.SetStore{Name: "other", GCDelay: 1 << 40, Replicas: 1, WriteAcks: 1})
	var files []blobstore.CopyID
	for range 2 { // the second push dooms the copy of the first
		c := w.write("bytes")
		c.Repository, c.Store = "o/o", "other"
		w.apply(c)
		files = append(files, copyOf(c))
	}
	w.run(doomed)
	if !w.blobs.has(files[0]) {
		t.Error("a copy of another store is gone")
	}
}

func TestDoomedEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.doom("bytes")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.all[doomed].Do(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	w.expect(old, true, fsm.CopyDoomed)
}
