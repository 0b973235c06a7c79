package chaos_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/test/sim"
)

const clients = 8

// selfTest takes something out of the product, to see that it is missed.
type selfTest struct {
	localReads bool                                            // reads that never asked the leader pass as fresh
	machine    func(cluster.StateMachine) cluster.StateMachine // stands before the state; may be nil
}

// bout is one cluster under one plan.
type bout struct {
	*registry
	t         testing.TB
	plan      plan
	traits    traits
	began     time.Time
	cluster   *sim.Cluster
	processes []*process
	nemesis   nemesis
	figures   *figures
	positions *positions
	watching  sync.WaitGroup
	log       *os.File
	stop      context.CancelFunc // when something was found

	initial []value  // of the registers, as the window began
	since   uint64   // log index as the window began
	history *history // of the window
	jobbing sync.RWMutex
	open    bool // whether leaders' jobs work; guarded by jobbing

	mu       sync.Mutex
	pending  []pending // guarded by mu
	findings []string  // guarded by mu
	failing  atomic.Bool
}

// pending is a request whose outcome is not known, and what to do when it is.
type pending struct {
	*proposal
	decided func()
}

// newBout makes a bout. Nodes run when it has been started.
func newBout(t testing.TB, p plan, out string) *bout {
	t.Helper()
	r, err := newRegistry()
	if err != nil {
		t.Fatal(err)
	}
	b := &bout{
		registry: r, t: t, plan: p, traits: p.traits, figures: newFigures(), positions: newPositions(),
		initial: make([]value, registers), history: &history{}, began: time.Now(), stop: func() {},
	}
	b.nemesis.bout = b
	b.log, err = os.Create(filepath.Join(out, fmt.Sprintf("seed-%d-nodes-%d.log", p.seed, p.nodes)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.log.Close() })
	b.cluster = sim.New(t, p.nodes, b.options())
	for i := range p.nodes {
		b.processes = append(b.processes, &process{name: fmt.Sprintf("n%d", i+1), bout: b, machine: newTrouble()})
	}
	return b
}

func (b *bout) options() sim.Options {
	timing := sim.FastTiming()
	timing.Heartbeat, timing.Election, timing.Lease = slower*timing.Heartbeat, slower*timing.Election, slower*timing.Lease
	if b.traits.snapshots {
		timing.TrailingLogs, timing.SnapshotThreshold, timing.SnapshotInterval = 50, 64, 300*time.Millisecond
	}
	timing.WriteDeadline = time.Minute // longer than any plan holds a disk
	if b.traits.shortDeadline {
		timing.WriteDeadline = slower * time.Second
	}
	return sim.Options{
		Timing: timing, Level: hclog.Info, Output: b.log,
		Machine: func(name string, m cluster.StateMachine) cluster.StateMachine { return b.process(name).wrap(m) },
		Config: func(name string, c *cluster.Config) {
			b.process(name).configure(c)
			switch {
			case b.traits.self.localReads:
				c.Reads = cluster.Local
			case b.traits.strict:
				c.Reads = cluster.Strict
			}
		},
	}
}

// run carries the plan out. length is how long faults go on in all.
func (b *bout) run(ctx context.Context, length time.Duration) {
	ctx, b.stop = context.WithCancel(ctx)
	defer b.stop()
	defer b.halt()
	b.say("%s", b.plan)
	each(b.processes, func(p *process) {
		p.owner.Lock()
		defer p.owner.Unlock()
		p.start()
	})
	b.settle(ctx)
	if b.failing.Load() {
		return
	}
	if err := b.setUp(ctx, b.anyNode(rand.New(rand.NewPCG(0, 0)))); err != nil {
		b.fail("set up: %v", err)
		return
	}
	var watching sync.WaitGroup
	defer watching.Wait()
	defer b.stop()
	watching.Go(func() { b.positions.watch(ctx, b) })
	all := make([]*client, clients)
	for i := range all {
		all[i] = newClient(b, i)
	}
	b.settle(ctx)
	for i, window := range b.plan.windows {
		if b.failing.Load() {
			return
		}
		b.window(ctx, all, window, min(length, windowLength))
		length -= windowLength
		b.say("window %d ended", i+1)
	}
	b.figures.count("terms with a ready leader", b.positions.led())
}

// window lets clients and faults go on for a while, then heals all and checks.
func (b *bout) window(ctx context.Context, all []*client, faults []fault, length time.Duration) {
	b.history = &history{}
	b.figures.worked("a write", true)
	b.figures.worked("a fresh read", true)
	b.letJobs(true)
	defer b.letJobs(false)
	window, end := context.WithTimeout(ctx, length)
	defer end()
	var going sync.WaitGroup
	for _, c := range all {
		going.Go(func() { c.run(ctx, window) })
	}
	b.nemesis.run(window, faults)
	<-window.Done()
	going.Wait()
	if ctx.Err() != nil {
		return
	}
	b.letJobs(false)
	b.say("healed")
	b.quiesce(ctx)
}

// halt ends all processes and those who watch over them.
func (b *bout) halt() {
	each(b.processes, func(p *process) {
		p.owner.Lock()
		defer p.owner.Unlock()
		p.kill()
	})
	b.watching.Wait()
}

// fail notes what was found, and ends the bout.
func (b *bout) fail(format string, args ...any) {
	finding := fmt.Sprintf(format, args...)
	b.say("FOUND: %s", finding)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.findings = append(b.findings, finding)
	b.failing.Store(true)
	b.stop()
}

// say writes a line into the nodes' log, between theirs.
func (b *bout) say(format string, args ...any) {
	fmt.Fprintf(b.log, "%s [CHAOS] %.3f %s\n", time.Now().Format("05.000"), b.now().Seconds(), fmt.Sprintf(format, args...)) //nolint:errcheck // a log
}

func (b *bout) now() time.Duration { return time.Since(b.began) }

func (b *bout) process(name string) *process {
	for _, p := range b.processes {
		if p.name == name {
			return p
		}
	}
	b.fail("no process is named %s", name)
	return nil
}

// anyNode is a running node, nil if there is none.
func (b *bout) anyNode(rng *rand.Rand) *sim.Node {
	for _, i := range rng.Perm(len(b.processes)) {
		if n := b.processes[i].running.Load(); n != nil {
			return n
		}
	}
	return nil
}

// leader is a ready leader, nil if there is none. A deposed one may not know yet.
func (b *bout) leader() *sim.Node {
	for _, p := range b.processes {
		if n := p.running.Load(); n != nil && n.Leads() {
			return n
		}
	}
	return nil
}

// dropped reports whether some node's state says that an incarnation is gone for good.
func (b *bout) dropped(i entry.Incarnation) bool {
	for _, p := range b.processes {
		n := p.running.Load()
		if n == nil {
			continue
		}
		nodes, err := n.State.Nodes()
		if err != nil {
			continue
		}
		for _, node := range nodes {
			if node.Incarnation == i && node.State == entry.Dropped {
				return true
			}
		}
	}
	return false
}

// pend keeps a request of unknown outcome for when all is healed.
func (b *bout) pend(p *proposal, decided func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pending = append(b.pending, pending{p, decided})
}
