// Package fsm is the replicated state: every record that the nodes of a cluster agree on, and every
// command that can change one.
//
// It has no clock, no randomness, no network and no Raft: Apply is a function of the state and the
// entry. Time, date and identity come in the envelope, numbers such as leases and replicas stand in
// the state itself (SetStore). It may import fsm/oci and cluster/entry, nothing else of ours.
//
// Start with commands.go, the table of all commands; each has a file of its own, with its struct, its
// wire name and its apply. apply.go shows how a batch of entries becomes one transaction, tx.go what
// a command may do, schema.go where records lie, view.go how they are read. database.go has what makes
// the file durable; snapshot.go, stage.go and install.go take a whole state from one node to another.
//
// It keeps invariants 2, 3, 7, 8 and 9 of docs/design, and the parts of 4, 5 and 10 that the order
// in the log decides.
package fsm

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// Proposer puts a payload into the replicated log and returns what applying it gave, once this node
// has applied it too. A Node proposes from anywhere; a leader's term-bound proposer only in its term.
type Proposer interface {
	// Propose fails if it is not decided or not known what became of the payload; those errors are
	// the implementation's own, and Do passes them on.
	Propose(ctx context.Context, payload []byte) (entry.Result, error)
}

// ErrOutcomeUnknown is returned by Do for a request whose first try is too long ago: it may have been
// applied, and the state no longer knows.
var ErrOutcomeUnknown = errors.New("too late to know whether the command was applied")

// Do proposes cmd and returns its typed result.
//
// It fails with a *Refusal (ask with errors.Is for the sentinels of refusal.go) if the command was
// judged and changed nothing, with ErrOutcomeUnknown, or with the proposer's own error.
func Do[R any](ctx context.Context, p Proposer, cmd CommandOf[R]) (R, error) {
	var zero R
	payload, err := Encode(cmd)
	if err != nil {
		return zero, err
	}
	result, err := p.Propose(ctx, payload)
	if err != nil {
		return zero, fmt.Errorf("propose %s: %w", cmd.wire(), err)
	}
	return Decode(cmd, result)
}

// Decode returns the typed form of what applying cmd gave. Its errors are those of Do.
func Decode[R any](cmd CommandOf[R], result entry.Result) (R, error) {
	var r R
	switch result.Outcome {
	case entry.Applied:
		if err := decode(result.Bytes, &r); err != nil {
			return r, fmt.Errorf("result of %s: %w", cmd.wire(), err)
		}
		return r, nil
	case entry.Refused:
		return r, decodeRefusal(result.Bytes)
	case entry.WrongTerm, entry.Expired:
		return r, fmt.Errorf("%s: %w", cmd.wire(), ErrOutcomeUnknown)
	default:
		return r, fmt.Errorf("%s: outcome %d is not known", cmd.wire(), result.Outcome)
	}
}
