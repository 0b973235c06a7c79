// Package repair gives a blob that has fewer counting copies than its store's replicas the missing ones:
// after a node has joined, while one leaves, or when a holder has given a bad copy up.
//
// It is a job of the leader, and does not know it: its context ends with the leadership, its proposer is
// bound to the term, and its one command is AddCopy (invariant 10). It moves no bytes itself. A target
// reads the blob from a holder and verifies it, then the stamp is taken, and only then the copy gets its
// name: in this order no sweeper may take a file that is then recorded (GC R2, R10; invariants 4 and 5).
//
// What counts is what is recorded on members, whether they answer or not: a node that is away for a while
// comes back with its copies, and one that does not is retired or dropped by somebody, after which its
// locations no longer count. Where a blob is, only the state says: a run reads indexes of blobs with too
// few copies, and does nothing in proportion to the registry.
//
// Start with New; a run is in run.go, who gets which copy in plan.go, one copy in copy.go.
package repair

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
)

// every is how soon after a run the next one looks for blobs with too few copies.
const every = 30 * time.Second

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

// Copies has nodes, this one too, make copies. Its methods may be called concurrently.
type Copies interface {
	// Fetch has a node read a blob from a holder into an upload of its own, which is verified and durable
	// when it returns. It ends when its context does, or when the node falls silent. It fails with
	// blobstore.ErrUnreachable, ErrCopyUnknown, ErrCopyDamaged or ErrDigestMismatch if no holder gave the
	// bytes; any other error is the target's.
	Fetch(ctx context.Context, to blobstore.Incarnation, b blobstore.Blob) (blobstore.UploadID, error)
	// PublishAt makes the copy of such an upload, durable when it returns, and gives the upload up.
	PublishAt(ctx context.Context, to blobstore.Incarnation, id blobstore.UploadID) (blobstore.Location, error)
	// Reachable reports whether a node has answered lately; this one always has.
	Reachable(i blobstore.Incarnation) bool
}

// Deps is what the job of one store works with.
type Deps struct {
	Store       string // its name in the state
	State       State
	Consistency Consistency
	Proposer    fsm.Proposer // of this term
	Copies      Copies
	Logger      hclog.Logger // nil: none
}

// repairer is the job of one store. What it remembers it forgets with the leadership.
type repairer struct {
	Deps
	log   hclog.Logger
	blobs *aside[fsm.Digest]            // those that could not be copied
	nodes *aside[blobstore.Incarnation] // those that could not take a copy
}

// New returns the job of one store. It fails if something is missing that it cannot do without.
func New(d Deps) (jobs.Job, error) {
	switch {
	case d.Store == "":
		return jobs.Job{}, errors.New("repair: a store without a name")
	case d.State == nil || d.Consistency == nil || d.Proposer == nil || d.Copies == nil:
		return jobs.Job{}, errors.New("repair: a state, a consistency, a proposer and copies are needed")
	}
	r := &repairer{Deps: d, log: d.Logger, blobs: newAside[fsm.Digest](), nodes: newAside[blobstore.Incarnation]()}
	if r.log == nil {
		r.log = hclog.NewNullLogger()
	}
	return jobs.Job{Name: "repair store " + d.Store, Every: every, Do: r.run}, nil
}
