package repair_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// settle does the job until it does nothing any more, and returns how many copies it made.
func (w *world) settle() int {
	w.t.Helper()
	before := w.count("fetch")
	for range 50 {
		made := w.count("fetch")
		w.run()
		if w.count("fetch") == made {
			return made - before
		}
	}
	w.t.Fatal("it does not come to an end")
	return 0
}

// each is how many blobs have a copy on each node.
func (w *world) each() map[int]int {
	w.t.Helper()
	all := map[int]int{}
	for i := range w.nodes {
		all[int(i[0])] = w.on(int(i[0]))
	}
	return all
}

// A node that joins gets its part of what is there, and each blob has as many copies as before.
func TestNewNodeIsFilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 2)
	const blobs = 600 // more than are looked at in one view
	for n := range blobs {
		w.push(fmt.Sprintf("%04d", n), 1+n%3, 1+(n+1)%3)
	}
	if n := w.settle(); n != 0 {
		t.Fatalf("%d copies were moved for nothing", n)
	}
	w.join(4, "")
	w.publishing = func(_ context.Context, to blobstore.Incarnation) error {
		if to != node(4) {
			t.Errorf("a copy is moved to %s", to)
		}
		return nil
	}
	w.settle()
	each := w.each()
	for n, want := range map[int]int{1: 2 * blobs / 4, 2: 2 * blobs / 4, 3: 2 * blobs / 4, 4: 2 * blobs / 4} {
		if each[n] < want*9/10 || each[n] > want*11/10 {
			t.Errorf("the copies are spread like %v", each)
			break
		}
	}
	for n := range blobs {
		w.whole(fmt.Sprintf("%04d", n), 2, 1, 2, 3, 4)
	}
	if w.most != 1 {
		t.Errorf("%d copies were moved at once", w.most)
	}
	for range 5 { // whoever leads finds nothing to do
		w.lead()
		if n := w.settle(); n != 0 {
			t.Fatalf("%d copies were moved again", n)
		}
	}
}

// A node is filled over many runs, and by one leader after the other.
func TestNewNodeIsFilledBitByBit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 1)
	for n := range 500 {
		w.push(fmt.Sprintf("%04d", n), 1+n%2)
	}
	w.join(3, "")
	w.slice, w.idle = 1, 150
	w.lead()
	runs := 0
	for ; w.on(3) < 500/3*9/10 && runs < 2000; runs++ {
		before := w.count("fetch")
		w.run()
		if n := w.count("fetch") - before; n > 1 {
			t.Fatalf("%d copies in a slice", n)
		}
		if runs == 60 {
			w.lead()
		}
	}
	if runs < 140 || runs == 2000 {
		t.Errorf("filled in %d runs: %v", runs, w.each())
	}
}

// Several nodes that join at once take copies of the same blobs.
func TestManyNewNodesAreFilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 3)
	for n := range 120 {
		w.push(fmt.Sprintf("%04d", n), 1, 2, 3)
	}
	w.settle()
	for n := 4; n <= 9; n++ {
		w.join(n, "")
	}
	w.settle()
	each := w.each()
	for n, have := range each {
		if have < 36 || have > 44 {
			t.Errorf("node %d has %d copies: %v", n, have, each)
		}
	}
}

// Where each node has a copy of each blob, none is looked at.
func TestNothingIsLeveledWithoutAChoice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 3)
	for n := range 1000 {
		w.push(fmt.Sprint(n), 1, 2, 3)
	}
	if w.run(); w.views > 10 {
		t.Errorf("looked %d times", w.views)
	}
}

// What has become uneven by itself is seen to once a day.
func TestNodesAreFilledDaily(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 1)
	w.settle()
	for n := range 60 {
		w.push(fmt.Sprintf("%02d", n), 1+n%2)
	}
	w.passes(23 * time.Hour)
	if n := w.settle(); n > 0 {
		t.Errorf("%d copies were moved after 23 hours", n)
	}
	w.passes(2 * time.Hour)
	if n := w.settle(); n < 18 || n > 20 {
		t.Errorf("%d copies were moved after 25 hours", n)
	}
}

// Nodes get what fits their room.
func TestNodesAreFilledByTheirRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 2)
	for n := range 300 {
		w.push(fmt.Sprintf("%04d", n), 1+n%3, 1+(n+1)%3)
	}
	w.room[node(4)] = 1 << 28 // a quarter of the others'
	w.join(4, "")
	w.settle()
	if each := w.each(); each[4] < 40 || each[4] > 50 { // 600 copies on 3.25 rooms are 46 on a quarter
		t.Errorf("the copies are spread like %v", each)
	}
}

