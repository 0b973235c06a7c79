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

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// uploads is how many uploads lie on a node.
func (w *world) uploads(n int) (left int) {
	w.t.Helper()
	for _, err := range w.store(node(n)).Uploads(w.t.Context(), blobstore.UploadID{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		left++
	}
	return left
}

// GC R2, R10: the stamp is younger than the fetch, which may take hours, and older than the file's name.
func TestStampIsTakenBetweenFetchAndName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 2)
	w.push("bytes", 1)
	w.fetching = func(context.Context, blobstore.Incarnation, blobstore.Blob) error {
		w.pass(3 * time.Hour)
		return nil
	}
	w.run()
	w.expect("bytes", 1, 2)
	for i, want := range []string{"fetch", "round", "publish", "propose"} {
		if len(w.events) != 4 || !strings.HasPrefix(w.events[i], want) {
			t.Fatalf("did %v", w.events)
		}
	}
}

// The race of R2: the copy has its name, the leader is paused, and by the time it proposes the sweeper may
// have taken the file.
func TestCopyThatWaitedTooLongIsNotRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 2)
	w.push("bytes", 1)
	w.publishing = func(context.Context, blobstore.Incarnation) error {
		w.pass(11 * time.Minute)
		return nil
	}
	w.run()
	w.expect("bytes", 1)
	w.publishing = nil
	w.run()
	w.expect("bytes", 1, 2)
}

func TestStampNeedsARound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 2)
	w.push("bytes", 1)
	w.rounding = func() error { return errors.New("no quorum") }
	w.run()
	w.expect("bytes", 1)
	if w.count("publish") != 0 {
		t.Errorf("did %v", w.events)
	}
}

// The record has gone when the copy is there: nothing is recorded, nothing failed, and no upload is left.
func TestBlobThatIsCollectedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 2)
	w.push("bytes", 1)
	w.fetching = func(context.Context, blobstore.Incarnation, blobstore.Blob) error {
		w.collect("bytes")
		return nil
	}
	w.run()
	if b := w.blob("bytes"); len(b.Copies) != 0 {
		t.Errorf("recorded are %v", b.Copies)
	}
	if w.uploads(2) != 0 || strings.Contains(w.said.String(), "WARN") {
		t.Errorf("%d uploads are left, said %s", w.uploads(2), w.said.String())
	}
}

// A push is faster: the record is full, the copy of repair is doomed, and the blob has no copy too many.
func TestBlobThatIsPushedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 2)
	w.push("bytes", 1)
	w.fetching = func(_ context.Context, to blobstore.Incarnation, _ blobstore.Blob) error {
		w.push("bytes", 1, int(5-to[0])) //nolint:contextcheck // somebody else's push, to the other node that has no copy
		return nil
	}
	w.run()
	if n := len(w.holders("bytes")); n != 2 {
		t.Errorf("%d holders", n)
	}
	if !strings.Contains(w.said.String(), "copies=0") {
		t.Errorf("said %s", w.said.String())
	}
}

// A copy on a node that left meanwhile is not recorded; the next run finds another node.
func TestTargetThatLeavesMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 2)
	w.push("bytes", 1)
	left := 0
	w.publishing = func(_ context.Context, to blobstore.Incarnation) error {
		if left == 0 {
			left = int(to[0])
			apply(w, fsm.RetireNode{Incarnation: entry.Incarnation(to)})
		}
		return nil
	}
	w.run()
	w.expect("bytes", 1)
	w.run()
	w.expect("bytes", 1, 5-left)
}

// One blob that cannot be read keeps no other waiting, and is tried again in the next run, then less often.
func TestBlobThatCannotBeFetchedIsSetAside(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 2)
	texts := []string{"bad", "good", "better", "best"}
	for _, text := range texts {
		w.push(text, 1)
	}
	w.fetching = failOn(fmt.Errorf("read: %w", blobstore.ErrUnreachable), 0, "bad")
	w.run()
	for _, text := range texts[1:] {
		w.expect(text, 1, 2)
	}
	tried := []int{w.count("fetch") - 3}
	for range 15 {
		w.run()
		tried = append(tried, w.count("fetch")-3)
	}
	if want := []int{1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5}; !slices.Equal(tried, want) {
		t.Errorf("tries after each run: %v, want %v", tried, want)
	}
	w.fetching = nil
	for range 16 {
		w.run()
	}
	w.expect("bad", 1, 2)
}

