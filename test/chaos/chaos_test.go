// Package chaos_test lets clients work on a cluster while a nemesis kills, pauses, parts, slows down,
// empties and removes its nodes, and checks what the clients saw.
//
// Start with bout_test.go: a bout is one cluster under one plan, and the plan comes from a seed
// (plan_test.go). faults_test.go and partitions_test.go carry it out; client_test.go does the work;
// quiesce_test.go heals the cluster and checks, with register_test.go and history_test.go. README.md has
// the commands.
//
// It holds invariants 6, 7, 8 and 9 of docs/design against the product, and 2, 3 and 5 as far as a state
// shows them by itself.
package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/test/leak"
)

// longest is how long one bout goes on: then another cluster is made, of another kind.
const longest = 2 * time.Minute

// TestChaos goes on for CHAOS_DURATION (20 s) of faults, from CHAOS_SEED (drawn) on, with CHAOS_NODES (3
// for an even seed, 5 for an odd one). CHAOS_OUT is where logs and findings lie afterwards.
func TestChaos(t *testing.T) {
	length := fromEnvironment(t, "CHAOS_DURATION", 20*time.Second, time.ParseDuration)
	seed := fromEnvironment(t, "CHAOS_SEED", rand.Uint64N(1_000_000_000), func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) })
	nodes := fromEnvironment(t, "CHAOS_NODES", 0, strconv.Atoi)
	out := directory(t)
	total := newFigures()
	each := min(length/2, longest)
	if nodes != 0 || os.Getenv("CHAOS_SEED") != "" {
		each = min(length, longest)
	}
	for ; length > 0 && !t.Failed(); length -= each {
		p := newPlan(seed, nodesOf(seed, nodes), min(each, length))
		t.Logf("CHAOS_SEED=%d CHAOS_NODES=%d CHAOS_DURATION=%s go test -run TestChaos -v ./test/chaos\n%s", seed, p.nodes, min(each, length), p)
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			b := newBout(t, p, out)
			b.run(t.Context(), min(each, length))
			b.report(t)
			total.add(b.figures)
		})
		noneLeft(t)
		seed++
	}
	t.Logf("in all\n%s", total)
}

// noneLeft waits until what a bout has started has ended: who is told to end does so when it gets a processor.
func noneLeft(t *testing.T) {
	t.Helper()
	// What was committed and not yet applied when Raft shut down is never answered; who waits for it ends
	// with the process, as cluster's append says.
	stays := goleak.IgnoreAnyFunction("github.com/seed-16d79997/zot/cluster.(*Node).append.func1")
	if err := leak.Find(stays); err != nil {
		t.Error(err)
	}
}

// report fails the test with what was found.
func (b *bout) report(t *testing.T) {
	t.Helper()
	t.Logf("%s", b.figures)
	for i, finding := range b.findings {
		if i == 20 {
			t.Errorf("and %d more", len(b.findings)-i)
			break
		}
		t.Errorf("%s", finding)
	}
	if len(b.findings) > 0 {
		t.Logf("the nodes' log: %s", b.log.Name())
	}
}

func nodesOf(seed uint64, nodes int) int {
	switch {
	case nodes != 0:
		return nodes
	case seed%2 == 0:
		return 3
	default:
		return 5
	}
}

func fromEnvironment[T any](t *testing.T, name string, otherwise T, parse func(string) (T, error)) T {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	v, err := parse(s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

// directory is where logs and findings lie. What CHAOS_OUT does not name is removed unless the test fails.
func directory(t *testing.T) string {
	t.Helper()
	if out := os.Getenv("CHAOS_OUT"); out != "" {
		if err := os.MkdirAll(out, 0o700); err != nil {
			t.Fatal(err)
		}
		return out
	}
	out, err := os.MkdirTemp("", "chaos-") //nolint:usetesting // it must outlive a test that fails
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			_ = os.RemoveAll(out)
		}
	})
	return out
}

// forgetful takes the request ids from all entries, so that a repeated request is a new one.
type forgetful struct{ cluster.StateMachine }

// Apply applies entries that nobody can recognise.
func (f forgetful) Apply(entries []entry.Entry) []entry.Result {
	bare := make([]entry.Entry, len(entries))
	for i, e := range entries {
		e.Envelope.Request = entry.RequestID{}
		bare[i] = e
	}
	return f.StateMachine.Apply(bare)
}

// What is taken out of the product must be missed, or the test shows nothing.
func TestFinds(t *testing.T) {
	if testing.Short() {
		t.Skip("needs faults for some seconds")
	}
	for name, self := range map[string]selfTest{
		"reads that do not ask the leader": {localReads: true},
		"a repeated request is a new one":  {machine: func(m cluster.StateMachine) cluster.StateMachine { return forgetful{m} }},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := uint64(1); seed < 20; seed++ {
				began := time.Now()
				p := newPlan(seed, 3, 5*time.Second)
				p.traits = traits{self: self}
				b := newBout(t, p, t.TempDir())
				b.run(t.Context(), 5*time.Second)
				if len(b.findings) > 0 {
					t.Logf("seed %d found after %s: %s", seed, time.Since(began).Round(time.Millisecond), b.findings[0])
					return
				}
			}
			t.Error("nothing was found")
		})
	}
}
