package move_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs/move"
)

// All blobs of the repositories that are moved come over, those of others stay, and what is there is not brought again.
func TestMove(t *testing.T) {
	w := newWorld(t)
	var texts []string
	for i := range 450 { // three pages
		texts = append(texts, fmt.Sprint("blob ", i))
		w.push("default", "a", texts[i])
	}
	w.push("default", "b", "blob 7")
	w.push("default", "b", "")
	w.push("default", "c", "blob 8")
	w.push("new", "d", "blob 9")
	w.moveTo("new", "a", "b")
	w.run()
	w.still()
	w.expect("a", "new", texts...)
	w.expect("b", "new", "blob 7", "")
	w.expect("c", "default", "blob 8")
	events := w.did()
	opened := slices.DeleteFunc(slices.Clone(events), func(e string) bool { return e != "open in default" })
	if len(opened) != 450 { // all but blob 9, which is there, and blob 7 once
		t.Errorf("%d blobs were brought", len(opened))
	}
	w.run()
	if left := w.did(); len(left) > 0 {
		t.Errorf("when all is done: %v", left)
	}
}

// As many blobs are moved at a time as are asked for, and no more than usual.
func TestBlobsAtATime(t *testing.T) {
	for few, want := range map[int]int32{0: 3, 1: 1, 2: 2, 9: 3} {
		w := newWorld(t)
		w.few = few
		w.lead()
		for i := range 10 {
			w.push("default", "a", fmt.Sprint(i))
		}
		w.moveTo("new", "a")
		var begun sync.WaitGroup
		begun.Add(int(want))
		var first, now atomic.Int32
		var counting sync.Mutex
		most := int32(0)
		w.opening = func(string, digest.Digest) error {
			n := now.Add(1)
			counting.Lock()
			most = max(most, n)
			counting.Unlock()
			if first.Add(1) <= want {
				begun.Done()
				begun.Wait() // all that may be begun are
			}
			now.Add(-1)
			return nil
		}
		w.run()
		if most != want {
			t.Errorf("AtOnce %d: %d blobs at a time, want %d", few, most, want)
		}
	}
}

// The stamp is taken when the bytes are there, and before they have a name (GC R10).
func TestStampIsTakenBetweenFinishAndPublish(t *testing.T) {
	w := newWorld(t)
	w.push("default", "a", "x")
	w.moveTo("new", "a")
	w.run()
	want := []string{"open in default", "finish in new", "round", "publish in new", "propose"}
	if have := w.did(); !slices.Equal(have, want) {
		t.Errorf("%v, want %v", have, want)
	}
}

// The bytes were on their way when the link was deleted: nothing is recorded.
func TestLinkThatIsDeletedMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.push("default", "a", "x")
	w.moveTo("new", "a")
	w.publishing = func() error {
		apply(w, fsm.DeleteBlob{Repository: "a", Digest: packed("x")})
		return nil
	}
	w.run()
	w.still()
	w.view(func(v fsm.View) {
		if b, known := v.Blob("new", packed("x")); known {
			t.Errorf("%+v", b)
		}
	})
}

// Or when it was pushed anew, to the new store.
func TestPushComesFirst(t *testing.T) {
	w := newWorld(t)
	w.push("default", "a", "x")
	w.moveTo("new", "a")
	w.publishing = func() error { w.push("new", "a", "x"); return nil }
	w.run()
	w.still()
	w.expect("a", "new", "x")
}

// Or when the repository was moved back, or on.
func TestMovedElsewhereMeanwhile(t *testing.T) {
	for _, to := range []string{"default", "third"} {
		w := newWorld(t)
		w.push("default", "a", "x")
		w.push("default", "a", "y")
		w.moveTo("new", "a")
		w.run()
		w.push("default", "a", "z") // by an upload that began before
		w.publishing = func() error {
			w.publishing = nil
			w.moveTo(to, "a")
			return nil
		}
		w.run()
		w.run()
		w.still()
		w.expect("a", to, "x", "y", "z")
	}
}

