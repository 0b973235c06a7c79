package gc_test

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

// Each test here is a race of GC.md: what happens between the collector's look, which has found garbage, and
// its command.

// GC R3: proposed, then a push of the same bytes renews the link, then applied.
func TestPushRenewsTheLinkBeforeItIsCollected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push("a", "layer")
	w.pass(lease)
	w.meanwhile(func() { w.push("a", "layer") })
	w.run()
	w.expect("a", "layer", true, true)
	if got := w.doomed(); got != [3]int{1, 1, 1} {
		t.Errorf("%v copies are doomed; it should be those of the first push alone", got)
	}
	apply(w, manifest("a", "manifest", "layer")) // as was promised
}

// GC R3, where the blob had no link at all: DELETE of the blob, the look, a push.
func TestPushGivesTheBlobALinkBeforeItIsCollected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push("a", "layer")
	apply(w, fsm.DeleteBlob{Repository: "a", Digest: packed("layer")})
	w.meanwhile(func() { w.push("b", "layer") })
	w.run()
	w.expect("b", "layer", true, true)
}

// GC R3 and R7: the blob is mounted elsewhere, from a repository that still has it, while the expired link of
// a third is about to take it along.
func TestMountBeforeTheLinkIsCollected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push("a", "layer")
	w.pass(lease / 2)
	w.push("b", "layer")
	w.pass(lease / 2)
	w.meanwhile(func() {
		apply(w, fsm.Mount{From: "b", To: "c", Digest: packed("layer"), Store: fsm.DefaultStore})
		apply(w, fsm.DeleteBlob{Repository: "b", Digest: packed("layer")})
	})
	w.run()
	w.expect("a", "layer", true, false)
	w.expect("c", "layer", true, true)
}

// GC R7, R8: a lease that has run out is over, collected or not. Who would rely on the link is refused, so that
// the collector takes nothing from under him.
func TestNobodyReliesOnALinkThatIsToBeCollected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push("a", "layer")
	w.pass(lease)
	refused := 0
	w.meanwhile(func() {
		_, mounted := try(w, fsm.Mount{From: "a", To: "b", Digest: packed("layer"), Store: fsm.DefaultStore})
		_, renewed := try(w, fsm.RenewLease{Repository: "a", Digest: packed("layer"), Store: fsm.DefaultStore})
		_, put := try(w, manifest("a", "manifest", "layer"))
		for err, want := range map[error]error{mounted: fsm.ErrBlobUnknown, renewed: fsm.ErrBlobUnknown, put: fsm.ErrManifestBlobUnknown} {
			if !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
			refused++
		}
	})
	w.run()
	w.expect("a", "layer", false, false)
	if refused != 3 {
		t.Errorf("%d were refused", refused)
	}
}

// GC R8, no-lease-at-zero: a manifest goes, and a push that has seen its layers comes to its end meanwhile.
func TestLeaseStartsAnewWhenTheLastManifestGoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push("a", "layer")
	apply(w, manifest("a", "first", "layer"))
	w.pass(10 * lease)
	w.run()
	w.expect("a", "layer", true, true)
	apply(w, fsm.DeleteManifest{Repository: "a", Digest: packed("first")})
	w.run()
	w.pass(lease - time.Second)
	w.run()
	w.expect("a", "layer", true, true)
	apply(w, manifest("a", "second", "layer"))
	apply(w, fsm.DeleteManifest{Repository: "a", Digest: packed("second")})
	w.pass(lease)
	w.run()
	w.expect("a", "layer", false, false)
}

// GC R16, head-never-renews: a HEAD before the lease ends has its client find the blob half a lease later.
func TestRenewedLeaseIsNotCollected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push("a", "layer")
	w.pass(lease - time.Second)
	apply(w, fsm.RenewLease{Repository: "a", Digest: packed("layer"), Store: fsm.DefaultStore})
	w.pass(lease / 2)
	w.run()
	w.expect("a", "layer", true, true)
}

// GC R3, refuse-while-doomed: new bytes of a digest need not wait until the old ones are removed, and these
// are not taken for the old ones.
func TestPushWhileTheOldCopiesAreStillThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push("a", "layer")
	w.pass(lease)
	w.run()
	w.expect("a", "layer", false, false)
	w.push("a", "layer")
	w.run()
	w.expect("a", "layer", true, true)
	if got := w.doomed(); got != [3]int{1, 1, 1} {
		t.Errorf("%v copies are doomed", got)
	}
}

// GC R6, new-id-per-put: copies that were collected are never recorded again, whoever proposes them.
func TestCollectedCopiesAreNotRecordedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cmd := w.stored("a", fsm.DefaultStore, "layer")
	apply(w, cmd)
	apply(w, fsm.DeleteBlob{Repository: "a", Digest: packed("layer")})
	w.run()
	if _, err := try(w, cmd); err == nil {
		t.Error("copies that are doomed were recorded")
	}
	w.expect("a", "layer", false, false)
}

// A new gcDelay that is longer holds at once: nothing goes that the old one would have let go.
func TestLongerLeaseBeforeTheLinkIsCollected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push("a", "layer")
	w.pass(lease)
	w.meanwhile(func() { apply(w, fsm.SetStore{Name: fsm.DefaultStore, GCDelay: 2 * lease, Replicas: 3, WriteAcks: 2}) })
	w.run()
	w.expect("a", "layer", true, true)
	if w.proposals != 1 {
		t.Errorf("%d proposals", w.proposals)
	}
}

// The first push into a repository that was found vacant.
func TestPushIntoARepositoryBeforeItIsCollected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push("a", "layer")
	apply(w, fsm.DeleteBlob{Repository: "a", Digest: packed("layer")})
	w.run() // the blob
	w.push("a", "layer")
	apply(w, fsm.DeleteBlob{Repository: "a", Digest: packed("layer")})
	w.proposed = func() error {
		if w.proposals == 4 { // the blob again, then the repository
			w.push("a", "another layer")
		}
		return nil
	}
	w.run()
	w.expect("a", "another layer", true, true)
	if !w.exists("a") || w.proposals != 4 {
		t.Errorf("the repository exists: %t, after %d proposals", w.exists("a"), w.proposals)
	}
}
