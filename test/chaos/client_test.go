package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/fsm/oci"
	"github.com/seed-16d79997/zot/test/sim"
)

// How patient clients are.
const (
	attempts     = 3 // with one request id, at different nodes
	readPatience = 3 * time.Second
)

// client does one thing after the other at a node, and goes to another node when something fails there.
type client struct {
	number int
	bout   *bout
	rng    *rand.Rand
	node   *sim.Node
	meek   bool // it does not repeat what failed
}

func newClient(b *bout, number int) *client {
	return &client{number: number, bout: b, rng: rand.New(rand.NewPCG(b.plan.seed, uint64(1000+number)))}
}

// run goes on until window ends; what is under way then is ended by its own deadline.
func (c *client) run(ctx, window context.Context) {
	for window.Err() == nil {
		if c.node == nil || c.rng.IntN(100) < 2 {
			c.node = c.bout.anyNode(c.rng)
		}
		if c.node != nil {
			c.act(ctx)
		}
		sleep(window, time.Duration(c.rng.IntN(4000))*time.Microsecond)
	}
}

func (c *client) act(ctx context.Context) {
	r := c.rng.IntN(registers)
	switch n := c.rng.IntN(100); {
	case n < 45:
		c.read(ctx, r)
	case n < 75:
		c.write(ctx, call{register: r, action: write, value: c.bout.newValue(r)})
	case n < 87:
		c.write(ctx, call{register: r, action: swap, value: c.bout.newValue(r), from: c.guess(r)})
	case n < 94:
		c.write(ctx, call{register: r, action: remove})
	default:
		c.increment(ctx)
	}
}

// read reads a register; what is not marked stale goes to the checker.
func (c *client) read(ctx context.Context, register int) {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	o := &operation{call: call{register: register, action: read}, client: c.number, node: c.node.Name, began: c.bout.now()}
	stale, err := c.node.Read(ctx)
	if err != nil {
		c.bout.figures.count("reads that failed", 1)
		c.failed(err, cluster.ErrNoQuorum, cluster.ErrNoLeader, cluster.ErrClosed)
		return
	}
	if !c.bout.lookUp(c.node, o) {
		c.node = nil
		return
	}
	if stale && !c.bout.plan.traits.self.localReads {
		c.bout.figures.count("reads marked stale", 1)
		c.bout.history.addStale(o)
		return
	}
	c.bout.figures.count("reads", 1)
	c.bout.figures.worked("a fresh read", false)
	c.bout.history.add(o)
}

// guess is what a register holds as far as the node knows: a swap from it mostly works.
func (c *client) guess(register int) value {
	var o operation
	o.register = register
	c.bout.lookUp(c.node, &o)
	return o.saw
}

// failed goes to another node next. An error that the method's documentation does not name is a finding.
func (c *client) failed(err error, documented ...error) {
	c.node = nil
	for _, d := range documented {
		if errors.Is(err, d) {
			return
		}
	}
	c.bout.fail("client %d: an error that is not documented: %v", c.number, err)
}

// write changes a register.
func (c *client) write(ctx context.Context, what call) {
	o := &operation{call: what, client: c.number, node: c.node.Name, began: c.bout.now(), ended: forever}
	p := &proposal{what: what, payload: c.bout.payload(what), id: c.node.NewRequest()}
	switch err := c.propose(ctx, p); {
	case err == nil:
		o.ended, o.verdict = c.bout.now(), p.verdict
		c.bout.figures.worked("a write", false)
		c.bout.history.add(o)
		c.ownWrite(o)
		c.again(ctx, p)
	case errors.Is(err, cluster.ErrUnknownOutcome):
		c.bout.pend(p, func() {
			o.ended, o.verdict, o.note = c.bout.now(), p.verdict, " (asked again when all was healed)"
			c.bout.history.add(o)
		})
	default:
		c.bout.history.drop(o, err)
	}
}

// ownWrite looks at the state of the node that acknowledged a write, without asking the leader.
func (c *client) ownWrite(w *operation) {
	if w.verdict != done || w.action == remove || c.rng.IntN(4) > 0 {
		return
	}
	o := &operation{call: call{register: w.register, action: read}, client: c.number, node: c.node.Name, began: c.bout.now(), own: w.value}
	if c.bout.lookUp(c.node, o) {
		c.bout.figures.count("looks at an own write", 1)
		o.note = fmt.Sprintf(" (in the state of the node that acknowledged %d)", w.value)
		c.bout.history.addStale(o)
	}
}

