// Package move brings the blobs of a repository that was moved to another store there, while it is served.
//
// It is a job of the leader, and does not know it: its context ends with the leadership, its proposer is bound to the
// term, and its one command is MoveLink (invariant 10). What is left to do stands in the state: who leads next goes on
// with it, and a repository that is moved back meanwhile is brought back.
//
// The bytes of a blob take the way of an upload: they are read from the old store, checked, into an upload of the new
// one, which makes as many copies as it wants; the stamp is taken after a round and before the copies get their names;
// and they are proposed once (GC R6, R10; invariants 1, 4 and 5). Apply judges whether the link is still there and still
// to be moved. Where it is not, the new copies are never recorded, and swept. Until it has moved, everybody reads the
// blob in the old store; what is in that without a link then is garbage like any other.
//
// Start with New; a run is in run.go, one blob in blob.go.
package move

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
)

// every is how soon after a run the next one looks for what could not be moved, unless there is cause to look earlier.
const every = time.Minute

// State is the replicated state of this node.
type State interface {
	// View calls fn with the newest applied state and returns its error.
	View(fn func(v fsm.View) error) error
}

// Consistency says how new this node's state is.
type Consistency interface {
	// ReadIndex returns when the state holds everything that was acknowledged, by any node, before the
	// call; it fails if it cannot know that in time.
	ReadIndex(ctx context.Context) error
}

// Stores are those of this node. They may be asked concurrently.
type Stores interface {
	// Store returns the store that the state knows by a name; nil if this node has none.
	Store(name string) blobstore.Store
}

// Deps is what the job works with.
type Deps struct {
	State       State
	Consistency Consistency
	Proposer    fsm.Proposer // of this term
	Stores      Stores
	Pace        blobstore.Pace // nil: no limit
	Logger      hclog.Logger   // nil: none
	AtOnce      int            // how many blobs are moved at a time, fewer than usual; 0: as many as usual
}

// mover is the job. What it remembers it forgets with the leadership.
type mover struct {
	Deps
	aside aside
	left  map[string]string // by repository, what the last run has left of it
}

// New returns the job. It fails if something is missing that it cannot do without.
func New(d Deps) (jobs.Job, error) {
	if d.State == nil || d.Consistency == nil || d.Proposer == nil || d.Stores == nil {
		return jobs.Job{}, errors.New("move: a state, a consistency, a proposer and stores are needed")
	}
	if d.Pace == nil {
		d.Pace = func(ctx context.Context, _ int) error { return ctx.Err() }
	}
	if d.Logger == nil {
		d.Logger = hclog.NewNullLogger()
	}
	if d.AtOnce < 1 || d.AtOnce > atOnce {
		d.AtOnce = atOnce
	}
	m := &mover{Deps: d, left: map[string]string{}}
	return jobs.Job{Name: Name, Every: every, Do: m.run, Early: m.waitForWork}, nil
}

// Name is that of the job.
const Name = "move repositories"
