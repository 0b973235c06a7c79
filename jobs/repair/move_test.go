package repair_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// drain marks a node as one to be emptied.
func (w *world) drain(n int) { apply(w, fsm.DrainNode{Incarnation: entry.Incarnation(node(n))}) }

func (w *world) undrain(n int) {
	apply(w, fsm.DrainNode{Incarnation: entry.Incarnation(node(n)), Undo: true})
}

// unlike has no copies moved for their nodes' sake: how much room these have is not known.
func (w *world) unlike() {
	for i := range w.nodes {
		w.room[i] = 0
	}
}

// whole fails unless a blob has so many copies, each really there, on members of a choice.
func (w *world) whole(text string, want int, of ...int) {
	w.t.Helper()
	on := w.holders(text)
	if len(on) != want || slices.ContainsFunc(on, func(n int) bool { return !slices.Contains(of, n) }) {
		w.t.Errorf("%q is on %v, want %d of %v", text, on, want, of)
	}
}

// A node is emptied, and no blob has fewer copies than it should at any moment.
func TestNodeIsEmptied(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5, 2)
	w.unlike()
	const blobs = 450 // more than are looked at in one view
	for n := range blobs {
		w.push(fmt.Sprint(n), 1+n%2, 2+n%2)
	}
	before := w.at("0", 2)
	w.drain(2)
	w.publishing = func(_ context.Context, to blobstore.Incarnation) error {
		if to == node(2) {
			t.Error("a copy is made on the node that is to be emptied")
		}
		w.view(func(v fsm.View) {
			if n := len(v.WithCopies(fsm.DefaultStore, 2, "", blobs+1)); n != blobs {
				t.Errorf("%d blobs have two copies", n)
			}
		})
		return nil
	}
	w.run()
	if w.on(2) != 0 || w.count("fetch") != blobs || !w.doomed(before) {
		t.Errorf("%d copies are left, %d were made", w.on(2), w.count("fetch"))
	}
	for n := range blobs {
		w.whole(fmt.Sprint(n), 2, 1, 3, 4, 5)
	}
	w.run()
	if w.count("fetch") != blobs || strings.Count(w.said.String(), "node is empty") != 1 {
		t.Errorf("%d copies, said %s", w.count("fetch"), w.said.String())
	}
	if strings.Contains(w.said.String(), "repair") || !strings.Contains(w.said.String(), "copies=450") {
		t.Errorf("said %s", w.said.String())
	}
	if w.most > 4 {
		t.Errorf("%d copies were made at once", w.most)
	}
}

// What has too few copies gets them first, on other nodes, and then leaves the node too.
func TestNodeIsEmptiedOfWhatHasTooFewCopies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5, 3)
	w.drain(1)
	w.push("sole", 1)
	w.push("pair", 1, 2)
	w.run()
	w.whole("sole", 3, 2, 3, 4, 5)
	w.whole("pair", 3, 2, 3, 4, 5)
}

// The node that is emptied may be the only one that can be read.
func TestNodeIsEmptiedFromItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 1)
	w.push("sole", 1)
	w.drain(1)
	w.run()
	w.whole("sole", 1, 2, 3)
}

// A node whose disk is not mounted is emptied of what others have too. What only it has stays where it is until the
// disk is back.
func TestNodeIsEmptiedWhoseDiskIsNotMounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, 2)
	w.push("pair", 1, 2)
	apply(w, fsm.SetStore{Name: fsm.DefaultStore, GCDelay: time.Hour, Replicas: 1, WriteAcks: 1})
	w.push("sole", 1)
	w.setDown(1, true)
	w.drain(1)
	w.run()
	w.whole("pair", 2, 2, 3, 4)
	w.expect("sole", 1)
	w.setDown(1, false)
	w.run()
	w.run()
	w.whole("sole", 1, 2, 3, 4)
}

// Copies stay in distinct zones.
func TestNodeIsEmptiedZoneByZone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 2)
	for n, zone := range []string{"a", "b", "a", "b"} {
		w.join(n+1, zone)
	}
	w.unlike()
	for n := range 20 {
		w.push(fmt.Sprint(n), 1, 2)
	}
	w.drain(1)
	w.run()
	for n := range 20 {
		w.expect(fmt.Sprint(n), 2, 3)
	}
}

// A node may be marked, or be one like the others again, at any moment.
func TestDrainIsUndone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, 2)
	w.unlike()
	for n := range 40 {
		w.push(fmt.Sprint(n), 1, 2)
	}
	w.drain(1)
	w.fetching = func(context.Context, blobstore.Incarnation, blobstore.Blob) error {
		w.undrain(1)
		return nil
	}
	w.run()
	if made := w.count("fetch"); made == 0 || made > 4 || w.on(1) != 40-made {
		t.Errorf("%d copies were made, %d are left", made, w.on(1))
	}
	for n := range 40 {
		w.whole(fmt.Sprint(n), 2, 1, 2, 3, 4)
	}
}

