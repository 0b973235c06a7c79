package repair_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
)

// working has the job of a cluster run as a leader's is, from now on until the test ends, on a clock that costs
// nothing. The cluster has four members, of which the fourth is down, and a store with three replicas.
func working(t *testing.T, test func(w *world)) {
	t.Helper()
	workingWith(t, 0, test)
}

// workingWith has the job remember so many blobs that failed.
func workingWith(t *testing.T, aside int, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 4, 3)
		w.setDown(4, true)
		w.push("bytes", 1, 2, 3)
		w.aside = aside
		w.lead()
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := jobs.Run(ctx, hclog.NewNullLogger(), w.job); err != nil {
				t.Error(err)
			}
		})
		defer running.Wait()
		defer cancel()
		w.after(0)
		test(w)
	})
}

// after returns when the job has done what it does within a while.
func (w *world) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// giveUp has a holder give up its copy of "bytes".
func (w *world) giveUp(holder int) {
	w.t.Helper()
	for _, c := range w.blob("bytes").Copies {
		if c.Incarnation == [16]byte(node(holder)) {
			apply(w, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: packed("bytes"), Location: c.Location})
			return
		}
	}
	w.t.Errorf("node %d has no copy", holder)
}

func TestCopyThatIsGivenUpIsMadeAgainAtOnce(t *testing.T) {
	t.Parallel()
	working(t, func(w *world) {
		for second := range 3 {
			w.giveUp(2)
			w.after(time.Second)
			w.expect("bytes", 1, 2, 3)
			if n := w.count("fetch"); n != second+1 {
				t.Errorf("%d copies were made of %d that were given up", n, second+1)
			}
		}
		w.giveUp(1)
		w.giveUp(2) // then the last is left
		w.after(time.Second)
		w.expect("bytes", 1, 2, 3)
	})
}

// Nobody can take a copy, or it fails: that does not keep the job busy.
func TestBlobThatCannotBeMendedWaits(t *testing.T) {
	t.Parallel()
	working(t, func(w *world) {
		w.setDown(2, true)
		w.giveUp(2)
		w.after(29 * time.Second)
		if n := w.count("fetch"); n != 0 {
			t.Errorf("%d copies were begun on nodes that are down", n)
		}
		w.setDown(2, false)
		w.after(time.Second)
		w.expect("bytes", 1, 2, 3)

		var failing sync.Mutex
		fails := true
		w.fetching = func(context.Context, blobstore.Incarnation, blobstore.Blob) error {
			failing.Lock()
			defer failing.Unlock()
			if fails {
				return errors.New("input/output error")
			}
			return nil
		}
		made := w.count("fetch")
		w.giveUp(2)
		w.after(time.Second)
		if n := w.count("fetch"); n != made+1 {
			t.Errorf("%d copies were begun at once, want 1", n-made)
		}
		// What failed is tried after one run, two more, four more and so on.
		w.after(5 * time.Minute)
		if n := w.count("fetch"); n < made+3 || n > made+5 {
			t.Errorf("%d copies were begun in five minutes", n-made)
		}
		failing.Lock()
		fails = false
		failing.Unlock()
		w.after(10 * time.Minute)
		w.expect("bytes", 1, 2, 3)
		w.giveUp(2)
		w.after(time.Second)
		w.expect("bytes", 1, 2, 3)
	})
}

// Copies that are made and cannot be recorded are not made again every second.
func TestCopyThatCannotBeRecordedWaits(t *testing.T) {
	t.Parallel()
	for name, remembered := range map[string]int{
		"all are remembered": 100,
		"not all are":        3,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			workingWith(t, remembered, func(w *world) {
				w.rounding = func() error { return errors.New("no leader") }
				for n := range 5 {
					w.push(fmt.Sprint("late ", n), 1, 2)
				}
				w.after(25 * time.Second)
				if n := w.count("fetch"); n != 5 {
					t.Errorf("%d copies were made, want 5", n)
				}
			})
		})
	}
}

// A node that is down for a moment changes no record: nothing is copied for it.
func TestNodeThatIsDownForAMomentIsNoCause(t *testing.T) {
	t.Parallel()
	working(t, func(w *world) {
		w.setDown(4, false)
		w.setDown(3, true)
		for range 9 {
			w.pass(time.Minute)
			w.after(time.Minute)
		}
		w.setDown(3, false)
		w.after(time.Minute)
		if len(w.events) != 0 || w.said.Len() != 0 {
			t.Errorf("did %v, said %s", w.events, w.said.String())
		}
	})
}

// The runs between do not put off the others, which do more: the copies of a node that leaves are theirs.
func TestEarlyRunsDoNotPutOffTheOthers(t *testing.T) {
	t.Parallel()
	working(t, func(w *world) {
		w.push("leaves", 1, 2, 3)
		w.setDown(4, false)
		w.after(time.Second)
		apply(w, fsm.RetireNode{Incarnation: entry.Incarnation(node(1))})
		for n := range 30 {
			w.push(fmt.Sprint(n), 2, 3) // and one more, a second later
			w.after(time.Second)
			if have := w.blob(fmt.Sprint(n)).Counting; have != 3 {
				t.Errorf("blob %d has %d copies", n, have)
			}
			if n == 0 && w.blob("leaves").Counting != 2 {
				t.Error("an early run goes through all that the leaving node has")
			}
		}
		w.expect("leaves", 2, 3, 4)
	})
}
