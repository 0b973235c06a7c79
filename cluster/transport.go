package cluster

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// Errors that the transport gives to Raft.
var (
	errNoVote      = errors.New("this node does not vote: its state differs from the majority's")
	errSuperseded  = errors.New("another snapshot is arriving")
	errStopping    = errors.New("transport is closing")
	errRestartNext = errors.New("node restarts to read its log anew")
)

// under is what the transport needs beneath it; Raft's network and in-memory transports both are it.
type under interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

// transport stands between the network and Raft, and hands Raft one message at a time.
//
//   - Heartbeats take no fast path (raft #695): on it they change term and state beside the main loop,
//     which can then append entries in a term that it does not lead.
//   - A snapshot is taken in beside Raft, not on its main goroutine, so that heartbeats are answered
//     meanwhile and a leader with one other voter left keeps its lease.
//   - A snapshot that would tell nothing new is answered without Raft. Taken in beside Raft it can be
//     overtaken by entries, and Raft would throw those away, acknowledged or not.
//   - After a snapshot that is shorter than a stale log Raft goes on to believe in the log that it has
//     just emptied (raft #697): it never catches up, and it grants votes by that belief. Such a node
//     gets no further message and restarts.
//   - A fenced node neither asks for votes nor grants them.
type transport struct {
	under
	state     StateMachine
	logs      *logStore
	log       hclog.Logger
	failStop  func(error)
	endCalls  func()
	contact   func(raft.ServerID)
	fenced    func() bool
	forRaft   chan raft.RPC
	staged    chan *arrival
	closing   chan struct{}
	closeOnce sync.Once
	running   sync.WaitGroup

	mu     sync.Mutex
	newest *arrival // guarded by mu
}

// start begins to hand on messages; Close ends it and waits.
func (t *transport) start() {
	t.forRaft, t.staged, t.closing = make(chan raft.RPC), make(chan *arrival), make(chan struct{})
	t.running.Go(t.run)
}

// Close closes the connections and waits for what start began.
func (t *transport) Close() error {
	t.closeOnce.Do(func() { close(t.closing) })
	t.stage(nil)
	t.endCalls()
	err := t.under.Close()
	t.running.Wait()
	return err
}

// Consumer is where Raft gets its messages.
func (t *transport) Consumer() <-chan raft.RPC { return t.forRaft }

// SetHeartbeatHandler does nothing: without a handler heartbeats come like all else.
func (t *transport) SetHeartbeatHandler(func(raft.RPC)) {}

// EncodePeer is the address itself: a vote is remembered by it, so nothing may change it on the way.
func (t *transport) EncodePeer(_ raft.ServerID, a raft.ServerAddress) []byte { return []byte(a) }

// AppendEntries notes who answers: that is what makes a node live (DESIGN 3).
func (t *transport) AppendEntries(id raft.ServerID, a raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := t.under.AppendEntries(id, a, args, resp)
	if err == nil {
		t.contact(id)
	}
	return err
}

// RequestVote asks for a vote, unless this node is fenced.
func (t *transport) RequestVote(id raft.ServerID, a raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	if t.fenced() {
		return errNoVote
	}
	return t.under.RequestVote(id, a, args, resp)
}

// RequestPreVote asks whether a vote would be given, unless this node is fenced.
func (t *transport) RequestPreVote(id raft.ServerID, a raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	if t.fenced() {
		return errNoVote
	}
	return t.under.RequestPreVote(id, a, args, resp)
}

func (t *transport) run() {
	for {
		select {
		case rpc := <-t.under.Consumer():
			t.receive(rpc)
		case a := <-t.staged:
			t.install(a)
		case <-t.closing:
			return
		}
	}
}

func (t *transport) receive(rpc raft.RPC) {
	switch rpc.Command.(type) {
	case *raft.InstallSnapshotRequest:
		t.stage(&rpc)
	case *raft.RequestVoteRequest, *raft.RequestPreVoteRequest, *raft.TimeoutNowRequest:
		if t.fenced() {
			respond(rpc, errNoVote)
			return
		}
		t.hand(rpc)
	default:
		t.hand(rpc)
	}
}

// hand gives Raft one message and waits for the answer, so that the next one finds Raft done with it.
// It reports whether Raft answered without an error.
func (t *transport) hand(rpc raft.RPC) bool {
	answer := make(chan raft.RPCResponse, 1)
	select {
	case t.forRaft <- raft.RPC{Command: rpc.Command, Reader: rpc.Reader, RespChan: answer}:
	case <-t.closing:
		respond(rpc, errStopping)
		return false
	}
	select {
	case a := <-answer:
		rpc.RespChan <- a
		return a.Error == nil
	case <-t.closing:
		respond(rpc, errStopping)
		return false
	}
}