// What cannot be read stays where it is, and does not keep the others from coming over. It is tried again, less and
// less often, and a push heals it.
func TestBlobThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, text := range []string{"x", "y", "z"} {
			w.push("default", "a", text)
		}
		bad := true
		w.opening = func(_ string, d digest.Digest) error {
			if bad && d == digest.FromString("y") {
				return blobstore.ErrCopyDamaged
			}
			return nil
		}
		w.moveTo("new", "a")
		tries := 0
		for range 120 { // minutes
			if err := w.job.Do(t.Context()); !errors.Is(err, blobstore.ErrCopyDamaged) || !strings.Contains(err.Error(), packed("y").String()) {
				t.Fatalf("the run says %v", err)
			}
			for _, e := range w.did() {
				if e == "open in default" {
					tries++
				}
			}
			time.Sleep(time.Minute)
		}
		if tries < 6 || tries > 15 {
			t.Errorf("it was tried %d times in two hours", tries)
		}
		w.still("a")
		w.expect("a", "new", "x", "z")
		w.expect("a", "default", "y")
		w.lead() // another leader knows nothing of it
		bad = false
		w.run()
		w.still()
		w.expect("a", "new", "y")
	})
}

// A leader loses its term in the middle: nothing of its work is left behind, and the next goes on.
func TestNextLeaderGoesOn(t *testing.T) {
	w := newWorld(t)
	for i := range 20 {
		w.push("default", "a", fmt.Sprint(i))
	}
	w.moveTo("new", "a")
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	w.proposing = func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if n++; n > 5 {
			cancel()
			return errors.New("not the leader")
		}
		return nil
	}
	if err := w.job.Do(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("it says %v", err)
	}
	w.still("a")
	w.proposing = nil
	w.lead()
	w.run()
	w.still()
}

// Nobody knows what became of a command. Its copies are not proposed again: the state says whether it was applied.
func TestOutcomeUnknown(t *testing.T) {
	w := newWorld(t)
	w.push("default", "a", "x")
	w.moveTo("new", "a")
	w.proposed = func() error { return errors.New("leadership lost") }
	w.run() // it was applied
	w.still()
	w.proposed = nil
	w.did()
	w.run()
	if events := w.did(); len(events) > 0 {
		t.Errorf("%v", events)
	}
}

// What nobody refers to any more costs no bytes, and the move does not wait for its collection.
func TestExpiredLinks(t *testing.T) {
	w := newWorld(t)
	w.push("default", "a", "x")
	w.pass(2 * time.Hour)
	w.push("default", "a", "y")
	w.moveTo("new", "a")
	w.run()
	w.still()
	w.expect("a", "new", "y")
	opened := slices.DeleteFunc(w.did(), func(e string) bool { return e != "open in default" })
	if len(opened) != 1 {
		t.Errorf("%d blobs were brought", len(opened))
	}
}

// A disk that is nearly full takes no more.
func TestFullStore(t *testing.T) {
	w := newWorld(t)
	w.push("default", "a", "x")
	w.push("new", "b", strings.Repeat("much", 25))
	w.moveTo("new", "a")
	w.stores["new"].SetCapacity(110) // x has room in it
	if err := w.job.Do(t.Context()); !errors.Is(err, blobstore.ErrNoSpace) {
		t.Errorf("it says %v", err)
	}
	w.still("a")
	w.expect("a", "default", "x")
}

// The leader's file lacks a store.
func TestStoreThatThisNodeHasNot(t *testing.T) {
	w := newWorld(t)
	w.push("default", "a", "x")
	apply(w, fsm.SetStore{Name: "other", GCDelay: time.Hour, Replicas: 1, WriteAcks: 1})
	w.moveTo("other", "a")
	if err := w.job.Do(t.Context()); err == nil || !strings.Contains(err.Error(), "must have the stores default and other") {
		t.Errorf("it says %v", err)
	}
	w.moveTo("new", "a") // which does not wait for what failed before
	w.run()
	w.still()
}

// Between two runs the job sees what is to be moved at once, and does not spin for what cannot be.
func TestWorkIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.push("default", "a", "x")
		seen := func(within time.Duration) bool {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			w.job.Early(ctx)
			return ctx.Err() == nil
		}
		if seen(time.Hour) {
			t.Error("there is nothing to do")
		}
		w.moveTo("new", "a")
		if !seen(2 * time.Second) {
			t.Error("it is not seen")
		}
		w.stores["new"].SetCapacity(0)
		_ = w.job.Do(t.Context())
		if seen(time.Hour) {
			t.Error("it is seen though the run has just seen it")
		}
		w.push("default", "a", "y")
		if !seen(2 * time.Second) {
			t.Error("what came over is not seen")
		}
		_ = w.job.Do(t.Context())
		w.moveTo("third", "a")
		if !seen(2 * time.Second) {
			t.Error("that it goes elsewhere is not seen")
		}
		w.run()
		w.still()
	})
}

func TestNewNeedsItsParts(t *testing.T) {
	if _, err := move.New(move.Deps{}); err == nil {
		t.Error("made of nothing")
	}
}
