package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cluster/peer"
)

// errReplaced ends a call to a leader when there is another.
var errReplaced = errors.New("another node leads")

// proposeTimeout bounds a proposal whose caller set no deadline.
const proposeTimeout = 30 * time.Second

// NewRequest names a request that has not been proposed yet. A caller that may have to repeat one over
// calls, or that must never propose a thing twice, keeps the name and uses ProposeAs.
func (n *Node) NewRequest() entry.RequestID {
	return entry.RequestID{
		Incarnation: n.config.Incarnation,
		Random:      n.random,
		Sequence:    n.sequence.Add(1),
		FirstTry:    n.config.State.Position().Time,
	}
}

// Propose puts payload into the log, from any node, and returns what applying it gave once this node
// has applied it too, so that its next read sees it. The command takes effect once, however often it
// had to be sent.
//
// It fails with ErrRefused, ErrFenced, ErrNoLeader or ErrOverloaded if the command was certainly not
// applied, and with ErrUnknownOutcome if it may have been.
func (n *Node) Propose(ctx context.Context, payload []byte) (entry.Result, error) {
	ctx, cancel := withDeadline(ctx, proposeTimeout)
	defer cancel()
	for {
		result, tries, err := n.propose(ctx, n.NewRequest(), payload)
		if err != nil || result.Outcome != entry.Expired || tries > 1 {
			return result, err
		}
		// This node had fallen behind, so its very first try looked too old. It has been applied by
		// nobody, and this node knows the time again.
	}
}

// ProposeAs is Propose under a name that the caller keeps. The same name with another payload is a
// mistake that nobody notices.
func (n *Node) ProposeAs(ctx context.Context, id entry.RequestID, payload []byte) (entry.Result, error) {
	ctx, cancel := withDeadline(ctx, proposeTimeout)
	defer cancel()
	result, _, err := n.propose(ctx, id, payload)
	return result, err
}

// propose tries until the outcome is known or ctx ends; it also says how often it tried.
func (n *Node) propose(ctx context.Context, id entry.RequestID, payload []byte) (r entry.Result, tries int, err error) {
	if err := n.up(ctx); err != nil {
		return entry.Result{}, 0, err
	}
	var last error
	maybe := false
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		changed := n.tenures.watch()
		tries++
		result, index, err := n.attempt(ctx, id, payload)
		if err == nil {
			if err := n.applied.wait(ctx, index); err != nil {
				return entry.Result{}, tries, fmt.Errorf("%w: entry %d is committed and not yet applied here", ErrUnknownOutcome, index)
			}
			return result, tries, nil
		}
		if errors.Is(err, ErrRefused) || errors.Is(err, ErrFenced) || !maybe && errors.Is(err, ErrClosed) {
			return entry.Result{}, tries, err
		}
		last, maybe = err, maybe || errors.Is(err, ErrUnknownOutcome)
		if !pause(ctx, wait, changed) {
			break
		}
	}
	if maybe {
		return entry.Result{}, tries, fmt.Errorf("%w: %w", ErrUnknownOutcome, last)
	}
	return entry.Result{}, tries, last
}

// attempt tries once: here, or at the leader.
func (n *Node) attempt(ctx context.Context, id entry.RequestID, payload []byte) (entry.Result, uint64, error) {
	if err := n.usable(); err != nil {
		return entry.Result{}, 0, err
	}
	leader, who := n.raft.LeaderWithID()
	switch {
	case leader == "":
		return entry.Result{}, 0, ErrNoLeader
	case who == serverID(n.config.Incarnation):
		return n.lead(ctx, id, payload, 0)
	default:
		ctx, end := n.untilReplaced(ctx, leader)
		defer end()
		return n.forward(ctx, leader, id, payload)
	}
}

