package repair_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs/repair"
)

func TestNodeThatJoinsGetsItsCopies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 3)
	const blobs = 450 // more than are looked at in one view
	for n := range blobs {
		w.push(fmt.Sprint(n), 1, 2)
	}
	w.run()
	if n := w.count("fetch"); n != 0 {
		t.Errorf("%d copies were made while all members had one", n)
	}
	w.join(3, "")
	var begun sync.WaitGroup
	begun.Add(2)
	var meanwhile atomic.Int32
	w.fetching = func(context.Context, blobstore.Incarnation, blobstore.Blob) error {
		if meanwhile.Add(1) <= 2 {
			begun.Done()
			begun.Wait()
		}
		return nil
	}
	w.run()
	for n := range blobs {
		w.expect(fmt.Sprint(n), 1, 2, 3)
	}
	w.run()
	if n := w.count("fetch"); n != blobs {
		t.Errorf("%d copies were made, want %d", n, blobs)
	}
	if w.most < 2 || w.most > 4 {
		t.Errorf("%d copies were made at once", w.most)
	}
	if begun, ended := strings.Count(w.said.String(), "repair begins"), strings.Count(w.said.String(), "copies=450"); begun != 1 || ended != 1 {
		t.Errorf("logged %s", w.said.String())
	}
}

// A blob whose next loss would be its end comes before one that can lose another copy.
func TestFewestCopiesFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 3)
	for n := range 10 {
		w.push(fmt.Sprint("two ", n), 1, 2)
		w.push(fmt.Sprint("one ", n), 3)
	}
	w.run()
	urgent := map[string]bool{}
	for n := range 10 {
		w.expect(fmt.Sprint("two ", n), 1, 2, 3)
		w.expect(fmt.Sprint("one ", n), 1, 2, 3)
		urgent["fetch "+digest.FromString(fmt.Sprint("one ", n)).String()] = true
	}
	var fetches []string
	for _, e := range w.events {
		if strings.HasPrefix(e, "fetch") {
			fetches = append(fetches, e)
		}
	}
	if len(fetches) != 30 || slices.ContainsFunc(fetches[:10], func(e string) bool { return !urgent[e] }) {
		t.Errorf("%d copies, in the order %v", len(fetches), fetches)
	}
}

// GC R17: the copies of a node that leaves no longer count, also where they are the only ones.
func TestCopiesOfALeavingNodeAreCopiedAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, 2)
	w.push("sole", 1)
	w.push("pair", 1, 2)
	w.push("elsewhere", 2, 3)
	w.run()
	if len(w.holders("sole")) != 2 {
		t.Fatalf("the sole copy got no second: %v", w.holders("sole"))
	}
	w.push("late", 1)
	apply(w, fsm.RetireNode{Incarnation: entry.Incarnation(node(1))})
	w.run()
	for _, text := range []string{"sole", "pair", "elsewhere", "late"} {
		if b := w.blob(text); b.Counting != 2 {
			t.Errorf("%q has %d counting copies", text, b.Counting)
		}
		w.holders(text)
	}
	made := w.count("fetch")
	w.run() // its locations are still recorded
	if n := w.count("fetch"); n != made {
		t.Errorf("%d copies too many", n-made)
	}
}

func TestSoleCopyOfALeavingNodeWithOneReplica(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 1)
	w.push("bytes", 1)
	apply(w, fsm.RetireNode{Incarnation: entry.Incarnation(node(1))})
	w.run()
	w.expect("bytes", 2)
}

// A dropped node's locations count no more, before they are cleared too.
func TestLostNodeIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, 3)
	w.push("bytes", 1, 2, 3)
	w.setDown(3, true)
	w.run()
	w.expect("bytes", 1, 2, 3) // it may come back with its copy
	apply(w, fsm.DropNode{Incarnation: entry.Incarnation(node(3)), Lost: true})
	w.run()
	w.expect("bytes", 1, 2, 4)
}

func TestTargetsAreInOtherZonesFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 3)
	for n, zone := range []string{"a", "a", "a", "b", "c"} {
		w.join(n+1, zone)
	}
	for n := range 20 {
		w.push(fmt.Sprint(n), 1)
	}
	w.run()
	for n := range 20 {
		w.expect(fmt.Sprint(n), 1, 4, 5)
	}
}

func TestCopiesAreSpread(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5, 2)
	for n := range 80 {
		w.push(fmt.Sprint(n), 1)
	}
	w.run()
	on := map[int]int{}
	for n := range 80 {
		on[w.holders(fmt.Sprint(n))[1]]++
	}
	for n := 2; n <= 5; n++ {
		if on[n] < 8 || on[n] > 32 {
			t.Errorf("the copies are spread like %v", on)
			break
		}
	}
}

// A full node gets a copy only if no other can take it.
func TestTargetsWithRoomComeFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, 2)
	w.full[node(2)] = true
	for n := range 20 {
		w.push(fmt.Sprint(n), 1)
	}
	w.run()
	for n := range 20 {
		w.whole(fmt.Sprint(n), 2, 1, 3, 4)
	}
	w.setDown(3, true)
	w.setDown(4, true)
	w.push("later", 1)
	w.run()
	w.expect("later", 1, 2)
}

func TestNodeThatDoesNotAnswerIsNoTarget(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 3)
	w.push("bytes", 1, 2)
	w.setDown(3, true)
	w.run()
	w.expect("bytes", 1, 2)
	if len(w.events) != 0 || w.said.Len() != 0 {
		t.Errorf("did %v, said %s", w.events, w.said.String())
	}
	w.setDown(3, false)
	w.run()
	w.expect("bytes", 1, 2, 3)
}

func TestOtherStoresAreNotRepaired(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 2)
	apply(w, fsm.SetStore{Name: "other", GCDelay: 1 << 40, Replicas: 2, WriteAcks: 1})
	for n := range 250 {
		text := fmt.Sprint(n)
		apply(w, fsm.BlobStored{
			Repository: "o/o", Store: "other", Digest: packed(text), Size: int64(len(text)), Locations: w.write(text, 1), Stamp: w.state.Position().Time,
		})
	}
	apply(w, fsm.RetireNode{Incarnation: entry.Incarnation(node(1))})
	w.push("mine", 2)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := w.job.Do(ctx); err != nil {
		t.Error(err)
	}
	if len(w.events) != 0 {
		t.Errorf("did %v", w.events)
	}
}

func TestNewRefusesHalfARepairer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	whole := repair.Deps{Store: fsm.DefaultStore, State: w.state, Consistency: w, Proposer: w, Copies: w}
	for name, part := range map[string]func(d *repair.Deps){
		"no name":        func(d *repair.Deps) { d.Store = "" },
		"no state":       func(d *repair.Deps) { d.State = nil },
		"no consistency": func(d *repair.Deps) { d.Consistency = nil },
		"no proposer":    func(d *repair.Deps) { d.Proposer = nil },
		"no copies":      func(d *repair.Deps) { d.Copies = nil },
	} {
		d := whole
		part(&d)
		if _, err := repair.New(d); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

var errDisk = errors.New("input/output error")

// failOn makes fetches fail, by where they go to or what they are of.
func failOn(err error, to int, text string) func(context.Context, blobstore.Incarnation, blobstore.Blob) error {
	return func(_ context.Context, at blobstore.Incarnation, b blobstore.Blob) error {
		if at == node(to) || text != "" && b.Digest == digest.FromString(text) {
			return err
		}
		return nil
	}
}
