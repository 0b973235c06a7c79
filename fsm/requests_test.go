package fsm_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// again makes the entry of a retry: another index, the same id.
func (r *replica) again(e entry.Entry) entry.Entry {
	retry := r.next(e.Payload)
	retry.Envelope.Request = e.Envelope.Request
	return retry
}

// toggle is a command that shows whether it was applied once or twice.
func toggle() fsm.SetPreference {
	return fsm.SetPreference{User: "ann", Repository: "app", Mark: fsm.Star, Change: fsm.ToggleMark}
}

func TestRetryGetsTheFirstResult(t *testing.T) {
	r := withRepositories(t, "app")
	tests := map[string]fsm.Command{
		"applied": toggle(),
		"refused": fsm.SetPreference{User: "ann", Repository: "none", Mark: fsm.Star, Change: fsm.ToggleMark},
	}
	for name, cmd := range tests {
		t.Run(name, func(t *testing.T) {
			first := r.command(cmd)
			want := r.apply(first)[0]
			r.wait(9 * time.Minute)
			for range 2 {
				have := r.apply(r.again(first))[0]
				if have.Outcome != want.Outcome || !bytes.Equal(have.Bytes, want.Bytes) {
					t.Errorf("the retry got %+v, the first try %+v", have, want)
				}
			}
			inOne := r.command(cmd)
			results := r.apply(inOne, r.again(inOne))
			if results[0].Outcome != results[1].Outcome || !bytes.Equal(results[0].Bytes, results[1].Bytes) {
				t.Errorf("in one batch the retry got %+v, the first try %+v", results[1], results[0])
			}
		})
	}
	r.view(func(v fsm.View) {
		if v.Stars("app") != 0 { // two requests, once each
			t.Errorf("%d stars", v.Stars("app"))
		}
	})
}

// TestLateRetryIsNeverApplied retries after each time, also long after the result is forgotten.
func TestLateRetryIsNeverApplied(t *testing.T) {
	r := withRepositories(t, "app")
	first := r.command(toggle())
	r.apply(first)
	for range 30 {
		r.wait(time.Minute)
		age := r.time.Add(time.Second).Sub(first.Envelope.Request.FirstTry) // when the next entry is applied
		have := r.apply(r.again(first))[0].Outcome
		want := entry.Applied
		if age > 10*time.Minute {
			want = entry.Expired
		}
		if have != want {
			t.Errorf("a retry %s after the first try had outcome %d, want %d", age, have, want)
		}
		r.view(func(v fsm.View) {
			if v.Stars("app") != 1 {
				t.Fatalf("%d stars %s after the first try", v.Stars("app"), age)
			}
		})
	}
}

// TestFirstTryThatArrivesLate is one whose first proposal was lost: it was never applied, but nobody knows.
func TestFirstTryThatArrivesLate(t *testing.T) {
	r := withRepositories(t, "app")
	lost := r.command(toggle())
	r.wait(11 * time.Minute)
	if have := r.apply(r.again(lost))[0].Outcome; have != entry.Expired {
		t.Errorf("outcome %d", have)
	}
}

func TestFirstTryInTheFutureIsOfBeforeARestore(t *testing.T) {
	r := withRepositories(t, "app")
	e := r.command(toggle())
	e.Envelope.Request.FirstTry = r.time.Add(time.Hour)
	if have := r.apply(e)[0].Outcome; have != entry.Expired {
		t.Errorf("outcome %d", have)
	}
}

func TestEntryWithoutRequestIDIsNotKept(t *testing.T) {
	r := withRepositories(t, "app")
	for range 3 {
		e := r.command(toggle())
		e.Envelope.Request = entry.RequestID{}
		r.apply(e)
	}
	r.view(func(v fsm.View) {
		if v.Stars("app") != 1 {
			t.Errorf("%d stars after three toggles", v.Stars("app"))
		}
	})
}

// TestLeaseCommandsAreKeptForTheWindow retries a BlobStored (GC R6): its result lives as long as the
// window of its store, which is shorter or longer than that of other commands.
func TestLeaseCommandsAreKeptForTheWindow(t *testing.T) {
	r := newCluster(t, 1)
	do(r, fsm.SetStore{Name: "default", GCDelay: 8 * time.Minute, Replicas: 1, WriteAcks: 1}) // window 2 min
	first := r.command(r.upload("app", "x", loc(1, 1)))
	r.apply(first)
	r.wait(time.Minute)
	if have := r.apply(r.again(first))[0].Outcome; have != entry.Applied {
		t.Errorf("outcome %d within the window", have)
	}
	r.wait(2 * time.Minute)
	if have := r.apply(r.again(first))[0].Outcome; have != entry.Expired {
		t.Errorf("outcome %d after the window", have)
	}
}

// TestResultsAreForgottenInSteps lets many results become due at once, and counts how many each entry
// takes away.
func TestResultsAreForgottenInSteps(t *testing.T) {
	r := newReplica(t)
	var batch []entry.Entry
	for i := range 100 {
		batch = append(batch, r.command(store(fmt.Sprint(i%10), time.Hour)))
	}
	r.apply(batch...)
	kept := func() (n int) {
		r.view(func(v fsm.View) { n = v.KeptResults() })
		return n
	}
	r.wait(8 * time.Minute)
	if n := kept(); n != 100 {
		t.Fatalf("%d results kept", n)
	}
	e := r.next(payloadOf(t, fsm.TermStarted{}))
	e.Envelope.Request, e.Envelope.Time = entry.RequestID{}, r.time.Add(2*time.Minute) // all are due now
	for before := 100; before > 0; before = kept() {
		r.apply(e)
		if gone := before - kept(); gone == 0 || gone > 16 {
			t.Fatalf("one entry took %d results away", gone)
		}
		e = r.next(e.Payload)
		e.Envelope.Request = entry.RequestID{}
	}
	r.sound()
}
