package chaos_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/hashicorp/raft"
	"golang.org/x/sync/errgroup"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/sim"
)

// How long is waited for what must come to be, on a machine that does other things too, and how many
// requests are asked about at a time.
const (
	settlePatience = 90 * time.Second
	askPatience    = 60 * time.Second
	checkPatience  = 2 * time.Minute
	decidedAtOnce  = 64
)

// quiesce waits until the cluster is whole, finds out what became of each request, and checks the window.
func (b *bout) quiesce(ctx context.Context) {
	for _, step := range []func(context.Context){b.settle, b.decide, b.lastReads} {
		step(ctx)
		if b.failing.Load() {
			return
		}
	}
	b.checkWindow()
	b.checkStates(ctx)
	nodes := b.whole(ctx)
	if nodes == nil {
		return
	}
	b.figures.count("windows checked", 1)
	b.since = nodes[0].State.Position().Index
}

// whole waits as settle does, and returns all nodes; nil if the bout is over. One of them may stop by itself at any time, when
// its log has to wait for the disk too long, and is started again.
func (b *bout) whole(ctx context.Context) []*sim.Node {
	for ctx.Err() == nil && !b.failing.Load() {
		b.settle(ctx)
		var all []*sim.Node
		for _, p := range b.processes {
			if n := p.running.Load(); n != nil {
				all = append(all, n)
			}
		}
		if len(all) == len(b.processes) {
			return all
		}
	}
	return nil
}

// settle waits until all nodes run, are members of one configuration, and have applied the same.
func (b *bout) settle(ctx context.Context) {
	began := time.Now()
	why := "?"
	for why != "" {
		if time.Since(began) > settlePatience {
			b.fail("the cluster is healed and has not settled in %s: %s\n%s", settlePatience, why, b.portrait())
			return
		}
		if ctx.Err() != nil {
			return
		}
		b.mend()
		if why = b.unsettled(); why == "" {
			why = b.apart()
		}
		sleep(ctx, 10*time.Millisecond)
	}
	b.figures.took("wait until healed nodes had settled", time.Since(began))
}

// mend gives a new disk to a node that was removed although nobody was told so.
func (b *bout) mend() {
	for _, p := range b.processes {
		n := p.running.Load()
		if n == nil || !b.dropped(n.Incarnation()) || !p.owner.TryLock() {
			continue
		}
		if p.running.Load() == n {
			b.say("%s was removed after all", p.name)
			p.stop()
			p.wipe()
			p.start()
		}
		p.owner.Unlock()
	}
}

// unsettled is why the nodes are not yet all members, as each of them sees it; "" if they are.
func (b *bout) unsettled() string {
	if b.leader() == nil {
		return "no leader"
	}
	var incarnations []string
	for _, p := range b.processes {
		n := p.running.Load()
		if n == nil {
			return p.name + " does not run"
		}
		incarnations = append(incarnations, n.Incarnation().String())
	}
	slices.Sort(incarnations)
	for _, p := range b.processes {
		if n := p.running.Load(); n == nil {
			return p.name + " does not run"
		} else if why := outsiders(n, incarnations); why != "" {
			return p.name + ": " + why
		}
	}
	return ""
}

// outsiders is what a node's state and its Raft configuration have beside these members, or instead.
func outsiders(n *sim.Node, incarnations []string) string {
	nodes, err := n.State.Nodes()
	if err != nil {
		return err.Error()
	}
	var members []string
	for _, node := range nodes {
		switch node.State {
		case entry.Member:
			members = append(members, node.Incarnation.String())
		case entry.Dropped:
		default:
			return fmt.Sprintf("%s (%s) is %s", node.Name, node.Incarnation.Short(), node.State)
		}
	}
	slices.Sort(members)
	if !slices.Equal(members, incarnations) {
		return fmt.Sprintf("members are %v, running are %v", members, incarnations)
	}
	var voters []string
	if c := n.State.Position().Configuration; c != nil {
		for _, s := range raft.DecodeConfiguration(c).Servers {
			if s.Suffrage == raft.Voter {
				voters = append(voters, string(s.ID))
			} else {
				return fmt.Sprintf("%s is a %s", s.ID, s.Suffrage)
			}
		}
	}
	slices.Sort(voters)
	if !slices.Equal(voters, incarnations) {
		return fmt.Sprintf("voters are %v, running are %v", voters, incarnations)
	}
	return ""
}