// increment counts a pull of a manifest. That is the one thing which a second effect always shows in.
func (c *client) increment(ctx context.Context) {
	counter := c.bout.nextCounter()
	p := &proposal{payload: c.bout.pull(counter), id: c.node.NewRequest()}
	switch err := c.propose(ctx, p); {
	case err == nil:
		c.bout.counted(counter)
		c.again(ctx, p)
	case errors.Is(err, cluster.ErrUnknownOutcome):
		c.bout.pend(p, func() { c.bout.counted(counter) })
	}
}

// again repeats some requests that were answered: the answer must be the same, and nothing may change.
func (c *client) again(ctx context.Context, p *proposal) {
	if c.meek || c.rng.IntN(25) > 0 {
		return
	}
	first := p.result
	if c.node = c.bout.anyNode(c.rng); c.node == nil {
		return
	}
	c.bout.figures.count("requests repeated after their answer", 1)
	if err := c.try(ctx, p); err == nil && fmt.Sprint(first) != fmt.Sprint(p.result) {
		c.bout.fail("invariant 9: request %s was answered %v, and later %v", p.id, first, p.result)
	}
}

// proposal is a request that may have to be repeated.
type proposal struct {
	what    call
	payload []byte
	id      entry.RequestID
	result  entry.Result
	verdict verdict
}

// propose tries at several nodes under one request id. It fails with cluster.ErrUnknownOutcome once a
// try may have been applied, and with the product's error if all certainly were not.
func (c *client) propose(ctx context.Context, p *proposal) error {
	maybe := false
	for attempt := range attempts {
		if c.node == nil {
			c.node = c.bout.anyNode(c.rng)
		}
		if c.node == nil {
			break
		}
		err := c.try(ctx, p)
		if err == nil {
			return c.bout.judge(p)
		}
		maybe = maybe || errors.Is(err, cluster.ErrUnknownOutcome)
		if !maybe {
			c.bout.figures.count("proposals that were not decided", 1)
			return err
		}
		if c.meek || attempt == 0 && c.rng.IntN(2) == 0 {
			break // half of the time the request is left alone until all is healed
		}
		c.bout.figures.count("requests repeated at another node", 1)
	}
	if !maybe {
		return cluster.ErrNoLeader
	}
	c.bout.figures.count("proposals of unknown outcome", 1)
	return cluster.ErrUnknownOutcome
}

func (c *client) try(ctx context.Context, p *proposal) error {
	ctx, cancel := context.WithTimeout(ctx, between(c.rng, 500, 4000))
	defer cancel()
	result, err := c.node.ProposeAs(ctx, p.id, p.payload)
	if err != nil {
		c.failed(err, cluster.ErrUnknownOutcome, cluster.ErrNoLeader, cluster.ErrNotLeader, cluster.ErrOverloaded, cluster.ErrClosed)
		return err
	}
	p.result = result
	return nil
}

// judge says what a result means for the history.
func (b *bout) judge(p *proposal) error {
	var err error
	switch p.what.action {
	case write, swap:
		_, err = fsm.Decode(fsm.PutManifest{}, p.result)
	case remove:
		_, err = fsm.Decode(fsm.DeleteTag{}, p.result)
	case read: // an increment
		_, err = fsm.Decode(fsm.RecordPulls{}, p.result)
	}
	switch {
	case err == nil:
		p.verdict = done
		b.figures.count(p.what.name(), 1)
	case p.what.action == swap && errors.Is(err, fsm.ErrTagCondition), p.what.action == remove && errors.Is(err, fsm.ErrTagUnknown):
		p.verdict = refused
		b.figures.count(p.what.name()+" refused", 1)
	default:
		b.fail("%s of request %s: %v", p.what.name(), p.id, err)
	}
	return nil
}

// name is how figures call an operation.
func (c call) name() string {
	return map[action]string{read: "increments", write: "writes", swap: "swaps", remove: "removals"}[c.action]
}

// lookUp fills in what a register holds in a node's own state; false if the node is gone.
func (b *bout) lookUp(n *sim.Node, o *operation) bool {
	err := n.State.View(func(v fsm.View) error {
		o.position = v.Position().Index
		m, err := v.Resolve(repository, oci.Reference{Tag: tagOf(o.register)})
		if errors.Is(err, fsm.ErrManifestUnknown) || errors.Is(err, fsm.ErrRepositoryUnknown) {
			return nil
		}
		o.saw = b.valueOf(m.Digest)
		return err
	})
	o.ended, o.verdict = b.now(), done
	if err != nil && !errors.Is(err, fsm.ErrClosed) {
		b.fail("read at %s: %v", n.Name, err)
	}
	return err == nil
}
