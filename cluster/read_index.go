package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/seed-16d79997/zot/cluster/peer"
)

// readTimeout bounds a read whose caller set no deadline, and roundTimeout one round.
const (
	readTimeout  = 5 * time.Second
	roundTimeout = time.Second
)

// round is one question to the leader, for all readers that joined before it was asked.
type round struct {
	done  chan struct{}
	index uint64
	err   error
}

// rounds are the ReadIndex rounds of this node: one in flight, one forming.
type rounds struct {
	mu       sync.Mutex
	forming  *round
	inFlight bool
	failing  time.Time // since when no round has succeeded; zero if the last one did
	lastGood time.Time
}

// ReadIndex returns when this node's state holds everything that was acknowledged, by any node, before
// the call: a read that follows is linearizable (invariant 6).
//
// It fails with ErrNoQuorum if that could not be confirmed in time, or with ErrFenced.
func (n *Node) ReadIndex(ctx context.Context) error {
	ctx, cancel := withDeadline(ctx, readTimeout)
	defer cancel()
	if err := n.up(ctx); err != nil {
		return err
	}
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		if err := n.usable(); err != nil {
			return err
		}
		changed := n.tenures.watch()
		index, err := n.join(ctx)
		if err == nil {
			err = n.applied.wait(ctx, index)
			if err == nil {
				return nil
			}
		}
		// A failed round says nothing about a later one, so the next try is a new round (etcd #21399).
		if !pause(ctx, wait, changed) {
			return fmt.Errorf("%w: %w", ErrNoQuorum, err)
		}
	}
}