// apart is whose state has not come as far as the others'; "" if all are at one log index.
func (b *bout) apart() string {
	var indices []uint64
	for _, p := range b.processes {
		if n := p.running.Load(); n != nil {
			indices = append(indices, n.State.Position().Index)
		}
	}
	if len(indices) < len(b.processes) || slices.Min(indices) != slices.Max(indices) {
		return fmt.Sprintf("applied are %v, of %d nodes", indices, len(b.processes))
	}
	return ""
}

// portrait is for a cluster that does not settle.
func (b *bout) portrait() string {
	var w bytes.Buffer
	for _, p := range b.processes {
		n := p.running.Load()
		if n == nil {
			fmt.Fprintf(&w, "%s does not run\n", p.name)
			continue
		}
		at := n.State.Position()
		fmt.Fprintf(&w, "%s (%s): leads %t, applied %d of term %d, configuration of %d:", p.name, n.Incarnation().Short(), n.Leads(), at.Index, at.Term, at.ConfigurationIndex)
		if at.Configuration != nil {
			for _, s := range raft.DecodeConfiguration(at.Configuration).Servers {
				fmt.Fprintf(&w, " %.8s %s", s.ID, s.Suffrage)
			}
		}
		nodes, err := n.State.Nodes()
		for _, node := range nodes {
			fmt.Fprintf(&w, "; %s (%s) is %s", node.Name, node.Incarnation.Short(), node.State)
		}
		fmt.Fprintln(&w, err)
	}
	return w.String()
}

// decide repeats each request of unknown outcome, under its own id, until it is answered. That it has
// been applied meanwhile, or never, or may still arrive with a late packet: it takes effect once.
func (b *bout) decide(ctx context.Context) {
	b.mu.Lock()
	undecided := b.pending
	b.pending = nil
	b.mu.Unlock()
	var deciding errgroup.Group
	deciding.SetLimit(decidedAtOnce)
	for i, p := range undecided {
		deciding.Go(func() error {
			rng := rand.New(rand.NewPCG(b.plan.seed, uint64(i)))
			err := b.insist(ctx, rng, func(ctx context.Context, n *sim.Node) error {
				result, err := n.ProposeAs(ctx, p.id, p.payload)
				p.result = result
				return err
			})
			if err != nil {
				b.fail("request %s is not answered by a healed cluster: %v", p.id, err)
				return err
			}
			if err := b.judge(p.proposal); err != nil {
				return err
			}
			p.decided()
			return nil
		})
	}
	_ = deciding.Wait()
}

// insist tries at one node after the other, until it works or the patience is over.
func (b *bout) insist(ctx context.Context, rng *rand.Rand, do func(ctx context.Context, n *sim.Node) error) error {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	err := cluster.ErrNoLeader // if no node runs
	for ctx.Err() == nil {
		if n := b.anyNode(rng); n != nil {
			try, done := context.WithTimeout(ctx, 5*time.Second)
			err = do(try, n)
			done()
			if err == nil {
				return nil
			}
		}
		sleep(ctx, 10*time.Millisecond)
	}
	return err
}

// lastReads reads every register, linearizably; the next window begins with what was read.
func (b *bout) lastReads(ctx context.Context) {
	rng := rand.New(rand.NewPCG(b.plan.seed, 0))
	for r := range registers {
		err := b.insist(ctx, rng, func(ctx context.Context, n *sim.Node) error {
			o := &operation{call: call{register: r, action: read}, client: clients, node: n.Name, began: b.now()}
			if err := n.ReadIndex(ctx); err != nil {
				return err
			}
			if !b.lookUp(n, o) {
				return cluster.ErrClosed
			}
			b.history.add(o)
			return nil
		})
		if err != nil {
			b.fail("a healed cluster is not read: %v", err)
		}
	}
}

