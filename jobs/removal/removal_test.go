package removal_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs/removal"
)

// GC R18: a node leaves only when W others have hashed their copies again after it was retired.
func TestNodeLeavesWhenOthersHaveHashedTheirs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 3)
	for i := range 320 { // more than two pages, and a command of 300
		w.push(fmt.Sprint("blob ", i), 1, 2, 3)
	}
	w.run(w.vouch[1], w.vouch[2], w.drop) // nobody leaves
	if w.proposals != 0 {
		t.Fatalf("%d proposals", w.proposals)
	}
	w.retire(3)
	w.run(w.drop, w.vouch[1], w.vouch[3], w.drop)
	if got := w.on(3); got != 320 || w.nodes[3].hashed != 0 {
		t.Fatalf("with one node that has hashed its copies, %d are left; the node that leaves has hashed %d of its own", got, w.nodes[3].hashed)
	}
	if err := w.leaves(); !errors.Is(err, fsm.ErrNodeHasCopies) {
		t.Fatal(err)
	}
	w.run(w.vouch[2], w.drop)
	if got := w.on(3); got != 0 {
		t.Fatalf("%d copies are left", got)
	}
	if err := w.leaves(); err != nil {
		t.Fatal(err)
	}
	if b := w.blob("blob 7"); b.Counting != 2 || b.Vouched != 2 {
		t.Errorf("%+v", b)
	}
}

// A leader that dies between two steps, and a holder that is started again: who comes after goes on.
func TestRemovalGoesOnAfterACrash(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 3)
	for i := range 200 {
		w.push(fmt.Sprint("blob ", i), 1, 2, 3)
	}
	w.retire(3)
	steps := 0
	crash := errors.New("crash")
	w.proposed = func([]byte) error {
		if steps++; steps%2 == 0 {
			return crash
		}
		return nil
	}
	for range 20 {
		for _, j := range []func(context.Context) error{w.vouch[1].Do, w.vouch[2].Do, w.drop.Do} {
			if err := j(t.Context()); err != nil && !errors.Is(err, crash) {
				t.Fatal(err)
			}
		}
		w.restart()
	}
	if err := w.leaves(); err != nil || w.on(3) != 0 {
		t.Errorf("%d copies are left, %v", w.on(3), err)
	}
}

// The race of R18: A.1 is rotten and counts; C leaves because of it, and one true copy is left.
func TestRottenCopyKeepsTheNode(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(w *world){
		"rotten": func(w *world) {
			if err := w.nodes[1].Damage(w.copyOn("bad", 1), 0); err != nil {
				t.Error(err)
			}
		},
		"gone": func(w *world) {
			if err := w.nodes[1].RemoveCopies(t.Context(), w.copyOn("bad", 1)); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3, 3)
			w.push("bad", 1, 2, 3)
			w.push("good", 1, 2, 3)
			spoil(w)
			w.retire(3)
			w.run(w.vouch[1], w.vouch[2], w.drop)
			if b := w.blob("bad"); w.on(3) != 1 || b.Counting != 1 || b.Damaged {
				t.Fatalf("%d copies are left, %+v", w.on(3), b)
			}
			if w.suspects != 1 || !strings.Contains(w.said.String(), "copies=1") {
				t.Errorf("said %s", w.said.String())
			}
			w.repair("bad", 1)
			w.run(w.vouch[1], w.vouch[2], w.drop)
			if err := w.leaves(); err != nil {
				t.Error(err)
			}
		})
	}
}

// What was hashed before another node was retired says nothing of it: both could leave because of each other.
func TestAnotherNodeLeavesWhileCopiesAreHashed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, 3)
	w.push("one", 1, 2, 3)
	w.retire(3)
	w.nodes[1].verifying = func(blobstore.Blob) error {
		w.nodes[1].verifying = nil
		w.retire(4)
		return nil
	}
	w.run(w.vouch[1])
	if b := w.blob("one"); b.Vouched != 0 {
		t.Fatalf("%+v", b)
	}
	w.run(w.vouch[1], w.vouch[2], w.drop)
	if w.on(3) != 0 || w.nodes[1].hashed != 2 {
		t.Errorf("%d copies are left, hashed %d times", w.on(3), w.nodes[1].hashed)
	}
}