// join takes part in the round that is forming.
func (n *Node) join(ctx context.Context) (uint64, error) {
	r := n.rounds.enter(func() { n.spawn(n.ask, n.refuseRound) })
	select {
	case <-r.done:
		return r.index, r.err
	case <-n.stopped:
		return 0, ErrClosed
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// enter returns the forming round; start is called if nobody is asking.
func (r *rounds) enter(start func()) *round {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.forming == nil {
		r.forming = &round{done: make(chan struct{})}
	}
	joined := r.forming
	if !r.inFlight {
		r.inFlight = true
		start()
	}
	return joined
}

// next closes the forming round to further readers; nil if there is none, and then nobody is asking.
func (r *rounds) next() *round {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.forming
	r.forming, r.inFlight = nil, next != nil
	return next
}

func (r *rounds) finish(done *round, index uint64, err error) {
	done.index, done.err = index, err
	r.mu.Lock()
	switch {
	case err == nil:
		r.failing, r.lastGood = time.Time{}, time.Now()
	case r.failing.IsZero():
		r.failing = time.Now()
	}
	r.mu.Unlock()
	close(done.done)
}

// failingFor is how long rounds have failed, 0 if the last one succeeded.
func (r *rounds) failingFor() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failing.IsZero() {
		return 0
	}
	return time.Since(r.failing)
}

// refuseRound is for a node that is closing: nobody will ask, and its readers see that it has stopped.
func (n *Node) refuseRound() { n.rounds.inFlight = false }

// ask runs rounds one after the other until no reader waits.
func (n *Node) ask() {
	for r := n.rounds.next(); r != nil; r = n.rounds.next() {
		ctx, cancel := context.WithTimeout(context.Background(), roundTimeout) // the round belongs to all its readers
		index, err := n.askLeader(ctx)
		cancel()
		n.rounds.finish(r, index, err)
	}
}

// askLeader asks for an index. This node's own term goes along, read after its readers had joined:
// that is this node's answer to the question whether the leader's term still stands.
func (n *Node) askLeader(ctx context.Context) (uint64, error) {
	term := n.raft.CurrentTerm()
	leader, who := n.raft.LeaderWithID()
	switch {
	case leader == "":
		return 0, ErrNoLeader
	case who == serverID(n.config.Incarnation):
		return n.confirm(ctx, who, term)
	}
	answer, err := n.call(ctx, leader, pathReadIndex, binary.BigEndian.AppendUint64(nil, term))
	if err != nil {
		return 0, err
	}
	if len(answer) != 8 {
		return 0, fmt.Errorf("the leader's answer is %d bytes", len(answer))
	}
	return binary.BigEndian.Uint64(answer), nil
}

const (
	pathReadIndex = "/read-index"
	pathTerm      = "/term"
)

func (n *Node) handleReadIndex(ctx context.Context, from peer.Caller, body []byte) ([]byte, error) {
	if len(body) != 8 {
		return nil, &peer.RemoteError{Code: codeUnacceptble, Message: "a read index request is a term"}
	}
	if err := n.up(ctx); err != nil {
		return nil, coded(err)
	}
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	index, err := n.confirm(ctx, raft.ServerID(from.Incarnation), binary.BigEndian.Uint64(body))
	if err != nil {
		return nil, coded(err)
	}
	return binary.BigEndian.AppendUint64(nil, index), nil
}

// handleTerm answers with the current term: an atomic read, without Raft's main loop and its disk.
func (n *Node) handleTerm(ctx context.Context, _ peer.Caller, _ []byte) ([]byte, error) {
	if err := n.up(ctx); err != nil {
		return nil, coded(err)
	}
	return binary.BigEndian.AppendUint64(nil, n.raft.CurrentTerm()), nil
}

// confirm is the leader's side of a round. First the index, then a majority that is still in this term
// after that: whoever led a later term before the question was asked had a majority in it, and the two
// would share a node. Raft's VerifyLeader is not used: it counts answers to heartbeats that were sent
// before the question. The applied counter is not used either: a follower may be ahead of it.
func (n *Node) confirm(ctx context.Context, asker raft.ServerID, askersTerm uint64) (uint64, error) {
	t := n.tenures.ready()
	if t == nil || n.config.State.Fenced() != "" {
		return 0, ErrNotLeader
	}
	index := n.raft.CommitIndex()
	var others []raft.Server
	votes, voters := 0, 0
	for _, s := range n.servers() {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		switch s.ID {
		case serverID(n.config.Incarnation):
			votes++
		case asker:
			if askersTerm == t.term {
				votes++
			}
		default:
			others = append(others, s)
		}
	}
	if votes <= voters/2 && !n.poll(ctx, others, t.term, voters/2+1-votes) {
		return 0, fmt.Errorf("%w: no majority confirmed term %d", ErrNotLeader, t.term)
	}
	if n.raft.State() != raft.Leader || n.raft.CurrentTerm() != t.term || n.tenures.ready() != t {
		return 0, ErrNotLeader
	}
	return index, nil
}

// poll asks all servers at once for their term and reports whether enough are in the given one.
func (n *Node) poll(ctx context.Context, servers []raft.Server, term uint64, enough int) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	same := make(chan bool, len(servers))
	for _, s := range servers {
		n.spawn(func() {
			answer, err := n.call(ctx, s.Address, pathTerm, nil)
			same <- err == nil && len(answer) == 8 && binary.BigEndian.Uint64(answer) == term
		}, func() { same <- false })
	}
	for range servers {
		select {
		case ok := <-same:
			if ok {
				enough--
			}
		case <-ctx.Done():
			return false
		}
		if enough == 0 {
			return true
		}
	}
	return false
}

// NoQuorum reports whether there is evidence that no quorum can be reached: no leader is known, or
// rounds have failed for twice the election timeout.
func (n *Node) NoQuorum() bool {
	select {
	case <-n.started:
	default:
		return false
	}
	if leader, _ := n.raft.LeaderWithID(); leader == "" {
		return true
	}
	return n.rounds.failingFor() > 2*n.config.Timing.Election
}

// Read prepares this node for a read of what may change, such as a tag: as ReadIndex, or, where the
// configuration allows it and there is evidence that no quorum can be reached, with stale true.
//
// It fails as ReadIndex does.
func (n *Node) Read(ctx context.Context) (stale bool, err error) {
	if n.config.Reads == Local {
		return true, nil
	}
	if n.config.Reads == Strict {
		return false, n.ReadIndex(ctx)
	}
	ctx, cancel := withDeadline(ctx, readTimeout)
	defer cancel()
	for {
		try, done := context.WithTimeout(ctx, max(100*time.Millisecond, n.config.Timing.Election/4))
		err := n.ReadIndex(try)
		done()
		switch {
		case err == nil || errors.Is(err, ErrFenced) || errors.Is(err, ErrClosed):
			return false, err
		case n.NoQuorum():
			return true, nil
		case ctx.Err() != nil:
			return false, err
		}
	}
}

// Applied is the log index that this node's state has come to.
func (n *Node) Applied() uint64 { return n.applied.get() }
