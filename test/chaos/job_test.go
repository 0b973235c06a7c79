package chaos_test

import (
	"context"
	"errors"
	"time"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/test/sim"
)

// jobCount is what a leader's job was told of its increments.
type jobCount struct{ done, unknown uint64 }

// lead runs a job whenever a node leads, until its process ends: it counts on the counter of its term.
// What it is told must be so, and once another leads nothing of it may come (invariant 10).
func (b *bout) lead(n *sim.Node, s *seam) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.watching.Go(func() {
		select {
		case <-s.wanted:
		case <-n.Ended():
		}
		cancel()
	})
	err := n.WhileLeader(ctx, func(ctx context.Context, p cluster.Proposer) { b.job(ctx, n, p) })
	if err == nil {
		return
	}
	<-n.Ended() // the jobs may hear of a failure before the process does, whose end watch judges
	select {
	case <-s.failed:
	default:
		if n.Err() == nil {
			b.fail("%s: a job ended with %v", n.Name, err)
		}
	}
}

// job counts until its leadership ends, while a window is open.
func (b *bout) job(ctx context.Context, n *sim.Node, p cluster.Proposer) {
	b.figures.count("leaders' jobs", 1)
	for ctx.Err() == nil {
		b.increments(ctx, n, p)
		sleep(ctx, 20*time.Millisecond)
	}
}

// increments counts once. The term is that of the state: the leader's first command has been applied.
func (b *bout) increments(ctx context.Context, n *sim.Node, p cluster.Proposer) {
	b.jobbing.RLock()
	defer b.jobbing.RUnlock()
	if !b.open {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	i := int(n.State.Position().Term % terms)
	_, err := p.Propose(ctx, b.pull(counters+i))
	b.registry.mu.Lock()
	defer b.registry.mu.Unlock()
	switch {
	case err == nil:
		b.jobs[i].done++
		b.figures.count("increments by leaders' jobs", 1)
	case errors.Is(err, cluster.ErrUnknownOutcome):
		b.jobs[i].unknown++
	}
}

// letJobs lets jobs work or not, and returns when those under way have seen it.
func (b *bout) letJobs(work bool) {
	b.jobbing.Lock()
	defer b.jobbing.Unlock()
	b.open = work
}