// GC R13: a disk that is not mounted has lost no copy.
func TestStoreThatIsOfflineGivesNothingUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 3)
	w.push("one", 1, 2, 3)
	w.retire(3)
	n := w.nodes[1]
	n.verifying = func(blobstore.Blob) error { n.offline = true; return blobstore.ErrCopyUnknown }
	if err := w.vouch[1].Do(t.Context()); !errors.Is(err, blobstore.ErrOffline) {
		t.Errorf("%v", err)
	}
	if b := w.blob("one"); len(b.Copies) != 3 || w.suspects != 0 {
		t.Fatalf("%+v", b)
	}
	n.verifying, n.offline = nil, false
	w.run(w.vouch[1], w.vouch[2], w.drop)
	if w.on(3) != 0 {
		t.Errorf("%d copies are left", w.on(3))
	}
}

func TestCopyThatCannotBeReadKeepsNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 3)
	for _, text := range []string{"a", "b", "c", "d"} {
		w.push(text, 1, 2, 3)
	}
	w.retire(3)
	n := w.nodes[1]
	n.verifying = func(b blobstore.Blob) error {
		if b.Digest == packed("a").Unpack() || b.Digest == packed("b").Unpack() {
			return errors.New("too many open files")
		}
		return nil
	}
	w.run(w.vouch[1], w.vouch[2], w.drop)
	if w.on(3) != 2 || strings.Count(w.said.String(), "too many open files") != 1 {
		t.Errorf("%d copies are left, said %s", w.on(3), w.said.String())
	}
	n.verifying = nil
	w.run(w.vouch[1], w.drop)
	if w.on(3) != 0 {
		t.Errorf("%d copies are left", w.on(3))
	}
}

// The last good copy is on the node that leaves, and a bad one is the last elsewhere: nothing goes.
func TestBlobWithOneGoodCopyKeepsTheNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 2)
	w.push("one", 1, 3)
	if err := w.nodes[1].Damage(w.copyOn("one", 1), 0); err != nil {
		t.Fatal(err)
	}
	w.retire(3)
	for range 3 {
		w.run(w.vouch[1], w.vouch[2], w.drop)
	}
	if b := w.blob("one"); w.on(3) != 1 || len(b.Copies) != 1 {
		t.Errorf("%+v", b)
	}
	if w.proposals != 0 || w.suspects != 1 {
		t.Errorf("%d proposals, %d suspects for one bad copy", w.proposals, w.suspects)
	}
}

// Enough others are vouched for: the rest need not be read.
func TestNoMoreIsHashedThanIsNeeded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, 4)
	w.push("one", 1, 2, 3, 4)
	w.retire(4)
	w.run(w.vouch[1], w.vouch[2], w.vouch[3], w.drop)
	if w.nodes[3].hashed != 0 || w.on(4) != 0 {
		t.Errorf("the third node hashed %d, %d are left", w.nodes[3].hashed, w.on(4))
	}
}

// Two nodes leave at once; what one of them waits for does not keep the other.
func TestTwoNodesLeave(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, 2)
	for i := range 160 {
		w.push(fmt.Sprint("on three ", i), 1, 3)
		w.push(fmt.Sprint("on four ", i), 1, 2, 4)
	}
	w.retire(3)
	w.retire(4)
	w.run(w.vouch[1], w.vouch[2], w.drop)
	if w.on(3) != 160 || w.on(4) != 0 {
		t.Fatalf("%d and %d are left", w.on(3), w.on(4))
	}
	for i := range 160 {
		w.repair(fmt.Sprint("on three ", i), 2)
	}
	w.run(w.vouch[1], w.drop)
	if w.on(3) != 0 {
		t.Errorf("%d are left", w.on(3))
	}
}