// What the holders lack is not the target's fault.
func TestErrorOfTheSourcesBlamesNoTarget(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"nobody answers": blobstore.ErrUnreachable, "gone": blobstore.ErrCopyUnknown, "rotten": blobstore.ErrCopyDamaged, "others": blobstore.ErrDigestMismatch,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3, 2)
			for n := range 20 {
				w.push(fmt.Sprint(n), 1)
			}
			w.fetching = failOn(fmt.Errorf("fetch: %w", err), 0, "0")
			w.run()
			if n := w.count("fetch"); n != 20 {
				t.Errorf("%d fetches", n)
			}
		})
	}
}

// A target that takes nothing is passed over, and the next best takes the copies.
func TestTargetThatRefuses(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{"full": blobstore.ErrNoSpace, "offline": blobstore.ErrOffline, "broken": errDisk} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3, 2)
			for n := range 40 {
				w.push(fmt.Sprint(n), 1)
			}
			w.fetching = failOn(err, 2, "")
			w.run()
			for n := range 40 {
				w.expect(fmt.Sprint(n), 1, 3)
			}
			if n := w.count("fetch"); n > 43 {
				t.Errorf("%d fetches for 40 copies: the node that refuses was asked again and again", n)
			}
		})
	}
}

// Where no other target is left, the others wait with it, and are not tried one by one. That several fail on
// it at the same time makes the wait no longer.
func TestOnlyTargetRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 2)
	for n := range 40 {
		w.push(fmt.Sprint(n), 1)
	}
	const atOnce = 3
	var together sync.WaitGroup
	together.Add(atOnce)
	w.publishing = func(context.Context, blobstore.Incarnation) error {
		together.Done()
		together.Wait()
		return blobstore.ErrNoSpace
	}
	w.run()
	if n := w.count("fetch"); n != atOnce {
		t.Errorf("%d fetches", n)
	}
	if n := strings.Count(w.said.String(), "WARN"); n != 1 {
		t.Errorf("%d warnings in %s", n, w.said.String())
	}
	w.publishing = nil
	w.run()
	for n := range 40 {
		w.expect(fmt.Sprint(n), 1, 2)
	}
}

// As many copies are made at a time as are asked for, and no more than usual.
func TestCopiesAtATime(t *testing.T) {
	t.Parallel()
	for few, want := range map[int]int{0: 3, 1: 1, 2: 2, 9: 3} {
		w := newWorld(t, 2, 2)
		w.few = few
		w.lead()
		for n := range 10 {
			w.push(fmt.Sprint(n), 1)
		}
		var begun sync.WaitGroup
		begun.Add(want)
		var meanwhile atomic.Int32
		w.fetching = func(context.Context, blobstore.Incarnation, blobstore.Blob) error {
			if meanwhile.Add(1) <= int32(want) {
				begun.Done()
				begun.Wait() // all that may be begun are
			}
			return nil
		}
		w.run()
		if w.most != want {
			t.Errorf("AtOnce %d: %d copies at a time, want %d", few, w.most, want)
		}
	}
}

// Bytes that turn out good heal a blob that was given up as damaged.
func TestDamagedBlobIsHealed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 2)
	w.push("bytes", 1)
	at := w.blob("bytes").Copies[0].Location
	apply(w, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: packed("bytes"), Location: at})
	if !w.blob("bytes").Damaged {
		t.Fatal("not damaged")
	}
	w.run()
	w.expect("bytes", 1, 2)
	if w.blob("bytes").Damaged {
		t.Error("still damaged")
	}
}

// Leadership may end at any moment of the work: the run returns, and proposes nothing more.
func TestLeadershipEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w *world, cancel func()){
		"in a fetch": func(w *world, cancel func()) {
			w.fetching = func(ctx context.Context, _ blobstore.Incarnation, _ blobstore.Blob) error {
				cancel()
				<-ctx.Done()
				return ctx.Err()
			}
		},
		"in a round": func(w *world, cancel func()) {
			w.rounding = func() error { cancel(); return nil }
		},
		"as a copy is made": func(w *world, cancel func()) {
			w.publishing = func(ctx context.Context, _ blobstore.Incarnation) error {
				cancel()
				<-ctx.Done()
				return ctx.Err()
			}
		},
		"as it has been made": func(w *world, cancel func()) {
			w.publishing = func(context.Context, blobstore.Incarnation) error { cancel(); return nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2, 2)
			for n := range 20 {
				w.push(fmt.Sprint(n), 1)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			end(w, cancel)
			if err := w.job.Do(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			if w.busy != 0 || w.count("propose") != 0 || w.count("fetch") > 3 {
				t.Errorf("%d fetches go on, did %v", w.busy, w.events)
			}
			if strings.Contains(w.said.String(), "WARN") {
				t.Errorf("said %s", w.said.String())
			}
		})
	}
}
