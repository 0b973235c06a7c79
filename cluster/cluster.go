// Package cluster turns many nodes into one log of opaque bytes, and says who leads.
//
// It does not know what it replicates: it drives a StateMachine over bytes. What it must say about
// nodes in the replicated state it says through a Roster, which makes the payloads. It may import
// cluster/peer and cluster/entry, nothing else of ours, and it is the only package that may reach
// hashicorp/raft.
//
// Start with node.go, which wires the parts together in the order in which they start. A write is
// propose.go; a read read_index.go; what a new leader does first ready.go; who is in the cluster
// formation.go, join.go and reconcile.go. log_store.go, transport.go and snapshots.go close the known
// holes of the Raft library; each names the one it closes.
//
// It keeps invariants 6, 8, 9 and 10 of docs/design, and its part of 7 and 12.
package cluster

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// StateMachine is what the log is applied to. Its methods may be called concurrently, but Apply, Stage
// and Install only by one caller at a time.
type StateMachine interface {
	// Admit refuses a payload that must not enter the log.
	Admit(payload []byte) error
	// Apply executes entries in one durable transaction and returns a result for each. It panics if it
	// cannot: the node stops then.
	Apply(entries []entry.Entry) []entry.Result
	// Position is how far Apply has come. It is cheap.
	Position() entry.Position
	// Advance raises the position over entries of Raft's own, which Apply is never given. It is durable
	// when it returns.
	Advance(index, term uint64) error
	// OpenSnapshot returns the whole state as it is, for another node. The caller closes it. Size is
	// exact, before anything was written.
	OpenSnapshot() (position entry.Position, size int64, stream Stream, err error)
	// Stage takes a snapshot of another node in, checks it and keeps it aside.
	Stage(r io.Reader) error
	// Install makes the staged snapshot the state, wholly or not at all.
	Install(stamp entry.Stamp) error
	// Tick is how long, in state time, a leader may append nothing.
	Tick() time.Duration
	// Hash is this node's state hash as noted at the check with that log index, if it is still kept.
	Hash(index uint64) ([]byte, bool)
	// Fenced is why this node must neither serve nor vote; "" if it may.
	Fenced() string
}

// Stream is an open snapshot.
type Stream interface {
	io.WriterTo
	io.Closer
}

// Roster is what the cluster asks and says about its nodes in the replicated state.
type Roster interface {
	// Nodes lists all that the state knows, dropped ones too.
	Nodes() ([]entry.Node, error)
	// ClusterID is nil until the first leader has recorded it.
	ClusterID() []byte

	// The payloads of the commands that the cluster proposes by itself.
	TermStarted() []byte
	HashCheck(index uint64, sum []byte) []byte
	ClusterFormed(name string, id []byte) []byte
	NodeStarted(node entry.Node) []byte
	NodeJoined(incarnation entry.Incarnation) []byte
	RetireNode(incarnation entry.Incarnation) []byte
	DropNode(incarnation entry.Incarnation, lost, unlessSole bool) []byte

	// Explain is nil for a result that is Applied, else an error that says why it is not.
	Explain(result entry.Result) error
}

// Errors of Node's methods.
var (
	// ErrNoLeader: not decided. The command was not sent, because no leader was found in time.
	ErrNoLeader = errors.New("no leader")
	// ErrUnknownOutcome: the command may have been applied. The same request may be proposed again.
	ErrUnknownOutcome = errors.New("outcome unknown")
	// ErrOverloaded: not decided. Too much is waiting to be committed.
	ErrOverloaded = errors.New("too many proposals are waiting")
	// ErrRefused: the leader will not let the payload into the log.
	ErrRefused = errors.New("payload not admitted to the log")
	// ErrNotLeader: not decided. The proposer was bound to a term that is over.
	ErrNotLeader = errors.New("no longer leader of this term")
	// ErrFenced: this node's state differs from the majority's; it neither serves nor votes.
	ErrFenced = errors.New("node is fenced")
	// ErrNoQuorum: a linearizable read could not be confirmed.
	ErrNoQuorum = errors.New("no quorum")
	// ErrClosed: the node has been shut down.
	ErrClosed = errors.New("node is closed")
	// ErrHalt as the cause of the end of Run's context stops the node without handing anything over.
	ErrHalt = errors.New("halted")
	// ErrLostDisk: the directory once was a node's and is no longer whole.
	ErrLostDisk = errors.New("the node's directory is not whole")
)

// Proposer puts a payload into the log and returns what applying it gave, once this node has applied
// it too.
type Proposer interface {
	Propose(ctx context.Context, payload []byte) (entry.Result, error)
}
