package scrub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs/scrub"
)

func TestBadCopyIsGivenUp(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, s *shelf){
		"rotten": func(_ *testing.T, s *shelf) { s.rot("one") },
		"gone": func(t *testing.T, s *shelf) {
			if err := s.RemoveCopies(t.Context(), s.copyOf("one")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3, 3)
			w.push("one", 1, 2, 3)
			n := w.nodes[1]
			spoil(t, n)
			n.suspect("one")
			if got := w.holders("one"); got != "2 3" || w.blob("one").Damaged {
				t.Errorf("copies are on %s, %+v", got, w.blob("one"))
			}
			if !n.has("ERROR", "given up", packed("one").String()) {
				t.Errorf("said %s", n.said.String())
			}
			if b, err := os.ReadFile(n.ledger()); err != nil || !strings.Contains(string(b), packed("one").String()) {
				t.Errorf("the ledger says %s, %v", b, err)
			}
		})
	}
}

// Two of three are rotten, then the last too: it is kept, and the blob is damaged until somebody pushes it.
func TestLastCopyIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 3)
	w.push("one", 1, 2, 3)
	w.image(repository, "an image", "v1", []string{"one"}, nil)
	w.image(repository, "an index", "all", nil, []string{"an image"})
	for _, n := range []int{1, 2} {
		w.nodes[n].rot("one")
		w.nodes[n].suspect("one")
	}
	last := w.nodes[3]
	last.suspect("one")
	if w.holders("one") != "3" || w.blob("one").Damaged || !last.has("INFO", "good") {
		t.Fatalf("copies are on %s, %+v", w.holders("one"), w.blob("one"))
	}
	last.rot("one")
	last.suspect("one")
	if w.holders("one") != "3" || !w.blob("one").Damaged {
		t.Fatalf("copies are on %s, %+v", w.holders("one"), w.blob("one"))
	}
	if !last.has("ERROR", "damaged", "a/b:v1", "a/b:all") {
		t.Errorf("said %s", last.said.String())
	}
	hashed, proposals := len(last.hashed), w.proposals
	last.suspect("one") // every reader says so
	if len(last.hashed) != hashed || w.proposals != proposals {
		t.Errorf("judged again: hashed %d times, %d proposals", len(last.hashed)-hashed, w.proposals-proposals)
	}
	w.push("one", 1, 2, 3) // new copies, whose rot is judged anew
	last.rot("one")
	last.suspect("one")
	if w.holders("one") != "1 2" || w.blob("one").Damaged {
		t.Errorf("copies are on %s, %+v", w.holders("one"), w.blob("one"))
	}
}

// What the state does not have, or no more, is the sweeper's.
func TestSuspectsThatAreNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 2)
	w.push("one", 1, 2)
	n := w.nodes[1]
	id := n.copyOf("one")
	apply(w, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: packed("one"), Location: fsm.Location{Incarnation: node(1), Copy: fsm.CopyID(id)}})
	n.suspects.Add(id)
	n.suspects.Add(blobstore.CopyID{1, 2, 3})
	n.suspects.Add(w.nodes[2].copyOf("one"))
	n.do(n.settle)
	if len(n.hashed) != 0 || w.proposals != 0 {
		t.Errorf("hashed %d, %d proposals", len(n.hashed), w.proposals)
	}
}

// GC R13: a disk that is gone has lost no copy. The suspects are judged when it is back.
func TestOfflineStoreGivesNothingUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 2)
	w.push("one", 1, 2)
	n := w.nodes[1]
	n.rot("one")
	n.verifying = func(blobstore.Blob) error { n.offline = true; return blobstore.ErrCopyUnknown }
	n.suspects.Add(n.copyOf("one"))
	if err := n.settle.Do(t.Context()); !errors.Is(err, blobstore.ErrOffline) {
		t.Errorf("%v", err)
	}
	if w.proposals != 0 {
		t.Fatalf("copies are on %s", w.holders("one"))
	}
	n.offline, n.verifying = false, nil
	n.do(n.settle)
	if w.holders("one") != "2" {
		t.Errorf("copies are on %s", w.holders("one"))
	}
}