// What happens to a blob in the middle of its move.
func TestRecordChangesWhileACopyIsMoved(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(w *world){
		"pushed again":     func(w *world) { w.push("bytes", 1, 2) },
		"pushed elsewhere": func(w *world) { w.push("bytes", 2, 4) },
		"the other copy is given up": func(w *world) {
			apply(w, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: packed("bytes"), Location: w.at("bytes", 2)})
		},
		"its own copy is given up": func(w *world) {
			apply(w, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: packed("bytes"), Location: w.at("bytes", 1)})
		},
		"the node retires":   func(w *world) { apply(w, fsm.RetireNode{Incarnation: entry.Incarnation(node(1))}) },
		"the other retires":  func(w *world) { apply(w, fsm.RetireNode{Incarnation: entry.Incarnation(node(2))}) },
		"the node is lost":   func(w *world) { apply(w, fsm.DropNode{Incarnation: entry.Incarnation(node(1)), Lost: true}) },
		"the other is lost":  func(w *world) { apply(w, fsm.DropNode{Incarnation: entry.Incarnation(node(2)), Lost: true}) },
		"another leader":     func(w *world) { w.lead() },
		"a round fails":      func(w *world) { w.rounding = func() error { w.rounding = nil; return errDisk } },
		"its target retires": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 6, 2)
			w.push("bytes", 1, 2)
			w.drain(1)
			done := false
			w.publishing = func(_ context.Context, to blobstore.Incarnation) error {
				switch {
				case done:
				case change == nil:
					apply(w, fsm.RetireNode{Incarnation: entry.Incarnation(to)})
				default:
					change(w)
				}
				done = true
				return nil
			}
			for range 5 {
				w.run()
			}
			b := w.blob("bytes")
			if on := w.holders("bytes"); len(on) != 2 || b.Counting != 2 || slices.Contains(on, 1) {
				t.Errorf("on %v, %d count", on, b.Counting)
			}
		})
	}
}

func TestBlobThatIsCollectedWhileItIsMoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 2)
	w.push("bytes", 1, 2)
	w.drain(1)
	w.fetching = func(context.Context, blobstore.Incarnation, blobstore.Blob) error {
		w.collect("bytes")
		return nil
	}
	w.run()
	if b := w.blob("bytes"); len(b.Copies) != 0 || w.uploads(3) != 0 || strings.Contains(w.said.String(), "WARN") {
		t.Errorf("recorded are %v, %d uploads are left, said %s", b.Copies, w.uploads(3), w.said.String())
	}
}

// A full node gets no copies that can stay where they are, but those that lack.
func TestFullNodeGetsNoMoves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 2)
	w.push("moves", 1, 2)
	w.push("lacks", 2)
	w.drain(1)
	w.full[node(3)] = true
	w.run()
	w.expect("moves", 1, 2)
	w.expect("lacks", 2, 3)
	w.full[node(3)] = false
	w.run()
	w.expect("moves", 2, 3)
}

// What lacks a copy need not wait for the end of a move that takes days.
func TestMovesGiveWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, 2)
	w.unlike()
	w.slice = 1
	w.lead()
	for n := range 20 {
		w.push(fmt.Sprint(n), 1, 2)
	}
	w.drain(1)
	for n := 1; n <= 20; n++ {
		w.run()
		if w.count("fetch") != n {
			t.Fatalf("%d copies after %d slices", w.count("fetch"), n)
		}
	}
	if w.on(1) != 0 {
		t.Errorf("%d copies are left", w.on(1))
	}
}

// What cannot be moved does not keep the rest, however much it is; only so much is looked at in a run.
func TestWhatCannotBeMovedKeepsNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, 4)
	w.unlike()
	w.idle = 100
	w.lead()
	var stuck, rest []string
	for n := range 700 {
		if text := fmt.Sprint(n); packed(text).Unpack().Encoded() < "c0" {
			stuck = append(stuck, text)
			w.push(text, 1, 2, 3, 4)
		} else {
			rest = append(rest, text)
		}
	}
	apply(w, fsm.SetStore{Name: fsm.DefaultStore, GCDelay: time.Hour, Replicas: 2, WriteAcks: 1})
	for _, text := range rest {
		w.push(text, 1, 2)
	}
	w.drain(1)
	w.run()
	if n := w.count("fetch"); n > 0 {
		t.Errorf("%d copies were moved that are behind %d others", n, len(stuck))
	}
	for range 5 {
		w.run()
	}
	for _, text := range stuck {
		w.expect(text, 1, 2, 3, 4)
	}
	for _, text := range rest {
		w.whole(text, 2, 2, 3, 4)
	}
}

// A node that is to be emptied and does not answer for long is one that is away.
func TestNodeThatIsEmptiedGoesAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5, 2)
	w.push("one", 1, 2)
	w.push("two", 1, 3)
	w.setDown(1, true)
	w.drain(1)
	w.run()
	w.whole("one", 2, 2, 3, 4, 5)
	w.pass(time.Minute)
	w.setDown(2, true)
	w.pass(time.Minute)
	w.run()
	w.pass(11 * time.Minute)
	w.run()
	w.whole("one", 2, 3, 4, 5)
	w.whole("two", 2, 3, 4, 5)
}