// untilReplaced is ctx that ends when this node knows another leader: one that is silent, on a line that was
// cut, would be waited for as long as TCP waits. The request may have been appended there; under its id it
// is proposed to the other leader. The caller calls end.
func (n *Node) untilReplaced(ctx context.Context, leader raft.ServerAddress) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() { // waited for by end
		defer close(watched)
		for {
			changed := n.tenures.watch()
			if now, _ := n.raft.LeaderWithID(); now != leader && now != "" {
				cancel(errReplaced)
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-watched
	}
}

// lead appends payload here, if this node is a ready leader; with a term, only in that one.
func (n *Node) lead(ctx context.Context, id entry.RequestID, payload []byte, term uint64) (entry.Result, uint64, error) {
	t := n.tenures.ready()
	if t == nil || (term != 0 && t.term != term) {
		return entry.Result{}, 0, ErrNotLeader
	}
	if reason := n.config.State.Fenced(); reason != "" { // others forward to it until it has handed over
		return entry.Result{}, 0, fmt.Errorf("%w: %w: %s", ErrNotLeader, ErrFenced, reason)
	}
	if err := n.config.State.Admit(payload); err != nil {
		return entry.Result{}, 0, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return n.append(ctx, entry.Envelope{Request: id, Term: t.term, Time: t.clock.now(), Date: time.Now().UnixMilli()}, payload)
}

// append hands an entry to Raft and waits for it to be applied here. What waits is bounded, so that an
// isolated leader's log stays short (raft #697) and memory too.
func (n *Node) append(ctx context.Context, e entry.Envelope, payload []byte) (entry.Result, uint64, error) {
	data := entry.Wrap(e, payload)
	if err := n.reserve(ctx, int64(len(data))); err != nil {
		return entry.Result{}, 0, err
	}
	type answer struct {
		result entry.Result
		index  uint64
		err    error
	}
	got := make(chan answer, 1)
	// Nobody waits for this goroutine: Raft's future cannot be waited for with a context, and what was
	// committed and not yet applied when Raft shuts down is never answered. It ends with the answer, or
	// with the process.
	go func() {
		defer n.count.Release(1)
		defer n.bytes.Release(int64(len(data)))
		f := n.raft.Apply(data, time.Second)
		if err := f.Error(); err != nil {
			got <- answer{err: outcome(err)}
			return
		}
		a := answer{index: f.Index()}
		a.result, _ = f.Response().(entry.Result)
		if a.result.Outcome == entry.WrongTerm {
			a.err = ErrNotLeader
		}
		got <- a
	}()
	select {
	case a := <-got:
		return a.result, a.index, a.err
	case <-ctx.Done():
		return entry.Result{}, 0, fmt.Errorf("%w: not committed in time", ErrUnknownOutcome)
	case <-n.stopped:
		return entry.Result{}, 0, fmt.Errorf("%w: the node is closing", ErrUnknownOutcome)
	case <-n.failed:
		return entry.Result{}, 0, fmt.Errorf("%w: %w", ErrUnknownOutcome, n.failure)
	}
}

func (n *Node) reserve(ctx context.Context, size int64) error {
	if err := n.count.Acquire(ctx, 1); err != nil {
		return ErrOverloaded
	}
	if err := n.bytes.Acquire(ctx, size); err != nil {
		n.count.Release(1)
		return ErrOverloaded
	}
	return nil
}

// outcome tells what Raft certainly did not append from what it may have.
func outcome(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
}

// The proposal between nodes: 48 bytes of request id, then the payload; the answer is the log index,
// a byte of outcome, and the result's bytes.
const (
	pathPropose     = "/propose"
	proposalHead    = 16 + 3*8
	answerHead      = 8 + 1
	codeNotLeader   = "not-leader"
	codeRefused     = "refused"
	codeOverloaded  = "overloaded"
	codeUnknown     = "unknown"
	codeUnacceptble = "bad-request"
)

func (n *Node) forward(ctx context.Context, leader raft.ServerAddress, id entry.RequestID, payload []byte) (entry.Result, uint64, error) {
	body := make([]byte, 0, proposalHead+len(payload))
	body = append(body, id.Incarnation[:]...)
	body = binary.BigEndian.AppendUint64(body, id.Random)
	body = binary.BigEndian.AppendUint64(body, id.Sequence)
	body = binary.BigEndian.AppendUint64(body, uint64(id.FirstTry)) //nolint:gosec // state time is not negative
	answer, err := n.call(ctx, leader, pathPropose, append(body, payload...))
	if err != nil {
		return entry.Result{}, 0, remote(err)
	}
	if len(answer) < answerHead {
		return entry.Result{}, 0, fmt.Errorf("%w: the leader's answer is %d bytes", ErrUnknownOutcome, len(answer))
	}
	result := entry.Result{Outcome: entry.Outcome(answer[8]), Bytes: answer[answerHead:]}
	return result, binary.BigEndian.Uint64(answer), nil
}

func (n *Node) handlePropose(ctx context.Context, _ peer.Caller, body []byte) ([]byte, error) {
	if len(body) < proposalHead {
		return nil, &peer.RemoteError{Code: codeUnacceptble, Message: "a proposal begins with its request id"}
	}
	var id entry.RequestID
	copy(id.Incarnation[:], body)
	id.Random = binary.BigEndian.Uint64(body[16:])
	id.Sequence = binary.BigEndian.Uint64(body[24:])
	id.FirstTry = entry.Time(binary.BigEndian.Uint64(body[32:])) //nolint:gosec // as forward wrote it
	if err := n.up(ctx); err != nil {
		return nil, coded(err)
	}
	result, index, err := n.lead(ctx, id, body[proposalHead:], 0)
	if err != nil {
		return nil, coded(err)
	}
	answer := binary.BigEndian.AppendUint64(make([]byte, 0, answerHead+len(result.Bytes)), index)
	return append(append(answer, byte(result.Outcome)), result.Bytes...), nil
}

// coded is err as it travels to the node that asked; remote is the way back.
func coded(err error) error {
	code := codeUnknown
	switch {
	case errors.Is(err, ErrNotLeader), errors.Is(err, ErrNoLeader):
		code = codeNotLeader
	case errors.Is(err, ErrRefused):
		code = codeRefused
	case errors.Is(err, ErrOverloaded):
		code = codeOverloaded
	}
	return &peer.RemoteError{Code: code, Message: err.Error()}
}

func remote(err error) error {
	var r *peer.RemoteError
	if !errors.As(err, &r) {
		if isNotSent(err) {
			return fmt.Errorf("%w: %w", ErrNoLeader, err)
		}
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	switch r.Code {
	case codeNotLeader:
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	case codeRefused:
		return fmt.Errorf("%w: %w", ErrRefused, err)
	case codeOverloaded:
		return fmt.Errorf("%w: %w", ErrOverloaded, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
}

func isNotSent(err error) bool { return errors.Is(err, peer.ErrNotSent) }

// withDeadline gives ctx a deadline if it has none.
func withDeadline(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}

// pause waits for d, or until something changed; false if ctx ended first.
func pause(ctx context.Context, d time.Duration, changed <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-changed:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
