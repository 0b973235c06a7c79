package repair_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// goAway has nodes not answer for so long that they are away.
func (w *world) goAway(which ...int) {
	w.t.Helper()
	for _, n := range which {
		w.setDown(n, true)
	}
	w.pass(time.Minute)
	w.run() // the first look that finds them silent
	w.pass(11 * time.Minute)
}

// doomed reports whether a node's sweeper will remove a copy.
func (w *world) doomed(l fsm.Location) (is bool) {
	w.t.Helper()
	w.view(func(v fsm.View) {
		state, _ := v.Copy(fsm.DefaultStore, l)
		is = state == fsm.CopyDoomed
	})
	return is
}

func (w *world) view(fn func(v fsm.View)) {
	w.t.Helper()
	if err := w.state.View(func(v fsm.View) error { fn(v); return nil }); err != nil {
		w.t.Fatal(err)
	}
}

// on is how many blobs have a location on a node.
func (w *world) on(n int) (count int) {
	w.t.Helper()
	w.view(func(v fsm.View) { count = len(v.On(entry.Incarnation(node(n)), fsm.BlobName{}, 1_000_000)) })
	return count
}

// at is where a blob's copy on a node is.
func (w *world) at(text string, n int) fsm.Location {
	w.t.Helper()
	for _, c := range w.blob(text).Copies {
		if c.Incarnation == entry.Incarnation(node(n)) {
			return c.Location
		}
	}
	w.t.Fatalf("node %d has no copy of %q", n, text)
	return fsm.Location{}
}

// Ten minutes without an answer, and each blob has its copies on nodes that are there; what the node still has is
// removed when it is back, and it is a node like the others.
func TestNodeThatStaysAwayIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5, 3)
	for n := range 30 {
		w.push(fmt.Sprint(n), 1, 2, 3)
	}
	w.push("too few", 3, 4)
	w.run()
	before := w.at("7", 3)
	w.setDown(3, true)
	for range 9 {
		w.pass(time.Minute)
		w.run()
	}
	if n := w.count("fetch"); n != 1 {
		t.Errorf("%d copies were made after nine minutes", n)
	}
	w.goAway(3)
	w.run()
	for n := range 30 {
		text := fmt.Sprint(n)
		if on := w.holders(text); len(on) != 3 || slices.Contains(on, 3) {
			t.Errorf("%q is on %v", text, on)
		}
	}
	if w.on(3) != 0 || !w.doomed(before) {
		t.Errorf("%d locations are left on the node that is away", w.on(3))
	}
	made := w.count("fetch")
	w.run()
	w.setDown(3, false)
	w.run()
	if n := w.count("fetch"); n < made || !strings.Contains(w.said.String(), "not away any more") {
		t.Errorf("%d copies, said %s", n, w.said.String())
	}
	w.push("new", 1)
	w.run()
	for _, text := range []string{"0", "too few", "new"} {
		if b := w.blob(text); b.Counting != 3 || len(w.holders(text)) != 3 {
			t.Errorf("%q has %d copies", text, b.Counting)
		}
	}
}

// The blob that is nearest to its end comes first, also when it becomes so in the middle.
func TestLastCopiesComeFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 7, 3)
	w.slice = 1
	w.lead()
	for n := range 8 {
		w.push(fmt.Sprint("two left ", n), 1, 2, 6)
		w.push(fmt.Sprint("one left ", n), 3, 6, 7)
	}
	w.push("none left", 5, 6, 7)
	w.push("suddenly", 2, 3, 6)
	w.goAway(5, 6, 7)
	w.fetching = func(context.Context, blobstore.Incarnation, blobstore.Blob) error {
		if w.count("fetch") == 20 { // among those of which two are left
			d := packed("suddenly")
			apply(w, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: d, Location: w.at("suddenly", 2)})
		}
		return nil
	}
	w.run()
	var order []string
	for _, e := range w.events {
		if d, is := strings.CutPrefix(e, "fetch "); is {
			order = append(order, d)
		}
	}
	urgent := map[string]bool{}
	for n := range 8 {
		urgent[digest.FromString(fmt.Sprint("one left ", n)).String()] = true
	}
	if len(order) < 24 || slices.ContainsFunc(order[:8], func(d string) bool { return !urgent[d] }) {
		t.Fatalf("%d copies, in the order %v", len(order), order)
	}
	at := slices.Index(order[20:], digest.FromString("suddenly").String())
	if at < 0 || at > 3 { // some were under way
		t.Errorf("what was left with one copy came after %d others", at)
	}
	if slices.Contains(order, digest.FromString("none left").String()) {
		t.Error("a copy was made of nothing")
	}
	for n := range 8 {
		for _, text := range []string{fmt.Sprint("two left ", n), fmt.Sprint("one left ", n), "suddenly"} {
			if on := w.holders(text); len(on) != 3 || on[2] > 4 {
				t.Errorf("%q is on %v", text, on)
			}
		}
	}
	w.expect("none left", 5, 6, 7)
}