// Errors that say nothing of a copy, and a cluster without a leader: the suspect stays, and keeps no other.
func TestSuspectThatCannotBeJudgedStays(t *testing.T) {
	t.Parallel()
	busy := errors.New("too many open files")
	nobody := errors.New("nobody leads")
	for name, test := range map[string]struct {
		fail func(w *world, on bool)
		want error
		keep bool // the others
	}{
		"not to be read": {func(w *world, on bool) {
			w.nodes[1].verifying = func(b blobstore.Blob) error {
				if on && b.Digest == packed("one").Unpack() {
					return busy
				}
				return nil
			}
		}, busy, false},
		"no leader": {func(w *world, on bool) {
			w.proposed = func([]byte) error {
				if on {
					return nobody
				}
				return nil
			}
		}, nobody, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2, 2)
			n := w.nodes[1]
			for _, text := range []string{"one", "two", "three"} {
				w.push(text, 1, 2)
				n.rot(text)
				n.suspects.Add(n.copyOf(text))
			}
			test.fail(w, true)
			if err := n.settle.Do(t.Context()); !errors.Is(err, test.want) {
				t.Errorf("%v", err)
			}
			if got := w.holders("one") + "," + w.holders("two") + "," + w.holders("three"); (got == "1 2,2,2") == test.keep {
				t.Errorf("copies are on %s", got)
			}
			test.fail(w, false)
			n.do(n.settle)
			for _, text := range []string{"one", "two", "three"} {
				if w.holders(text) != "2" {
					t.Errorf("copies of %s are on %s", text, w.holders(text))
				}
			}
		})
	}
}

// Another push came between the look and the command.
func TestCopyThatIsDoomedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 2)
	w.push("one", 1, 2)
	n := w.nodes[1]
	n.rot("one")
	w.proposed = func([]byte) error {
		w.proposed = nil
		w.push("one", 1, 2)
		return nil
	}
	n.suspect("one")
	if w.holders("one") != "1 2" || n.has("given up") {
		t.Errorf("copies are on %s, said %s", w.holders("one"), n.said.String())
	}
}

// pushed are so many blobs with copies on the first two nodes.
func pushed(w *world, count int) (texts []string) {
	w.t.Helper()
	on := []int{1, 2}[:min(2, len(w.nodes))]
	for i := range count {
		texts = append(texts, fmt.Sprint("blob ", i))
		w.push(texts[i], on...)
	}
	return texts
}

// left is how many of the blobs a node still has.
func (s *shelf) left() (n int) {
	s.world.t.Helper()
	err := s.world.state.View(func(v fsm.View) error {
		n = len(v.On(node(s.n), fsm.BlobName{}, 1_000_000))
		return nil
	})
	if err != nil {
		s.world.t.Fatal(err)
	}
	return n
}

// Too many bad copies are no rot: nothing more is given up until somebody has looked, whoever restarts what.
func TestTooManyBadCopies(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ copies, bad, givenUp int }{
		"few of few":           {30, 10, 10},
		"many of few":          {30, 11, 10},
		"a hundredth":          {1300, 13, 13},
		"more than that":       {1300, 20, 13},
		"less than a page bad": {250, 40, 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2, 2)
			n := w.nodes[1]
			texts := pushed(w, test.copies)
			n.rot(texts[:test.bad]...)
			n.suspect(texts[:test.bad]...)
			if got := test.copies - n.left(); got != test.givenUp {
				t.Fatalf("%d were given up, want %d", got, test.givenUp)
			}
			stopped := test.bad > test.givenUp
			if n.has("ERROR", "too many", n.ledger()) != stopped {
				t.Errorf("said %s", n.said.String())
			}
			if !stopped {
				return
			}
			n.do(n.settle)
			if n.count("too many") != 1 {
				t.Errorf("said %d times", n.count("too many"))
			}
			hashed := len(n.hashed)
			n.restart()
			for _, text := range texts[:test.bad] {
				if strings.HasPrefix(w.holders(text), "1") {
					n.suspect(text)
					break
				}
			}
			if n.count("too many") != 2 || len(n.hashed) != hashed || test.copies-n.left() != test.givenUp {
				t.Errorf("after a restart said %d times, hashed %d, given up %d", n.count("too many"), len(n.hashed)-hashed, test.copies-n.left())
			}
			remove(t, n.ledger()) // somebody has looked
			n.do(n.settle)
			if got := test.copies - n.left(); got != test.givenUp+1 {
				t.Errorf("%d were given up then", got)
			}
		})
	}
}

