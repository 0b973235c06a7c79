// Package removal takes a node's copies out of the cluster, so that a node which holds blobs can leave, and
// forgets what is still recorded of one that has left.
//
// A node that was retired keeps its copies until nobody needs them: each holder of another copy hashes that
// again and vouches for it (NewVouch, a job of every node), and the leader drops a retired node's location
// once enough copies are vouched for (NewDrop). Without the second look a node could leave because of
// copies that have rotten unseen (GC R18). When nothing is recorded on it any more, cluster's reconciler
// ends the node. What is recorded of nodes that were given up with their disks, the leader clears away
// (NewClear; GC R18, R19).
//
// The state judges every step when it is applied, so that a job which looked at an old state, or died
// between two steps, drops nothing too early (invariants 1 and 5); who leads next goes on where the state
// is. Start with NewDrop; walk.go has how they get through a great many blobs.
package removal

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
)

// every is how soon after a run the next one looks whether a node is leaving: mostly none is, and that is
// all it costs.
const every = 5 * time.Second

// State is the replicated state of this node.
type State interface {
	// View calls fn with the newest applied state and returns its error.
	View(fn func(v fsm.View) error) error
}

// Blobs are this node's own copies of a store.
type Blobs interface {
	Incarnation() blobstore.Incarnation
	// Verify reads a whole copy and compares it with its digest.
	Verify(ctx context.Context, b blobstore.Blob, pace blobstore.Pace) error
	// Check returns nil if the store is there.
	Check(ctx context.Context) error
}

// Deps is what the jobs work with.
type Deps struct {
	Store    string // its name in the state; NewClear is for all
	State    State
	Proposer fsm.Proposer // of this term for what the leader does, of this node for NewVouch
	Blobs    Blobs        // for NewVouch alone, as the next two
	// Suspect has a copy of this node looked after that was found bad: it is given up in another place.
	Suspect func(blobstore.CopyID)
	Pace    blobstore.Pace // nil: no limit
	Logger  hclog.Logger   // nil: none

	idle int // how many blobs in a row a run looks at in vain
}

// check says what is missing that no job can do without.
func (d *Deps) check() error {
	if d.State == nil || d.Proposer == nil {
		return errors.New("removal: a state and a proposer are needed")
	}
	if d.Logger == nil {
		d.Logger = hclog.NewNullLogger()
	}
	if d.idle == 0 {
		d.idle = maxIdle
	}
	return nil
}

// NewVouch returns the job of every node that hashes its copies again which stand in for those of nodes
// that are leaving. It fails if something is missing.
func NewVouch(d Deps) (jobs.Job, error) {
	if err := d.check(); err != nil {
		return jobs.Job{}, err
	}
	if d.Store == "" || d.Blobs == nil || d.Suspect == nil {
		return jobs.Job{}, errors.New("removal: to vouch for copies, a store with a name is needed, and somebody who takes the bad ones")
	}
	h := &holder{Deps: d}
	h.walk = walk{store: d.Store, state: d.State, idle: d.idle, work: h.vouch}
	return jobs.Job{Name: "vouch for copies of store " + d.Store, Every: every, Do: h.run}, nil
}

// NewDrop returns the leader's job that drops the copies of nodes that are leaving. It fails if something
// is missing.
func NewDrop(d Deps) (jobs.Job, error) {
	if err := d.check(); err != nil {
		return jobs.Job{}, err
	}
	if d.Store == "" {
		return jobs.Job{}, errors.New("removal: a store without a name")
	}
	l := &leaver{Deps: d}
	l.walk = walk{store: d.Store, state: d.State, idle: d.idle, work: l.drop}
	return jobs.Job{Name: "drop copies of leaving nodes in store " + d.Store, Every: every, Do: l.run}, nil
}

// NewClear returns the leader's job that clears away what is recorded of nodes that are gone. It fails if
// something is missing.
func NewClear(d Deps) (jobs.Job, error) {
	if err := d.check(); err != nil {
		return jobs.Job{}, err
	}
	c := &clearer{d}
	return jobs.Job{Name: "clear nodes that are gone", Every: every, Do: c.run}, nil
}
