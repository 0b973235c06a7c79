package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// windowLength is how long faults go on before all is healed and the history checked.
const windowLength = 20 * time.Second

// leads stands in a plan for the node that leads when its turn comes.
const leads = "leader"

// fault is one line of a plan.
type fault struct {
	at, lasts time.Duration // since the window began
	kind      string        // a key of the table in faults
	nodes     []string      // names, or leads
	by        time.Duration // how slow, how late
	seed      uint64        // for what is drawn while it lasts
}

// String is how a plan is printed.
func (f fault) String() string {
	s := fmt.Sprintf("%6.2fs %s %s", f.at.Seconds(), f.kind, strings.Join(f.nodes, "+"))
	if f.by > 0 {
		s += fmt.Sprintf(" by %s", f.by)
	}
	return s + fmt.Sprintf(" for %s", f.lasts)
}

// plan is all that a seed decides beforehand.
type plan struct {
	seed    uint64
	nodes   int
	traits  traits
	windows [][]fault
}

// traits say how a bout's cluster is configured.
type traits struct {
	snapshots     bool // logs so short that snapshots are installed
	shortDeadline bool // a write of the log that takes a second stops the node
	strict        bool // reads never answer stale

	self selfTest
}

// String is how a plan is printed; nothing in it for the usual.
func (t traits) String() string {
	var all []string
	for name, set := range map[string]bool{"short logs": t.snapshots, "short write deadline": t.shortDeadline, "strict reads": t.strict} {
		if set {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return strings.Join(append(all, "plan"), ", ")
}

// String prints the whole plan.
func (p plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, %d nodes, %s:\n", p.seed, p.nodes, p.traits)
	for i, w := range p.windows {
		fmt.Fprintf(&b, "window %d\n", i+1)
		for _, f := range w {
			fmt.Fprintf(&b, "  %s\n", f)
		}
	}
	return b.String()
}

// newPlan draws a plan. A window of it depends on the seed, its own number and the number of nodes
// alone, so a shorter bout begins as a longer one does.
func newPlan(seed uint64, nodes int, length time.Duration) plan {
	rng := rand.New(rand.NewPCG(seed, 0))
	p := plan{seed: seed, nodes: nodes, traits: traits{
		snapshots: rng.IntN(2) == 0, shortDeadline: rng.IntN(3) == 0, strict: rng.IntN(6) == 0,
	}}
	for w := uint64(1); length > 0; w++ {
		rng := rand.New(rand.NewPCG(seed, w))
		var faults []fault
		for _, kinds := range tracks(nodes) {
			faults = append(faults, track(rng, nodes, kinds)...)
		}
		slices.SortStableFunc(faults, func(a, b fault) int { return int(a.at - b.at) })
		within := min(length, windowLength)
		p.windows = append(p.windows, slices.DeleteFunc(faults, func(f fault) bool { return f.at >= within }))
		length -= windowLength
	}
	return p
}

// tracks are sequences of faults that go on beside each other, as kinds with their weights.
func tracks(nodes int) [][]weighted {
	members := []weighted{{"wipe", 3}, {"transfer", 3}, {"restart", 2}}
	if nodes > 3 {
		members = append(members, weighted{"remove", 3})
	}
	return [][]weighted{
		{{"kill", 6}, {"kill all", 1}, {"pause", 5}, {"flood", 2}},
		{{"isolate", 4}, {"split", 3}, {"one way", 4}, {"bridge", 2}, {"jitter", 4}},
		{{"slow disk", 3}, {"hung disk", 2}, {"late apply", 3}},
		members,
	}
}

type weighted struct {
	kind   string
	weight int
}

func pick(rng *rand.Rand, kinds []weighted) string {
	sum := 0
	for _, k := range kinds {
		sum += k.weight
	}
	at := rng.IntN(sum)
	for _, k := range kinds {
		if at -= k.weight; at < 0 {
			return k.kind
		}
	}
	return kinds[0].kind
}

func track(rng *rand.Rand, nodes int, kinds []weighted) []fault {
	var all []fault
	for at := between(rng, 200, 4000); at < windowLength; {
		f := fault{at: at, kind: pick(rng, kinds), seed: rng.Uint64()}
		f.draw(rng, nodes)
		all = append(all, f)
		// The next may begin before this one ends.
		at += f.lasts*time.Duration(30+rng.IntN(80))/100 + between(rng, 200, 5000)
	}
	return all
}

// draw fills in whom a fault strikes and for how long.
func (f *fault) draw(rng *rand.Rand, nodes int) {
	f.lasts = between(rng, 100, 3000)
	count := 1
	switch f.kind {
	case "kill", "pause":
		count = 1 + rng.IntN((nodes-1)/2)
	case "kill all":
		count, f.lasts = nodes, between(rng, 100, 1000)
	case "split":
		count = 1 + rng.IntN(nodes-1)
	case "one way":
		count = 1 + rng.IntN(2) // from the first to the second, or to all
	case "slow disk":
		count, f.by = 1+rng.IntN(nodes), between(rng, 20, 500)
	case "hung disk":
		f.lasts = between(rng, 1200, 3000)
	case "late apply":
		count, f.by = 1+rng.IntN(nodes), between(rng, 5, 150)
	case "jitter":
		count, f.by = 1+rng.IntN(nodes), between(rng, 10, 300)
	case "bridge":
		count = nodes
	case "flood":
		f.lasts = between(rng, 500, 2000)
	case "transfer", "restart", "isolate":
	case "wipe", "remove":
		f.lasts = between(rng, 100, 1000) // how long the machine is off
	}
	f.nodes = someNodes(rng, nodes, count)
}

// someNodes draws different nodes; the first is often the leader, for most bugs are there.
func someNodes(rng *rand.Rand, nodes, count int) []string {
	var names []string
	for _, i := range rng.Perm(nodes)[:count] {
		names = append(names, fmt.Sprintf("n%d", i+1))
	}
	if rng.IntN(5) < 2 && count < nodes {
		names[0] = leads
	}
	return names
}

func between(rng *rand.Rand, low, high int) time.Duration {
	return time.Duration(low+rng.IntN(high-low)) * time.Millisecond
}

func TestPlanIsOfTheSeed(t *testing.T) {
	t.Parallel()
	one, same, other := newPlan(7, 5, time.Minute), newPlan(7, 5, time.Minute), newPlan(8, 5, time.Minute)
	if one.String() != same.String() {
		t.Error("one seed, two plans")
	}
	if one.String() == other.String() {
		t.Error("two seeds, one plan")
	}
	if short := newPlan(7, 5, 30*time.Second); fmt.Sprint(short.windows[0]) != fmt.Sprint(one.windows[0]) {
		t.Error("a shorter bout begins in another way")
	}
	kinds := map[string]bool{}
	for seed := range uint64(20) {
		for _, w := range newPlan(seed, 5, time.Minute).windows {
			for _, f := range w {
				kinds[f.kind] = true
			}
		}
	}
	for kind := range faults() {
		if !kinds[kind] {
			t.Errorf("no plan has the fault %q", kind)
		}
	}
	if len(kinds) != len(faults()) {
		t.Errorf("plans have %v, and there are only %d faults", kinds, len(faults()))
	}
}