// Bytes are what fills a disk, not blobs; and a single one that outweighs the difference stays where it is.
func TestNodesAreFilledByBytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 1)
	w.push("large "+strings.Repeat("x", 100_000), 1)
	for n := range 200 {
		w.push(fmt.Sprintf("%04d %s", n, strings.Repeat("y", 995)), 2)
	}
	w.join(3, "")
	w.settle()
	if each := w.each(); each[1] != 1 || each[3] < 90 || each[3] > 110 {
		t.Errorf("the copies are spread like %v", each)
	}
}

// Only a node that uses much less than the others is filled.
func TestSmallDifferencesStay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 1)
	for n := range 280 {
		w.push(fmt.Sprintf("%04d", n), []int{1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3}[n%14]) // 100, 100, 80
	}
	if n := w.settle(); n != 0 {
		t.Errorf("%d copies were moved: %v", n, w.each())
	}
}

// A node that is not far behind gets nothing because another one is filled.
func TestOnlyTheLowAreFilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 1)
	for n := range 260 {
		w.push(fmt.Sprintf("%04d", n), []int{1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3}[n%13]) // 100, 100, 60
	}
	w.join(4, "")
	w.settle()
	if each := w.each(); each[3] != 60 || each[4] < 60 {
		t.Errorf("the copies are spread like %v", each)
	}
}

// Those that are to be emptied are no measure for the others.
func TestNodesAreFilledBesideEmptyOnes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5, 1)
	for n := range 260 {
		w.push(fmt.Sprintf("%04d", n), []int{1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3}[n%13]) // 100, 100, 60
	}
	w.drain(4)
	w.drain(5)
	w.settle()
	if each := w.each(); each[3] < 80 {
		t.Errorf("the copies are spread like %v", each)
	}
}

// A survey goes on over many runs, also while it moves copies to other zones, and counts each where it is then.
func TestSurveyIsInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 2)
	for n, zone := range []string{"a", "a", "b", "c"} {
		w.join(n+1, zone)
	}
	for name, on := range map[string][]int{"apart": {1, 2}, "one": {1, 3}, "two": {2, 4}, "other": {3, 4}} {
		for n := range map[string]int{"apart": 50, "one": 40, "two": 40, "other": 20}[name] {
			w.push(fmt.Sprintf("%5s %04d", name, n), on...)
		}
	}
	w.slice = 1
	w.lead()
	for range 100 {
		w.run()
	}
	if n := w.count("fetch"); n != 50 { // a node that has 65 of 85 is not filled
		t.Errorf("%d copies were moved: %v", n, w.each())
	}
}

// A run looks at so many blobs in vain, and no more.
func TestSurveyIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 1)
	for n := range 1000 {
		w.push(fmt.Sprint(n), 1+n%2)
	}
	w.idle = 150
	w.lead()
	if w.run(); w.views > 8 {
		t.Errorf("looked %d times", w.views)
	}
}

// A copy is not moved for a zone in which the blob has one already.
func TestCopiesStayWhereNothingIsWonByAMove(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 3)
	for n, zone := range []string{"a", "a", "b", "b"} {
		w.join(n+1, zone)
	}
	for n := range 40 {
		w.push(fmt.Sprint(n), slices.DeleteFunc([]int{1, 2, 3, 4}, func(i int) bool { return i == 1+n%4 })...)
	}
	if n := w.settle(); n > 0 {
		t.Errorf("%d copies were moved: %v", n, w.each())
	}
}

// Nothing is moved for the nodes' sake while a blob lacks a copy, a node does not answer, is full, or has not
// said how much room it has.
func TestFillingWaits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ begin, end func(w *world) }{
		"for repair": {
			func(w *world) { w.push("lacks", 1); w.fetching = failOn(blobstore.ErrUnreachable, 0, "lacks") },
			func(w *world) { w.fetching = nil },
		},
		"for a node that is silent": {
			func(w *world) { w.setDown(2, true); w.silent[node(2)] = time.Minute },
			func(w *world) { w.setDown(2, false) },
		},
		"for a node that has just gone": {func(w *world) { w.setDown(2, true) }, func(w *world) { w.setDown(2, false) }},
		"for room":                      {func(w *world) { w.full[node(4)] = true }, func(w *world) { w.full[node(4)] = false; w.lead() }},
		"to know the room":              {func(w *world) { w.room[node(4)] = 0 }, func(w *world) { delete(w.room, node(4)) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3, 2)
			for n := range 60 {
				w.push(fmt.Sprint(n), 1+n%3, 1+(n+1)%3)
			}
			w.join(4, "")
			c.begin(w)
			w.run()
			if n := w.on(4); n > 1 {
				t.Errorf("%d copies were moved", n)
			}
			c.end(w)
			for range 3 {
				w.settle()
			}
			if n := w.on(4); n < 25 {
				t.Errorf("%d copies were moved then", n)
			}
		})
	}
}