// A disk on which copies rot one by one, over weeks, is not stopped; 100 in a day are too many for any store.
func TestWhatWasGivenUpLongAgoDoesNotCount(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		ago, every time.Duration
		stopped    bool
	}{
		"an hour ago":                    {time.Hour, day, true},
		"a day and a half ago":           {36 * time.Hour, day, false},
		"two days ago, scrubbed weekly":  {2 * day, 7 * day, true},
		"an hour ago, nothing is hashed": {time.Hour, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2, 2)
			n := w.nodes[1]
			n.every = test.every
			n.restart()
			texts := pushed(w, 20)
			n.rot(texts[0])
			type entry struct {
				At time.Time `json:"at"`
			}
			all := make([]entry, 100)
			for i := range all {
				all[i].At = time.Now().Add(-test.ago)
			}
			b, err := json.Marshal(map[string]any{"givenUp": all})
			if err == nil {
				err = os.WriteFile(n.ledger(), b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			n.suspect(texts[0])
			if (n.left() == 20) != test.stopped {
				t.Errorf("%d are left, said %s", n.left(), n.said.String())
			}
		})
	}
}

// What was given up cannot be read: nothing more is, for it might be too much.
func TestLedgerThatCannotBeRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 2)
	w.push("one", 1, 2)
	n := w.nodes[1]
	n.rot("one")
	if err := os.WriteFile(n.ledger(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.suspects.Add(n.copyOf("one"))
	if err := n.settle.Do(t.Context()); err == nil || !strings.Contains(err.Error(), n.ledger()) || w.proposals != 0 {
		t.Errorf("%v, %d proposals", err, w.proposals)
	}
	remove(t, n.ledger())
	n.do(n.settle)
	if w.holders("one") != "2" {
		t.Errorf("copies are on %s", w.holders("one"))
	}
}

func TestSuspectsAreFewAndDistinct(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 2)
	n := w.nodes[1]
	texts := pushed(w, 1100)
	for range 3 {
		for _, text := range texts {
			n.suspects.Add(n.copyOf(text))
		}
	}
	n.do(n.settle)
	if len(n.hashed) != 1000 {
		t.Errorf("hashed %d", len(n.hashed))
	}
	n.hashed = nil
	n.suspect(texts[0])
	if len(n.hashed) != 1 {
		t.Errorf("hashed %d once they were judged", len(n.hashed))
	}
}

// The job waits for suspects, and for nothing else.
func TestSettleEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.nodes[1].settle.Do(ctx) }()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNewNeedsItsParts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	whole := scrub.Deps{Store: fsm.DefaultStore, Dir: t.TempDir(), State: w.state, Proposer: w, Blobs: w.nodes[1], Suspects: scrub.NewSuspects()}
	for name, take := range map[string]func(d *scrub.Deps){
		"store": func(d *scrub.Deps) { d.Store = "" }, "dir": func(d *scrub.Deps) { d.Dir = "" },
		"state": func(d *scrub.Deps) { d.State = nil }, "proposer": func(d *scrub.Deps) { d.Proposer = nil },
		"blobs": func(d *scrub.Deps) { d.Blobs = nil }, "suspects": func(d *scrub.Deps) { d.Suspects = nil },
		"interval": func(d *scrub.Deps) { d.Every = -1 },
	} {
		d := whole
		take(&d)
		if _, err := scrub.New(d); err == nil {
			t.Errorf("without %s", name)
		}
	}
	if all, err := scrub.New(whole); err != nil || len(all) != 1 {
		t.Errorf("without an interval: %d jobs, %v", len(all), err)
	}
}
