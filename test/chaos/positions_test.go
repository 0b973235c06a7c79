package chaos_test

import (
	"context"
	"sync"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/test/sim"
)

// positions watches that no node's applied index goes back, not over a kill either (invariant 8), and
// counts the terms that had a ready leader.
type positions struct {
	mu     sync.Mutex
	newest map[entry.Incarnation]entry.Position
	terms  map[uint64]bool
}

func newPositions() *positions {
	return &positions{newest: map[entry.Incarnation]entry.Position{}, terms: map[uint64]bool{}}
}

// started looks at a state as it was opened.
func (p *positions) started(b *bout, n *sim.Node) { p.look(b, n) }

// ended notes where a state was when it was closed.
func (p *positions) ended(n *sim.Node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.newest[n.Incarnation()] = n.State.Position()
}

func (p *positions) look(b *bout, n *sim.Node) {
	p.mu.Lock() // before it is read, so that two looks are in order
	defer p.mu.Unlock()
	was, now := p.newest[n.Incarnation()], n.State.Position()
	if now.Index < was.Index || now.Term < was.Term || now.Time < was.Time {
		b.fail("invariant 8: %s went from log index %d, term %d, state time %d back to %d, %d, %d",
			n.Name, was.Index, was.Term, was.Time, now.Index, now.Term, now.Time)
	}
	p.newest[n.Incarnation()] = now
	p.terms[now.Term] = true
	if reason := n.State.Fenced(); reason != "" {
		b.fail("%s is fenced: %s", n.Name, reason)
	}
}

// led is how many terms had a ready leader.
func (p *positions) led() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.terms)
}

// watch looks at all nodes until ctx ends.
func (p *positions) watch(ctx context.Context, b *bout) {
	for ctx.Err() == nil {
		for _, process := range b.processes {
			if n := process.running.Load(); n != nil {
				p.look(b, n)
			}
		}
		sleep(ctx, 10*time.Millisecond)
	}
}