// A leader to which no majority answers is cut off itself, and makes no storm of copies.
func TestNobodyIsAwayWhileNoMajorityAnswers(t *testing.T) {
	t.Parallel()
	for members, silent := range map[int][]int{2: {2}, 4: {3, 4}, 5: {2, 3, 4}} {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, members, 2)
			w.push("bytes", 1, silent[0])
			w.goAway(silent...)
			for range 3 {
				w.run()
				w.pass(time.Hour)
			}
			w.expect("bytes", 1, silent[0])
			if w.count("fetch") != 0 || strings.Contains(w.said.String(), "is away") {
				t.Errorf("did %v, said %s", w.events, w.said.String())
			}
			for _, n := range silent[1:] {
				w.setDown(n, false)
			}
			w.run()
			if on := w.holders("bytes"); members > 2 && slices.Contains(on, silent[0]) {
				t.Errorf("the one that is away indeed has not been replaced: %v", on)
			}
		})
	}
}

// Two that fall silent beside one that is away long since make the leader doubt itself, until one is back.
func TestNobodyIsAwayAnyMoreWhenTheMajorityFallsSilent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5, 2)
	w.goAway(5)
	w.run()
	w.setDown(3, true)
	w.setDown(4, true)
	w.pass(time.Minute)
	w.push("bytes", 1, 5)
	w.run()
	w.expect("bytes", 1, 5)
	w.setDown(3, false)
	w.run()
	w.whole("bytes", 2, 1, 2, 3)
}

// A process that was stopped for an hour has heard nobody for an hour, and knows nothing: the state has no
// time in which nobody answered.
func TestPauseOfTheLeaderIsNobodysAbsence(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5, 2)
	w.push("bytes", 1, 2)
	w.run()
	w.setDown(2, true)
	w.mu.Lock()
	w.silent[node(2)] = time.Hour
	w.mu.Unlock()
	w.run()
	w.passes(5 * time.Minute)
	w.run()
	w.expect("bytes", 1, 2)
}

// Elections do not put it off: whoever leads knows since when a node is silent.
func TestNodeIsAwayThroughElections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5, 2)
	w.push("bytes", 1, 2)
	w.setDown(2, true)
	for range 11 {
		w.lead()
		if err := w.watch.Job(w).Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
	}
	w.lead()
	w.run()
	if on := w.holders("bytes"); len(on) != 2 || slices.Contains(on, 2) {
		t.Errorf("on %v", on)
	}
}

// Who answers once in ten minutes is not away, whether somebody looks just then or not.
func TestAnswerBetweenTwoLooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5, 2)
	w.push("bytes", 1, 2)
	w.goAway(2)
	w.mu.Lock()
	w.silent[node(2)] = 5 * time.Minute
	w.mu.Unlock()
	w.run()
	w.expect("bytes", 1, 2)
	w.pass(6 * time.Minute)
	w.run()
	if on := w.holders("bytes"); on[1] == 2 {
		t.Errorf("on %v", on)
	}
}

// It comes back in the middle: what is under way is recorded, and nothing more is made.
func TestNodeReturnsInTheMiddle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5, 2)
	for n := range 40 {
		w.push(fmt.Sprint(n), 1, 2)
	}
	w.goAway(2)
	w.fetching = func(context.Context, blobstore.Incarnation, blobstore.Blob) error {
		w.setDown(2, false)
		return nil
	}
	w.run()
	made := w.count("fetch")
	if made == 0 || made > 4 || w.on(2) != 40-made {
		t.Errorf("%d copies were made, %d are left on the node", made, w.on(2))
	}
	for n := range 40 {
		if on := w.holders(fmt.Sprint(n)); len(on) != 2 {
			t.Errorf("%d is on %v", n, on)
		}
	}
}

// What the copy was to replace is not there any more, or the record has room: either way nothing is lost, and
// the next run finds what is so now.
func TestRecordChangesWhileACopyIsMade(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(w *world){
		"pushed again": func(w *world) { w.push("bytes", 1, 2) },
		"a copy is given up": func(w *world) {
			apply(w, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: packed("bytes"), Location: w.at("bytes", 1)})
		},
		"more replicas": func(w *world) {
			apply(w, fsm.SetStore{Name: fsm.DefaultStore, GCDelay: time.Hour, Replicas: 4, WriteAcks: 1})
		},
		"its node is dropped": func(w *world) {
			apply(w, fsm.DropNode{Incarnation: entry.Incarnation(node(3)), Lost: true})
		},
		"another node retires": func(w *world) { apply(w, fsm.RetireNode{Incarnation: entry.Incarnation(node(2))}) },
		"another leader":       func(w *world) { w.lead() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 7, 3)
			w.push("bytes", 1, 2, 3)
			w.goAway(3)
			done := false
			w.publishing = func(context.Context, blobstore.Incarnation) error {
				if !done {
					done = true
					change(w)
				}
				return nil
			}
			w.run()
			w.goAway(3)
			for range 5 {
				w.run()
			}
			want := 3
			if name == "more replicas" {
				want = 4
			}
			b := w.blob("bytes")
			if on := w.holders("bytes"); len(on) != want || slices.Contains(on, 3) || b.Counting != want {
				t.Errorf("on %v, %d count", on, b.Counting)
			}
		})
	}
}

