package chaos_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// faults is what each kind of a plan does. Each returns when it has ended what it began; when ctx ends
// it does so at once.
func faults() map[string]func(*nemesis, context.Context, fault) {
	return map[string]func(*nemesis, context.Context, fault){
		"kill":       (*nemesis).kill,
		"kill all":   (*nemesis).kill,
		"restart":    (*nemesis).restart,
		"pause":      (*nemesis).pause,
		"slow disk":  (*nemesis).slowDisk,
		"hung disk":  (*nemesis).hungDisk,
		"late apply": (*nemesis).lateApply,
		"transfer":   (*nemesis).transfer,
		"wipe":       (*nemesis).wipe,
		"remove":     (*nemesis).remove,
		"isolate":    (*nemesis).isolate,
		"split":      (*nemesis).split,
		"one way":    (*nemesis).oneWay,
		"bridge":     (*nemesis).bridge,
		"jitter":     (*nemesis).jitter,
		"flood":      (*nemesis).flood,
	}
}

// nemesis carries out a window's plan.
type nemesis struct {
	bout       *bout
	links      links
	membership sync.Mutex // held by the one change of members under way
	jittering  sync.Mutex
	struck     sync.WaitGroup
}

func (f *fault) nap(ctx context.Context) { sleep(ctx, f.lasts) }

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// run strikes until ctx ends, and returns when all has been ended again.
func (n *nemesis) run(ctx context.Context, window []fault) {
	began := time.Now()
	for _, f := range window {
		sleep(ctx, f.at-time.Since(began))
		if ctx.Err() != nil {
			break
		}
		f.nodes = n.resolve(f.nodes)
		n.bout.say("%s", f)
		n.struck.Go(func() {
			n.bout.figures.count("fault: "+f.kind, 1)
			faults()[f.kind](n, ctx, f)
		})
	}
	n.struck.Wait()
}