// Each blob is in as many zones as it can be, also after a node has joined in another.
func TestCopiesAreApartInZones(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		zones    []string
		replicas int
		on       []int
		join     string // of the node that joins then, if any
		want     int    // zones in the end
	}{
		"a third zone":            {[]string{"a", "b", "b"}, 3, []int{1, 2, 3}, "c", 3},
		"a zone that was free":    {[]string{"a", "a", "b"}, 2, []int{1, 2}, "", 2},
		"no other zone":           {[]string{"a", "a", "b", "b"}, 3, []int{1, 2, 3}, "", 2},
		"a node of the same zone": {[]string{"a", "b"}, 2, []int{1, 2}, "b", 2},
		"all apart":               {[]string{"a", "b", "c", "c"}, 3, []int{1, 2, 3}, "", 3},
		"as many nodes as copies": {[]string{"a", "a", "a"}, 3, []int{1, 2, 3}, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 0, c.replicas)
			for n, zone := range c.zones {
				w.join(n+1, zone)
			}
			for n := range 12 {
				w.push(fmt.Sprint(n), c.on...)
			}
			zones := c.zones
			if c.join != "" {
				w.settle()
				w.join(len(zones)+1, c.join)
				zones = append(zones, c.join)
			}
			w.settle()
			for n := range 12 {
				on, in := w.holders(fmt.Sprint(n)), map[string]bool{}
				for _, at := range on {
					in[zones[at-1]] = true
				}
				if len(in) != c.want || len(on) != c.replicas {
					t.Errorf("%d is on %v, in %d zones", n, on, len(in))
				}
			}
		})
	}
}

// To fill a node brings no copies into one zone.
func TestFillingKeepsZonesApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 2)
	w.join(1, "a")
	w.join(2, "b")
	for n := range 60 {
		w.push(fmt.Sprint(n), 1, 2)
	}
	w.settle()
	w.join(3, "b")
	w.settle()
	for n := range 60 {
		if on := w.holders(fmt.Sprint(n)); on[0] != 1 || len(on) != 2 {
			t.Errorf("%d is on %v", n, on)
		}
	}
	if each := w.each(); each[3] < 27 || each[3] > 33 {
		t.Errorf("the copies are spread like %v", each)
	}
}

// A node that was away and is back is filled like a new one, and one that is to be emptied is not.
func TestNodeThatReturnsIsFilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5, 2)
	for n := range 200 {
		w.push(fmt.Sprint(n), 1+n%5, 1+(n+1)%5)
	}
	w.goAway(5)
	w.settle()
	if n := w.on(5); n != 0 {
		t.Fatalf("%d copies are left", n)
	}
	w.setDown(5, false)
	w.drain(4)
	w.settle()
	each := w.each()
	if each[4] != 0 || each[5] < 80 {
		t.Errorf("the copies are spread like %v", each)
	}
	w.undrain(4)
	w.settle()
	each = w.each()
	if least := slices.Min(slices.Collect(maps.Values(each))); least < 60 {
		t.Errorf("the copies are spread like %v", each)
	}
}

// Copies on nodes that are leaving are not counted in any zone, nor moved: removal looks after them.
func TestLeavingCopiesAreNotMoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 8, 4)
	for n := range 20 {
		w.push(fmt.Sprint(n), 1, 2, 3, 4)
	}
	apply(w, fsm.SetStore{Name: fsm.DefaultStore, GCDelay: time.Hour, Replicas: 2, WriteAcks: 1})
	for _, n := range []int{3, 4} {
		apply(w, fsm.RetireNode{Incarnation: entry.Incarnation(node(n))})
	}
	w.settle()
	for n := range 20 {
		if b := w.blob(fmt.Sprint(n)); len(b.Copies) != 4 || b.Counting != 2 {
			t.Errorf("%d is at %v", n, b.Copies)
		}
		w.holders(fmt.Sprint(n))
	}
}

// What a node has of other stores says nothing of how full it is for this one: copies would be moved for what is not this
// job's, to and fro.
func TestOtherStoresDoNotCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 1)
	for n := range 300 {
		w.push(fmt.Sprintf("%04d", n), 1+n%3)
	}
	apply(w, fsm.SetStore{Name: "/a", GCDelay: time.Hour, Replicas: 1, WriteAcks: 1})
	d, err := fsm.Pack(digest.FromString("of another store"))
	if err != nil {
		t.Fatal(err)
	}
	apply(w, fsm.BlobStored{
		Repository: "a/x", Store: "/a", Digest: d, Size: 1 << 20, Stamp: w.state.Position().Time,
		Locations: []fsm.Location{{Incarnation: entry.Incarnation(node(1)), Copy: fsm.CopyID{1}}},
	})
	if n := w.settle(); n != 0 {
		t.Errorf("%d copies were moved, to %v", n, w.each())
	}
}