// Where no other node is left, nothing is tried, and what was looked through in vain is left alone for a while.
func TestNobodyIsLeftToTakeACopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 3)
	for n := range 1000 {
		w.push(fmt.Sprint(n), 1, 2, 3)
	}
	w.goAway(3)
	looks := func() int {
		before := w.views
		w.run()
		return w.views - before
	}
	first, second := looks(), looks()
	if w.count("fetch") != 0 || second >= first/2 {
		t.Errorf("did %v, looked %d times, then %d times", w.events, first, second)
	}
	for n := range 1000 { // pushed meanwhile: as many copies as there are nodes
		w.push(fmt.Sprint("later ", n), 1, 2)
	}
	if third := looks(); third > second {
		t.Errorf("looked %d times, then %d times", second, third)
	}
	// One that has lost another copy meanwhile is still found.
	apply(w, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: packed("500"), Location: w.at("500", 2)})
	for range 12 {
		w.run()
	}
	w.expect("500", 1, 2, 3)
}

// The disk of a node that runs, the leader's own too, is not mounted: its store does not answer.
func TestDiskThatIsNotMounted(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 5, 2)
			w.push("bytes", 1, 2)
			before := w.at("bytes", n)
			wait := func(d time.Duration) {
				w.passes(d)
				w.mu.Lock()
				w.silent[node(n)] += d
				w.mu.Unlock()
				w.run()
			}
			wait(time.Minute)
			wait(8 * time.Minute)
			w.expect("bytes", 1, 2)
			wait(3 * time.Minute)
			if on := w.holders("bytes"); len(on) != 2 || slices.Contains(on, n) || !w.doomed(before) {
				t.Errorf("on %v", on)
			}
			made := w.count("fetch")
			for k := range 10 {
				w.push(fmt.Sprint(k), 3)
			}
			w.run()
			if n := w.count("fetch") - made; n != 10 {
				t.Errorf("%d copies were made of ten blobs", n)
			}
			for k := range 10 {
				w.whole(fmt.Sprint(k), 2, slices.DeleteFunc([]int{1, 2, 3, 4, 5}, func(i int) bool { return i == n })...)
			}
		})
	}
}

// Another node is being removed meanwhile: what both had goes to others, from the one that can still be read.
func TestNodeLeavesWhileAnotherIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 6, 2)
	for n := range 20 {
		w.push(fmt.Sprint(n), 1, 2)
	}
	w.goAway(1)
	apply(w, fsm.RetireNode{Incarnation: entry.Incarnation(node(2))})
	w.run()
	w.run()
	for n := range 20 {
		w.whole(fmt.Sprint(n), 2, 3, 4, 5, 6)
	}
	if w.on(1) != 0 || w.on(2) != 20 {
		t.Errorf("%d and %d locations are left", w.on(1), w.on(2))
	}
}

// What lies in a bucket is on no node, and counts.
func TestCopyInABucketCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 1)
	apply(w, fsm.SetStore{Name: fsm.DefaultStore, GCDelay: time.Hour, Replicas: 1, WriteAcks: 1, Place: fsm.Place{Bucket: "images"}})
	w.pass(time.Second) // a copy from before is in no bucket
	apply(w, fsm.BlobStored{
		Repository: repository, Store: fsm.DefaultStore, Digest: packed("bytes"), Size: 5, Locations: []fsm.Location{{Copy: fsm.CopyID{1}}}, Stamp: w.state.Position().Time,
	})
	w.goAway(3)
	w.run()
	if n := w.count("fetch"); n != 0 {
		t.Errorf("%d copies were made", n)
	}
}

// The copy goes where those that are left leave a zone free.
func TestReplacementIsInAFreeZone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 2)
	for n, zone := range []string{"a", "b", "a", "b", "a"} {
		w.join(n+1, zone)
	}
	for n := range 20 {
		w.push(fmt.Sprint(n), 1, 2)
	}
	w.goAway(2)
	w.run()
	for n := range 20 {
		w.expect(fmt.Sprint(n), 1, 4)
	}
}