// A run ends when it has looked in vain for long, and the next goes on behind: in the end all were looked at.
func TestRunThatLooksInVainEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 3)
	w.idle = 150 // one page
	w.restart()
	for i := range 600 {
		w.push(fmt.Sprint("blob ", i), 1, 2, 3)
	}
	w.retire(3)
	for range 3 {
		w.run(w.drop)
		if strings.Contains(w.said.String(), "leaving") {
			t.Fatal("a run went through all")
		}
	}
	w.run(w.drop, w.drop)
	if got := w.said.String(); !strings.Contains(got, "copies=600") {
		t.Errorf("said %q", got)
	}
	w.run(w.vouch[1], w.vouch[2], w.drop) // work is no idling
	if w.on(3) != 0 {
		t.Errorf("%d are left", w.on(3))
	}
}

// What it waits for is said when it changes, not every few seconds.
func TestWaitingIsSaidOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 3)
	w.push("one", 1, 2, 3)
	w.push("two", 1, 2, 3)
	w.retire(3)
	for range 5 {
		w.run(w.drop)
	}
	if got := strings.Count(w.said.String(), "leaving nodes keep copies"); got != 1 {
		t.Errorf("said %d times: %s", got, w.said.String())
	}
}

// The node was ended between the look and the command.
func TestNodeThatHasGoneMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 3)
	w.push("one", 1, 2, 3)
	w.retire(3)
	w.run(w.vouch[1], w.vouch[2])
	w.proposed = func([]byte) error {
		w.proposed = nil
		apply(w, fsm.DropNode{Incarnation: node(3), Lost: true})
		return nil
	}
	w.run(w.drop)
	w.nodes[1].hashed = 0
	w.retire(2) // and one that holds copies is no member any more
	w.run(w.vouch[2])
	if w.nodes[2].hashed != 1 {
		t.Errorf("hashed %d", w.nodes[2].hashed)
	}
}

// GC R18, R19: what is recorded of a node that is gone is cleared, however much it is.
func TestNodeThatIsGoneIsCleared(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 3)
	for i := range 300 { // more than one command clears
		w.push(fmt.Sprint("blob ", i), 1, 3)
	}
	w.push("doomed", 1, 2, 3)
	apply(w, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: packed("doomed"), Location: fsm.Location{Incarnation: node(3), Copy: fsm.CopyID(w.copyOn("doomed", 3))}})
	w.run(w.clear)
	if w.proposals != 0 {
		t.Fatalf("%d proposals with nobody gone", w.proposals)
	}
	apply(w, fsm.DropNode{Incarnation: node(3), Lost: true})
	w.run(w.clear)
	w.view(func(v fsm.View) {
		if left := v.Uncleared(); len(left) != 0 {
			t.Errorf("left are %v", left)
		}
	})
	if w.on(3) != 0 || w.blob("blob 1").Counting != 1 || w.proposals < 3 {
		t.Errorf("%d locations are left, %d proposals", w.on(3), w.proposals)
	}
}

func TestClearEndsWithItsTerm(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 3)
	w.push("one", 1, 3)
	apply(w, fsm.DropNode{Incarnation: node(3), Lost: true})
	deposed := errors.New("not the leader")
	w.proposed = func([]byte) error { return deposed }
	if err := w.clear.Do(t.Context()); !errors.Is(err, deposed) {
		t.Error(err)
	}
}

func TestNewNeedsItsParts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 2)
	whole := removal.Deps{Store: fsm.DefaultStore, State: w.state, Proposer: w, Blobs: w.nodes[1], Suspect: func(blobstore.CopyID) {}}
	for name, take := range map[string]func(d *removal.Deps){
		"state": func(d *removal.Deps) { d.State = nil }, "proposer": func(d *removal.Deps) { d.Proposer = nil },
		"store": func(d *removal.Deps) { d.Store = "" }, "blobs": func(d *removal.Deps) { d.Blobs = nil },
		"suspect": func(d *removal.Deps) { d.Suspect = nil },
	} {
		d := whole
		take(&d)
		if _, err := removal.NewVouch(d); err == nil {
			t.Errorf("vouch without %s", name)
		}
		_, drop := removal.NewDrop(d)
		_, cleared := removal.NewClear(d)
		alone := name == "blobs" || name == "suspect" // of vouch
		if (drop == nil) != alone || (cleared == nil) != (alone || name == "store") {
			t.Errorf("without %s: %v, %v", name, drop, cleared)
		}
	}
}
