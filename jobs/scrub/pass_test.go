package scrub_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// inTime runs a test whose clock stands still while anything is at work.
func inTime(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, test)
}

// once reports whether all of these were hashed once.
func (s *shelf) once(texts []string) bool {
	var want []digest.Digest
	for _, text := range texts {
		want = append(want, digest.FromString(text))
	}
	slices.Sort(want)
	have := slices.Sorted(slices.Values(s.hashed))
	return slices.Equal(have, want)
}

// note is the file in which a node keeps how far it is.
func (s *shelf) note() string { return filepath.Join(s.dir, "scrub-default.json") }

// Every copy of this node is hashed once in an interval, not more often, and no other node's.
func TestPass(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, 2, 2)
		n := w.nodes[1]
		texts := pushed(w, 450)
		w.push("elsewhere", 2)
		began := time.Now()
		for range 3 {
			n.hashed = nil
			n.do(n.pass)
			if !n.once(texts) {
				t.Fatalf("hashed %d", len(n.hashed))
			}
			if took := time.Since(began); took < day*8/10 || took > day*9/10 {
				t.Errorf("it took %s", took)
			}
			n.restart()
			n.do(n.pass) // too soon
			time.Sleep(day - time.Since(began))
			began = time.Now()
			if len(n.hashed) != len(texts) {
				t.Fatalf("hashed %d in an interval", len(n.hashed))
			}
		}
		if n.count("scrub ended", "copies=450", "bad=0") != 3 || n.has("longer than") {
			t.Errorf("said %s", n.said.String())
		}
	})
}

// It is spread over the interval by bytes, so that no disk is busy at one time and idle at another.
func TestPassIsSpread(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		n := w.nodes[1]
		for i := range 100 {
			w.push(fmt.Sprint("small ", i), 1)
		}
		large := string(make([]byte, 100*256<<10)) // as much as the small ones cost together
		w.push(large, 1)
		began, last := time.Now(), time.Now()
		n.verifying = func(b blobstore.Blob) error {
			share := time.Since(last).Seconds() / (day * 9 / 10).Seconds()
			if want := float64(b.Size+256<<10) / float64(201*256<<10); share < want*0.98 || share > want*1.02 {
				t.Errorf("a blob of %d bytes has %.4f of the time, want %.4f", b.Size, share, want)
			}
			last = time.Now()
			return nil
		}
		n.do(n.pass)
		if took := time.Since(began); took < day*9/10-time.Second || took > day*9/10 {
			t.Errorf("it took %s", took)
		}
	})
}

// A restart costs what was hashed in the last minute, and the pass still ends in time. What was not there is
// not waited for.
func TestPassGoesOnAfterARestart(t *testing.T) {
	for name, test := range map[string]struct {
		away time.Duration
		took time.Duration
		late bool
	}{
		"soon":         {time.Minute, day * 9 / 10, false},
		"after hours":  {6 * time.Hour, day * 9 / 10, false},
		"late":         {12 * time.Hour, 12*time.Hour + day*45/100, false},
		"after a week": {7 * day, 7*day + day*45/100, true},
	} {
		t.Run(name, func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				w := newWorld(t, 1, 1)
				n := w.nodes[1]
				texts := pushed(w, 450)
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), day*45/100)
				defer cancel()
				if err := n.pass.Do(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
				half := len(n.hashed)
				if half < 220 || half > 230 {
					t.Fatalf("hashed %d in half of the time", half)
				}
				time.Sleep(test.away)
				n.restart()
				n.do(n.pass)
				if !n.once(texts) {
					t.Errorf("hashed %d", len(n.hashed))
				}
				if took := time.Since(began); took > test.took || took < test.took-10*time.Minute {
					t.Errorf("it took %s, want %s", took, test.took)
				}
				if n.has("longer than its interval") != test.late {
					t.Errorf("said %s", n.said.String())
				}
			})
		})
	}
}

// All that is read waits for the node's pace, whose error ends the pass.
func TestPassAsksThePace(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		n := w.nodes[1]
		asked := 0
		enough := errors.New("enough")
		n.pace = func(_ context.Context, bytes int) error {
			if asked += bytes; asked > 10<<20 {
				return enough
			}
			return nil
		}
		n.restart()
		for i := range 100 {
			w.push(fmt.Sprint(i, string(make([]byte, 1<<20))), 1)
		}
		if err := n.pass.Do(t.Context()); !errors.Is(err, enough) || len(n.hashed) < 7 || len(n.hashed) > 9 {
			t.Errorf("hashed %d, %v", len(n.hashed), err)
		}
	})
}

