package chaos_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/seed-16d79997/zot/test/sim"
)

// link is one direction between two nodes.
type link struct{ from, to string }

// links counts which faults hold each link, so that the end of one does not mend another's.
type links struct {
	mu   sync.Mutex
	held map[link]int
}

func (l *links) hold(network *sim.Network, all []link) { l.change(network, all, 1) }

func (l *links) release(network *sim.Network, all []link) { l.change(network, all, -1) }

func (l *links) change(network *sim.Network, all []link, by int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = map[link]int{}
	}
	for _, k := range all {
		l.held[k] += by
		network.Hold(k.from, k.to, l.held[k] > 0)
	}
}

// across is both directions of each link between two groups.
func (n *nemesis) across(some, others []string) []link {
	var all []link
	for _, a := range some {
		for _, b := range others {
			if a != b {
				all = append(all, link{a, b}, link{b, a})
			}
		}
	}
	return all
}

// around is every link of these nodes.
func (n *nemesis) around(names []string) []link {
	var all []link
	for _, name := range names {
		for _, p := range n.bout.processes {
			if p.name != name {
				all = append(all, link{name, p.name}, link{p.name, name})
			}
		}
	}
	slices.SortFunc(all, func(a, b link) int { return compareLinks(a, b) })
	return slices.Compact(all)
}

func compareLinks(a, b link) int {
	return slices.Compare([]string{a.from, a.to}, []string{b.from, b.to})
}

// others are the nodes that are not among names.
func (n *nemesis) others(names []string) []string {
	var all []string
	for _, p := range n.bout.processes {
		if !slices.Contains(names, p.name) {
			all = append(all, p.name)
		}
	}
	return all
}

func (n *nemesis) cut(ctx context.Context, f fault, held []link) {
	n.links.hold(n.bout.cluster.Network, held)
	f.nap(ctx)
	n.links.release(n.bout.cluster.Network, held)
}

func (n *nemesis) isolate(ctx context.Context, f fault) { n.cut(ctx, f, n.around(f.nodes)) }

func (n *nemesis) split(ctx context.Context, f fault) {
	n.cut(ctx, f, n.across(f.nodes, n.others(f.nodes)))
}

// oneWay lets nothing through in one direction: from the first node to the second, or, if there is only
// one, to or from all.
func (n *nemesis) oneWay(ctx context.Context, f fault) {
	if len(f.nodes) > 1 {
		n.cut(ctx, f, []link{{f.nodes[0], f.nodes[1]}})
		return
	}
	in := rand.New(rand.NewPCG(f.seed, 0)).IntN(2) == 0
	n.cut(ctx, f, slices.DeleteFunc(n.around(f.nodes), func(l link) bool { return (l.to == f.nodes[0]) != in }))
}

// bridge leaves one node that both halves reach, and no other way between them.
func (n *nemesis) bridge(ctx context.Context, f fault) {
	names := slices.Clone(f.nodes)
	rand.New(rand.NewPCG(f.seed, 0)).Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	half := len(names) / 2
	n.cut(ctx, f, n.across(names[:half], names[half+1:]))
}

// jitter makes the links of some nodes late, each by another time every tenth of a second.
func (n *nemesis) jitter(ctx context.Context, f fault) {
	if !n.jittering.TryLock() {
		return
	}
	defer n.jittering.Unlock()
	rng := rand.New(rand.NewPCG(f.seed, 0))
	all := n.around(f.nodes)
	for end := time.Now().Add(f.lasts); time.Now().Before(end) && ctx.Err() == nil; sleep(ctx, 100*time.Millisecond) {
		for _, l := range all {
			n.bout.cluster.Network.Delay(l.from, l.to, time.Duration(rng.Int64N(int64(f.by))))
		}
	}
	for _, l := range all {
		n.bout.cluster.Network.Delay(l.from, l.to, 0)
	}
}
