// Package modelfsm_test executes the steps of test/model with the real commands of fsm, on one fsm.State a node, and
// compares the two after each step. The model is checked in every state of small worlds; here the implementation is
// checked to be that model: whatever it accepts, refuses and records is one of the things that the model allows, and
// the model's invariants hold in what the real states say.
//
// A run goes through an unbounded world of the model. At each step the model lists what can happen next, commands that
// must be refused among it; one is drawn by the seed and done for real; then the facts are read from the real states
// into a model.World, which must equal one of those that the model says can follow, and which model.Check must find
// sound. What the model leaves open (which old copy goes when there are too many), the implementation decides.
//
// How the model's words are meant:
//
//	node               a data directory: an incarnation, an fsm.State, a set of files. A slot of the model that is used
//	                   again is another incarnation, which begins with the whole log or with a snapshot
//	newest state       one more fsm.State, which every entry is applied to at once; results are its results
//	what a node sees   its own fsm.State, which applies the log, in batches of its own, when the model says so
//	lost disk          the State is closed, the files are gone
//	a tick             part of the lease, so that window, unknown and lease are the model's K, S and L; with Idle it is the
//	                   product's tick. Idle entries are HashCheck, so the states compare their hashes all the time
//	the leader's time  what the next envelope says; another leader has another term
//	claim, copy        an upload or repair; (claim, store) is a copy id. The model forgets claims, this does not: what is
//	                   left of one in the state would be found
//	link, manifest     in DefaultStore, two repositories at most; one manifest may be so large that its body is a blob
//	BlobStored         under one request id, ever, unless it was refused; its first try is as old as its stamp
//	a repeated PUT     the same entry once more; the model lets it succeed a little longer than a request id does
//	HEAD               what the newest View.Link says; RenewLease if that says Renew
//	CollectBlobs d     of all links of d and d itself, whether garbage or not
//	the sweeper        mark and removal as in jobs/sweep, judged by the node's own View; marks of a bucket are shared
//	hash, VouchCopies  the retirement is read from the node's own View before the hashing; proposed later, or never
//	DropCopies, GiveUpCopy, AddCopy, CopyRemoved   one blob or copy each
//	ClearNode          all of the model's steps for this node at once
//	admission          NodeStarted and NodeJoined
//
// Not the states' but the model's own are what was promised to clients and acknowledged and lost since (Ent, Bud), and how
// far a claim has come. Not covered: several stores, changes of a store's numbers, backups.
//
// Between the steps things happen that may have no effect at all (disturb_test.go): entries come twice, leaders' entries
// carry old terms, commands come after their window, nodes restart. From time to time, on a copy of the newest state, a
// new upload of every blob must be accepted; and each run ends with a run-down after which nothing may be left
// (invariants 1 to 5, 7, 9, 12).
//
// MODELFSM_STEPS says how many steps, MODELFSM_SEED which. Start with TestModelSteps, then follow_test.go.
package modelfsm_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// defaultSteps takes some twenty seconds.
const defaultSteps = 30_000

func TestModelSteps(t *testing.T) {
	steps, seed := number(t, "MODELFSM_STEPS", defaultSteps), uint64(number(t, "MODELFSM_SEED", 1))
	for _, w := range worlds() {
		t.Run(w.Name, func(t *testing.T) {
			began, seen := time.Now(), figures{}
			if err := runs(t.TempDir(), w, seed, steps/len(worlds()), seen, nil); err != nil {
				t.Fatalf("%s, MODELFSM_SEED=%d\n%v", w.Name, seed, err)
			}
			t.Logf("%s: seed %d, %d steps, %d entries, %d disturbances, %d runs, %.1fs\n%s",
				w.Name, seed, seen[stepsTaken], seen[entriesMade], seen[disturbed], seen[runsEnded], time.Since(began).Seconds(), seen)
			if steps/len(worlds()) >= 20_000 {
				everyStep(t, w, seen)
			}
		})
	}
}

// number is a number from the environment.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// figures counts what was done, by its name.
type figures map[string]int

// The figures that are no step of the model.
const (
	stepsTaken  = "steps"
	entriesMade = "entries"
	disturbed   = "disturbances"
	runsEnded   = "runs"
)

// String is a line each.
func (f figures) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(f)) {
		fmt.Fprintf(&b, "%8d %s\n", f[name], name)
	}
	return b.String()
}