// GC R13: a store that is offline is not hashed, and goes on where it was.
func TestPassWaitsForItsStore(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		n := w.nodes[1]
		texts := pushed(w, 10)
		n.offline = true
		if err := n.pass.Do(t.Context()); !errors.Is(err, blobstore.ErrOffline) || len(n.hashed) != 0 {
			t.Errorf("hashed %d, %v", len(n.hashed), err)
		}
		n.offline = false
		n.verifying = func(blobstore.Blob) error { // it goes as a copy is opened
			n.offline, n.verifying = true, nil
			return blobstore.ErrCopyUnknown
		}
		if err := n.pass.Do(t.Context()); !errors.Is(err, blobstore.ErrOffline) {
			t.Errorf("%v", err)
		}
		n.offline, n.hashed = false, nil
		n.do(n.pass)
		if !n.once(texts) || !n.has("scrub ended", "bad=0") {
			t.Errorf("hashed %d, said %s", len(n.hashed), n.said.String())
		}
	})
}

// What is bad is handed on, not given up here; what was taken away meanwhile is not bad.
func TestPassFindsBadCopies(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, 2, 2)
		n := w.nodes[1]
		pushed(w, 20)
		n.rot("blob 7")
		if err := n.RemoveCopies(t.Context(), n.copyOf("blob 8")); err != nil {
			t.Fatal(err)
		}
		n.verifying = func(b blobstore.Blob) error {
			if b.Digest != packed("blob 9").Unpack() {
				return nil
			}
			w.push("blob 9", 1, 2) // whose old copies go
			return blobstore.ErrCopyUnknown
		}
		n.do(n.pass)
		if w.proposals != 0 || !n.has("scrub ended", "copies=20", "bad=2") {
			t.Errorf("%d proposals, said %s", w.proposals, n.said.String())
		}
		n.verifying = nil
		n.do(n.settle)
		if w.holders("blob 7") != "2" || w.holders("blob 8") != "2" || w.holders("blob 9") != "1 2" {
			t.Errorf("copies are on %s, %s, %s", w.holders("blob 7"), w.holders("blob 8"), w.holders("blob 9"))
		}
	})
}

func TestPassIsKeptByNoCopy(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		n := w.nodes[1]
		pushed(w, 20)
		n.verifying = func(blobstore.Blob) error { return errors.New("too many open files") }
		n.do(n.pass)
		if !n.has("scrub ended", "copies=20", "bad=0", "unsure=20") || n.count("too many open files") != 1 {
			t.Errorf("said %s", n.said.String())
		}
	})
}

// The clock was put back.
func TestPassThatBeganInTheFuture(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		n := w.nodes[1]
		texts := pushed(w, 10)
		began := time.Now()
		if err := os.WriteFile(n.note(), fmt.Appendf(nil, `{"began": %q}`, began.Add(3*day).Format(time.RFC3339)), 0o600); err != nil {
			t.Fatal(err)
		}
		n.do(n.pass)
		if took := time.Since(began); !n.once(texts) || took > day {
			t.Errorf("hashed %d in %s", len(n.hashed), took)
		}
	})
}

// A note that cannot be read costs a pass from the beginning.
func TestPassWithoutItsNote(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		n := w.nodes[1]
		texts := pushed(w, 10)
		if err := os.WriteFile(n.note(), []byte(`{"began": "200`), 0o600); err != nil {
			t.Fatal(err)
		}
		n.do(n.pass)
		if !n.once(texts) {
			t.Errorf("hashed %d", len(n.hashed))
		}
	})
}

// Copies of another store are another job's.
func TestPassKeepsToItsStore(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		n := w.nodes[1]
		apply(w, fsm.SetStore{Name: "elsewhere", GCDelay: time.Hour, Replicas: 1, WriteAcks: 1})
		for i := range 10 {
			text := fmt.Sprint("another's ", i)
			apply(w, fsm.BlobStored{
				Repository: "other/one", Store: "elsewhere", Digest: packed(text), Size: int64(len(text)), Stamp: w.state.Position().Time,
				Locations: []fsm.Location{w.write(text, 1)},
			})
		}
		texts := pushed(w, 10)
		n.do(n.pass)
		if !n.once(texts) {
			t.Errorf("hashed %d", len(n.hashed))
		}
	})
}