// respond answers in Raft's place. A response object goes with the error, for the wire format has one.
func respond(rpc raft.RPC, err error) {
	var answer any
	switch rpc.Command.(type) {
	case *raft.AppendEntriesRequest:
		answer = &raft.AppendEntriesResponse{}
	case *raft.RequestVoteRequest:
		answer = &raft.RequestVoteResponse{}
	case *raft.RequestPreVoteRequest:
		answer = &raft.RequestPreVoteResponse{}
	case *raft.InstallSnapshotRequest:
		answer = &raft.InstallSnapshotResponse{}
	case *raft.TimeoutNowRequest:
		answer = &raft.TimeoutNowResponse{}
	}
	rpc.RespChan <- raft.RPCResponse{Response: answer, Error: err}
}

// arrival is a snapshot that is being taken in, or was and waits for Raft.
type arrival struct {
	rpc   raft.RPC
	abort func()        // makes Stage fail; does not wait
	done  chan struct{} // closed when Stage has returned
}

// stage takes a snapshot in beside Raft; a newer one ends an older one that is still arriving. With
// nil it only ends what is arriving. It does not wait: Raft's messages come through its caller.
func (t *transport) stage(rpc *raft.RPC) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.newest
	if before != nil {
		before.abort()
	}
	if rpc == nil {
		return
	}
	r, w := io.Pipe()
	a := &arrival{rpc: *rpc, done: make(chan struct{}), abort: func() { r.CloseWithError(errSuperseded) }}
	t.newest = a
	copied := make(chan struct{})
	t.running.Go(func() { // it hangs as long as its connection does, which Close ends
		defer close(copied)
		_, err := io.Copy(w, rpc.Reader)
		w.CloseWithError(err)
	})
	t.running.Go(func() {
		if before != nil {
			<-before.done // Stage has one caller at a time
		}
		err := t.state.Stage(r)
		close(a.done)
		a.abort() // what Stage left belongs to this message all the same
		<-copied
		_, drain := io.Copy(io.Discard, rpc.Reader)
		if err = errors.Join(err, drain); err != nil {
			t.log.Warn("snapshot was not taken in", "error", err)
			respond(*rpc, fmt.Errorf("stage snapshot: %w", err))
			return
		}
		select {
		case t.staged <- a:
		case <-t.closing:
			respond(*rpc, errStopping)
		}
	})
}

// isNewest reports whether what lies staged is this arrival's.
func (t *transport) isNewest(a *arrival) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.newest == a
}

// install hands a staged snapshot to Raft, if it still tells Raft something new.
func (t *transport) install(a *arrival) {
	rpc := a.rpc
	if !t.isNewest(a) {
		respond(rpc, errSuperseded) // another one has taken its place on the disk, or is about to
		return
	}
	req := rpc.Command.(*raft.InstallSnapshotRequest) // only stage sends here
	known, stale, err := t.judge(req)
	switch {
	case err != nil:
		respond(rpc, err)
		return
	case known:
		t.log.Info("snapshot is known already", "log_index", req.LastLogIndex)
		rpc.RespChan <- raft.RPCResponse{Response: &raft.InstallSnapshotResponse{Term: req.Term, Success: true}}
		return
	}
	small := *req
	small.Size = int64(len(stagedToken))
	began := time.Now()
	ok := t.hand(raft.RPC{Command: &small, Reader: strings.NewReader(stagedToken), RespChan: rpc.RespChan})
	t.log.Info("snapshot installed", "log_index", req.LastLogIndex, "ok", ok, "duration_seconds", time.Since(began).Seconds())
	if stale && t.state.Position().Index >= req.LastLogIndex {
		t.failStop(fmt.Errorf("a snapshot at log index %d replaced a longer log that was never committed: %w", req.LastLogIndex, errRestartNext))
		<-t.closing
	}
}

// judge compares a snapshot with what is here: known, if the state or an entry of the log has it
// already; stale, if the log reaches as far all the same.
func (t *transport) judge(req *raft.InstallSnapshotRequest) (known, stale bool, err error) {
	last, err := t.logs.LastIndex()
	if err != nil {
		return false, false, err
	}
	if p := t.state.Position(); p.Index >= req.LastLogIndex {
		return true, false, nil
	}
	var at raft.Log
	switch err := t.logs.GetLog(req.LastLogIndex, &at); {
	case err == nil && at.Term == req.LastLogTerm:
		return true, false, nil
	case err != nil && !errors.Is(err, raft.ErrLogNotFound):
		return false, false, err
	}
	return false, last >= req.LastLogIndex, nil
}