// resolve puts the name of the leader of the moment for its place in a plan; with none, n1's.
func (n *nemesis) resolve(nodes []string) []string {
	names := slices.Clone(nodes)
	if i := slices.Index(names, leads); i >= 0 {
		names[i] = "n1"
		if leader := n.bout.leader(); leader != nil {
			names[i] = leader.Name
		}
	}
	var once []string
	for _, name := range names {
		if !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	return once
}

// own takes those processes that no other fault has in its hands.
func (n *nemesis) own(names []string) []*process {
	var mine []*process
	for _, name := range names {
		if p := n.bout.process(name); p.owner.TryLock() {
			mine = append(mine, p)
		}
	}
	return mine
}

// each does a thing to several processes at once.
func each(all []*process, do func(p *process)) {
	var doing sync.WaitGroup
	for _, p := range all {
		doing.Go(func() { do(p) })
	}
	doing.Wait()
}

func (n *nemesis) kill(ctx context.Context, f fault) {
	mine := n.own(f.nodes)
	each(mine, (*process).kill)
	f.nap(ctx)
	each(mine, func(p *process) {
		defer p.owner.Unlock()
		p.start()
	})
}

func (n *nemesis) restart(_ context.Context, f fault) {
	each(n.own(f.nodes), func(p *process) {
		defer p.owner.Unlock()
		p.stop()
		p.start()
	})
}

// pause is as near to SIGSTOP as one process gets: nothing comes in or goes out, nothing is written and
// nothing applied. The node's own goroutines and clocks go on.
func (n *nemesis) pause(ctx context.Context, f fault) {
	stall := func(by int) {
		for _, name := range f.nodes {
			n.bout.process(name).machine.change(func(a *ailment) { a.diskHangs += by; a.applyHangs += by })
		}
	}
	held := n.around(f.nodes)
	n.links.hold(n.bout.cluster.Network, held)
	stall(1)
	f.nap(ctx)
	stall(-1)
	n.links.release(n.bout.cluster.Network, held)
}

func (n *nemesis) slowDisk(ctx context.Context, f fault) {
	n.ail(ctx, f, func(a *ailment, sign time.Duration) { a.slow += sign * f.by })
}

func (n *nemesis) hungDisk(ctx context.Context, f fault) {
	n.ail(ctx, f, func(a *ailment, sign time.Duration) { a.diskHangs += int(sign) })
}

func (n *nemesis) lateApply(ctx context.Context, f fault) {
	n.ail(ctx, f, func(a *ailment, sign time.Duration) { a.lag += sign * f.by })
}

// ail makes machines worse, and as much better again.
func (n *nemesis) ail(ctx context.Context, f fault, change func(a *ailment, sign time.Duration)) {
	for _, name := range f.nodes {
		n.bout.process(name).machine.change(func(a *ailment) { change(a, 1) })
	}
	f.nap(ctx)
	for _, name := range f.nodes {
		n.bout.process(name).machine.change(func(a *ailment) { change(a, -1) })
	}
}

// transfer asks some node to have leadership moved; for a node that leads, to whoever is furthest along.
func (n *nemesis) transfer(ctx context.Context, f fault) {
	rng := rand.New(rand.NewPCG(f.seed, 0))
	asked, to := n.bout.anyNode(rng), f.nodes[0]
	if asked == nil {
		return
	}
	if leader := n.bout.leader(); leader != nil && to == leader.Name {
		to = ""
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := asked.MoveLeadership(ctx, to); err != nil {
		n.bout.say("leadership was not moved to %q: %v", to, err)
		n.bout.figures.count("transfers that failed", 1)
	}
}

// flood isolates the leader and has it append far more than it may ever commit: as many entries as the
// others may have cut from their logs when it is back, and more proposals than may wait.
func (n *nemesis) flood(ctx context.Context, f fault) {
	leader := n.bout.leader()
	if leader == nil {
		return
	}
	held := n.around([]string{leader.Name})
	n.links.hold(n.bout.cluster.Network, held)
	flooding, cancel := context.WithTimeout(ctx, f.lasts)
	defer cancel()
	var proposing sync.WaitGroup
	for i := range 100 + rand.New(rand.NewPCG(f.seed, 0)).IntN(1500) {
		c := newClient(n.bout, 100+i)
		c.node, c.meek = leader, true
		proposing.Go(func() { c.increment(flooding) })
	}
	proposing.Wait()
	f.nap(flooding)
	n.links.release(n.bout.cluster.Network, held)
}

// wipe takes one node's disk away and lets the node return under its name. A second disk may go only
// when the first is a member again: two of three would be lost data, not a fault to survive.
func (n *nemesis) wipe(ctx context.Context, f fault) {
	n.alone(f, func(p *process) {
		p.kill()
		p.wipe()
		f.nap(ctx)
		p.start()
	})
}

// remove takes a node out in good order, and lets a new one in under its name.
func (n *nemesis) remove(ctx context.Context, f fault) {
	n.alone(f, func(p *process) {
		incarnation := p.running.Load().Incarnation()
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if err := p.running.Load().Remove(ctx, p.name, false); err != nil {
			n.bout.say("%s is not removed: %v", p.name, err)
			n.bout.figures.count("removals that were refused", 1)
			return // if it was applied all the same, mend will see
		}
		for !n.bout.dropped(incarnation) {
			if ctx.Err() != nil {
				return // likewise
			}
			sleep(ctx, 20*time.Millisecond)
		}
		p.stop()
		p.wipe()
		p.start()
	})
}

// alone changes the members, if they are all there and nothing else changes them.
func (n *nemesis) alone(f fault, do func(p *process)) {
	if !n.membership.TryLock() {
		n.bout.figures.count("changes of members passed over", 1)
		return
	}
	defer n.membership.Unlock()
	mine := n.own(f.nodes)
	for _, p := range mine {
		defer p.owner.Unlock()
	}
	if why := n.bout.unsettled(); len(mine) != 1 || mine[0].running.Load() == nil || why != "" {
		n.bout.say("no change of members: %s", why)
		n.bout.figures.count("changes of members passed over", 1)
		return
	}
	n.bout.figures.count("changes of members begun", 1)
	do(mine[0])
}
