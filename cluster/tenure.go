package cluster

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// jobGrace is how long a leader's work may go on after the leadership ended. Longer is a mistake in
// the program, and a deposed leader's work must not go on unseen.
const jobGrace = 30 * time.Second

// tenure is one leadership of this node, from the moment that it is ready.
type tenure struct {
	term  uint64
	clock *clock
	ctx   context.Context //nolint:containedctx // ends with the tenure; it is the tenure's extent in time, not a call's
}

// tenures is the tenure of the moment, if this node leads, and those who wait for it or for another
// leader.
type tenures struct {
	mu      sync.Mutex
	current *tenure
	changed chan struct{} // closed and replaced when the leader may have changed; guarded by mu
}

// ready is the tenure of the moment; nil if this node does not lead, or is not ready yet.
func (t *tenures) ready() *tenure {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == nil || t.current.ctx.Err() != nil {
		return nil
	}
	return t.current
}

func (t *tenures) set(current *tenure) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.current = current
	close(t.changed)
	t.changed = make(chan struct{})
}

// watch returns what is closed when the leader may have changed.
func (t *tenures) watch() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}

// wake tells those who wait that the leader may have changed.
func (t *tenures) wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.changed)
	t.changed = make(chan struct{})
}

// followLeadership takes up leadership when Raft gives it and ends it when Raft takes it. It returns
// when ctx ended and the last tenure is over.
func (n *Node) followLeadership(ctx context.Context) error {
	observed := make(chan raft.Observation, 16)
	observer := raft.NewObserver(observed, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	n.raft.RegisterObserver(observer)
	defer n.raft.DeregisterObserver(observer)
	end := func() {}
	defer func() { end() }()
	for {
		select {
		case leading := <-n.notify:
			end()
			end = func() {}
			if leading {
				end = n.begin(ctx)
			}
		case <-observed:
			n.tenures.wake()
		case <-ctx.Done():
			return nil
		}
	}
}

// begin starts a tenure; the function it returns ends it and waits.
func (n *Node) begin(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { // waited for by end
		defer close(done)
		n.serveTerm(ctx)
	}()
	return func() {
		cancel()
		n.tenures.set(nil)
		<-done
	}
}

// serveTerm makes this leader ready and does what only a leader does, until ctx ends.
func (n *Node) serveTerm(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		t, err := n.becomeReady(ctx)
		if err == nil {
			n.living.begin()
			n.tenures.set(t)
			n.log.Info("leadership gained", "term", t.term)
			n.duties(ctx, t)
			n.log.Info("leadership ended", "term", t.term)
			return
		}
		n.log.Warn("leader is not ready", "error", err, "attempt", attempt)
		// A leader that leads and cannot commit is worse than none (Consul #2896).
		if attempt%4 == 3 {
			if err := n.raft.LeadershipTransfer().Error(); err != nil {
				n.log.Warn("leadership was not handed over", "error", err)
			}
		}
		pause(ctx, 100*time.Millisecond, nil)
	}
}

// becomeReady commits the first command of the term. When it is applied, all that earlier leaders
// committed is applied here too, and the commit index belongs to an entry that every state machine
// will be given: from then on this leader may answer for the whole cluster.
func (n *Node) becomeReady(ctx context.Context) (*tenure, error) {
	if reason := n.config.State.Fenced(); reason != "" {
		return nil, fmt.Errorf("%w: %s", ErrFenced, reason)
	}
	term := n.raft.CurrentTerm()
	envelope := entry.Envelope{Term: term, Time: n.config.State.Position().Time, Date: time.Now().UnixMilli()}
	result, _, err := n.append(ctx, envelope, n.config.Roster.TermStarted())
	if err != nil {
		return nil, err
	}
	if err := n.config.Roster.Explain(result); err != nil {
		return nil, err
	}
	clock := newClock(n.config.State.Position().Time, n.config.State.Tick)
	return &tenure{term: term, clock: clock, ctx: ctx}, nil
}

// duties are what the cluster itself needs of its leader.
func (n *Node) duties(ctx context.Context, t *tenure) {
	p := termProposer{n, t}
	var running sync.WaitGroup
	running.Go(func() { n.tick(ctx, p) })
	running.Go(func() { n.reconcileUntil(ctx, p) })
	running.Wait()
}

// termProposer proposes in one term, on this node, and nowhere else.
type termProposer struct {
	node   *Node
	tenure *tenure
}

// Propose appends payload if this node still leads the term. Its errors are those of Node.Propose, and
// ErrNotLeader.
func (p termProposer) Propose(ctx context.Context, payload []byte) (entry.Result, error) {
	ctx, cancel := withDeadline(ctx, proposeTimeout)
	defer cancel()
	result, _, err := p.node.lead(ctx, entry.RequestID{}, payload, p.tenure.term) // nobody asks again, so nothing is kept
	return result, err
}

// WhileLeader calls work whenever this node is a ready leader, with a context that ends with the
// leadership and a proposer that is bound to the term: what comes late is refused. It returns nil when
// ctx has ended and work has returned.
//
// It waits for work after the leadership ended; work that has not returned 30 s later stops the node,
// with all stacks in the log.
func (n *Node) WhileLeader(ctx context.Context, work func(ctx context.Context, p Proposer)) error {
	for {
		changed := n.tenures.watch()
		if t := n.tenures.ready(); t != nil {
			n.during(ctx, t, work)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		case <-n.failed:
			return n.failure
		}
	}
}

func (n *Node) during(ctx context.Context, t *tenure, work func(context.Context, Proposer)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)() //nolint:contextcheck // it ends with either of the two
	done := make(chan struct{})
	go func() { // waited for below
		defer close(done)
		work(ctx, termProposer{n, t})
	}()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	grace := time.NewTimer(jobGrace)
	defer grace.Stop()
	select {
	case <-done:
	case <-grace.C:
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		n.log.Error("a leader's work goes on after its leadership", "term", t.term, "stacks", string(stacks))
		n.failStop(errors.New("a leader's work did not end with its leadership"))
	}
}

// handOver gives leadership away before this node goes, so that writes pause for milliseconds and not
// for an election.
func (n *Node) handOver() {
	for range 3 {
		if n.raft.State() != raft.Leader || n.voters() < 2 {
			return
		}
		err := n.raft.LeadershipTransfer().Error()
		if err == nil {
			return
		}
		n.log.Warn("leadership was not handed over", "error", err)
	}
}

// Transfer hands leadership to the named node, or to the one that is furthest along if name is "". It
// fails if this node does not lead, or nobody took it.
func (n *Node) Transfer(ctx context.Context, name string) error {
	if err := n.up(ctx); err != nil {
		return err
	}
	if n.raft.State() != raft.Leader {
		return ErrNotLeader
	}
	if name == "" {
		return n.raft.LeadershipTransfer().Error()
	}
	nodes, err := n.config.Roster.Nodes()
	if err != nil {
		return err
	}
	for _, node := range nodes {
		if node.Name == name && node.State == entry.Member {
			return n.raft.LeadershipTransferToServer(serverID(node.Incarnation), serverAddress(node.Incarnation, node.Address)).Error()
		}
	}
	return fmt.Errorf("no member is named %q", name)
}

// voters counts the voters of the newest configuration.
func (n *Node) voters() int {
	count := 0
	for _, s := range n.servers() {
		if s.Suffrage == raft.Voter {
			count++
		}
	}
	return count
}

// servers is Raft's newest configuration; it is read without Raft's main loop.
func (n *Node) servers() []raft.Server {
	return n.raft.GetConfiguration().Configuration().Servers
}
