// Package gc removes from the replicated state what nobody refers to any more: links whose lease has run
// out, blobs without a link, and repositories with nothing in them. The copies of a blob that goes are
// doomed; each node removes its own (jobs/sweep).
//
// It is a job of the leader, and does not know it: its context ends with the leadership, its proposer is
// bound to the term (invariant 10). It looks for garbage in indexes that hold nothing else, so a run costs
// what the garbage does, however large the registry is. What it has seen may be in use again when its
// command is applied. Apply therefore judges each link, blob and repository anew, and the order in the log
// decides every race with a push (GC R3); this package decides none. It remembers nothing: who leads next
// finds what is left.
//
// Start with New; run.go is a run.
package gc

import (
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
)

// State is the replicated state of this node.
type State interface {
	// View calls fn with the newest applied state and returns its error.
	View(fn func(v fsm.View) error) error
}

// Deps is what the job of one store works with.
type Deps struct {
	Store    string // its name in the state
	State    State
	Proposer fsm.Proposer  // of this term
	Every    time.Duration // from the end of one run to the next: the interval of the store's configuration
	Logger   hclog.Logger  // nil: none
}

// New returns the job of one store. It fails if something is missing that it cannot do without.
func New(d Deps) (jobs.Job, error) {
	switch {
	case d.Store == "":
		return jobs.Job{}, errors.New("gc: a store without a name")
	case d.State == nil || d.Proposer == nil:
		return jobs.Job{}, errors.New("gc: a state and a proposer are needed")
	case d.Every <= 0:
		return jobs.Job{}, errors.New("gc: an interval is needed")
	}
	if d.Logger == nil {
		d.Logger = hclog.NewNullLogger()
	}
	c := &collector{d}
	return jobs.Job{Name: "collect garbage of store " + d.Store, Every: d.Every, Do: c.run}, nil
}