// checkWindow checks the window's history, and goes on with what the registers hold.
func (b *bout) checkWindow() {
	began := time.Now()
	result, m, info := check(b.initial, b.history.fresh, checkPatience)
	b.figures.took("check of a window", time.Since(began))
	b.figures.count("operations checked", len(b.history.fresh))
	if result != porcupine.Ok {
		picture := filepath.Join(filepath.Dir(b.log.Name()), fmt.Sprintf("seed-%d.html", b.plan.seed))
		b.fail("invariant 6: linearizable: %s (Unknown: the checker ran out of time); picture: %s, errors: %v", result, picture, porcupine.VisualizePath(m, info, picture))
		b.printIllegal()
	}
	for _, finding := range slices.Concat(b.history.byPosition(b.initial, b.since), b.history.inTime()) {
		b.fail("%s", finding)
	}
	b.figures.count("stale reads checked", len(b.history.stale))
	last := slices.Clone(b.initial)
	for _, o := range b.history.fresh {
		if o.client == clients {
			last[o.register] = o.saw
		}
	}
	b.initial = last
}

// printIllegal writes the history of each register that is not linearizable into a file.
func (b *bout) printIllegal() {
	for r := range registers {
		var own []*operation
		for _, o := range b.history.fresh {
			if o.register == r {
				own = append(own, o)
			}
		}
		if result, _, _ := check(b.initial, own, checkPatience); result == porcupine.Ok {
			continue
		}
		name := filepath.Join(filepath.Dir(b.log.Name()), fmt.Sprintf("seed-%d-register-%d.txt", b.plan.seed, r))
		err := os.WriteFile(name, []byte(fmt.Sprintf("initial %d\n", b.initial[r])+b.history.of(r)), 0o600)
		b.fail("register %d is not linearizable; its history: %s, errors: %v", r, name, err)
	}
}

// checkStates compares the nodes' states, and each with itself (invariants 2, 3, 5, 7 and 9).
func (b *bout) checkStates(ctx context.Context) {
	if b.whole(ctx) == nil {
		return
	}
	err := b.insist(ctx, rand.New(rand.NewPCG(b.plan.seed, 1)), func(ctx context.Context, n *sim.Node) error {
		_, err := fsm.Do(ctx, n, fsm.HashCheck{})
		return err
	})
	if err != nil {
		b.fail("no hash check on a healed cluster: %v", err)
		return
	}
	for nodes := b.whole(ctx); nodes != nil && !b.compareStates(nodes); {
		nodes = b.whole(ctx)
	}
}

// compareStates is false, and says nothing, if a node has stopped by itself meanwhile.
func (b *bout) compareStates(nodes []*sim.Node) bool {
	began := time.Now()
	var mu sync.Mutex
	var found []string
	closed := false
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		found = append(found, fmt.Sprintf(format, args...))
	}
	index, want := newestHash(nodes[0])
	if want == nil {
		note("%s has noted no hash", nodes[0].Name)
	}
	var looking sync.WaitGroup
	for _, n := range nodes {
		looking.Go(func() {
			if hash, ok := n.State.Hash(index); !ok || !bytes.Equal(hash, want) {
				note("invariant 7: state hash at log index %d is %x on %s, %x on %s", index, hash, n.Name, want, nodes[0].Name)
			}
			err := n.State.View(func(v fsm.View) error {
				for _, finding := range v.Check() {
					note("%s: %s", n.Name, finding)
				}
				b.checkCounters(v)
				return nil
			})
			if errors.Is(err, fsm.ErrClosed) {
				mu.Lock()
				defer mu.Unlock()
				closed = true
			} else if err != nil {
				note("%s: %v", n.Name, err)
			}
		})
	}
	looking.Wait()
	if closed {
		return false
	}
	for _, finding := range found {
		b.fail("%s", finding)
	}
	b.figures.took("check of the states", time.Since(began))
	return true
}

// newestHash is the newest hash that a node has noted, and its log index.
func newestHash(n *sim.Node) (uint64, []byte) {
	for index := n.State.Position().Index; index > 0; index-- {
		if hash, ok := n.State.Hash(index); ok {
			return index, hash
		}
	}
	return 0, nil
}
