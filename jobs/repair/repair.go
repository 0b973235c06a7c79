// Package repair keeps each blob on as many nodes as its store's replicas say, on nodes that are there, and
// then where copies should be: off the nodes that are to be emptied, in as many zones as possible, and on
// the new nodes too.
//
// It is a job of the leader, and does not know it: its context ends with the leadership, its proposer is
// bound to the term, and its one command is AddCopy (invariant 10). It moves no bytes itself. A target
// reads the blob from a holder and verifies it, then the stamp is taken, and only then the copy gets its
// name: in this order no sweeper may take a file that is then recorded (GC R2, R10; invariants 4 and 5).
//
// What counts is what is recorded on members, whether they answer or not: a node that is away for a while
// comes back with its copies. A member is judged away when its store has not answered this leader for ten
// minutes of state time: a new leader begins to count anew, and while no majority answers, nobody is away:
// then it is rather this node that is cut off, and copies would be made of everything. Blobs that have too
// few copies without those on nodes that are away get others. Where the record is full, the new copy takes
// the place of one of these (AddCopy.Instead): that is doomed, and when its node comes back, its sweeper
// removes the file. What was not replaced by then stays where it is, and a copy that is under way takes the
// place that it was made for: it was verified just now, so it is as good. A disk that is not mounted does
// not answer; none of its locations is given up but for such a copy.
//
// The last copies come first: blobs are taken by the number of copies that are there, the fewest first, and
// every minute again from the start. Only then copies are moved (move.go), each by the same command: the new
// one is verified before the old one is doomed, so there are never fewer true ones than before, and never
// more recorded than the replicas. Where a blob is, only the state says: a run reads indexes of blobs with
// too few copies, and goes through all others only after the nodes have changed, and then bit by bit.
//
// A blob for which a copy can be made now does not wait for the next run (early.go): a bad copy was given up, or a
// push had too few. The copies that a push has are recorded by one command, and what a slow node makes of it
// later is swept as unknown: so no copy of a push is on its way to be recorded beside that of the job.
//
// Start with New; a run is in run.go, who gets which copy in plan.go, one copy in copy.go, who is away in away.go, how
// a node is emptied in move.go, zones and filling in level.go.
package repair

import (
	"cmp"
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
	// Silence is how long the store of a node, this one's too, has not answered.
	Silence(i blobstore.Incarnation) time.Duration
	// UsageOf returns how full a node's store is, as it said last, and whether it takes copies by itself.
	UsageOf(i blobstore.Incarnation) (u blobstore.Usage, room bool)
}

// Deps is what the job of one store works with.
type Deps struct {
	Store       string // its name in the state
	State       State
	Consistency Consistency
	Proposer    fsm.Proposer // of this term
	Copies      Copies
	Watch       *Watch       // this node's
	Logger      hclog.Logger // nil: none
	AtOnce      int          // how many copies are made at a time, fewer than usual; 0: as many as usual

	slice time.Duration // after how long of copying the job looks for something more urgent
	idle  int           // how many blobs in a row it looks at in vain, where there may be millions
	aside int           // how many blobs, and nodes, that failed it remembers
}

// repairer is the job of one store. What it remembers it forgets with the leadership.
type repairer struct {
	Deps
	log     hclog.Logger
	blobs   *aside[fsm.Digest]            // those that could not be copied
	nodes   *aside[blobstore.Incarnation] // those that could not take a copy
	early   bool                          // the next run is one before its time
	due     time.Time                     // when it is time for the next
	resting int                           // runs for which the copies on nodes that are away are left alone
	key     string                        // of the nodes, as the last run found them
	drains  map[blobstore.Incarnation]*drain
	balance *balance
}

// New returns the job of one store. It fails if something is missing that it cannot do without.
func New(d Deps) (jobs.Job, error) {
	switch {
	case d.Store == "":
		return jobs.Job{}, errors.New("repair: a store without a name")
	case d.State == nil || d.Consistency == nil || d.Proposer == nil || d.Copies == nil || d.Watch == nil:
		return jobs.Job{}, errors.New("repair: a state, a consistency, a proposer, copies and a watch are needed")
	}
	d.slice, d.idle, d.aside = cmp.Or(d.slice, slice), cmp.Or(d.idle, maxIdle), cmp.Or(d.aside, maxAside)
	if d.AtOnce < 1 || d.AtOnce > atOnce {
		d.AtOnce = atOnce
	}
	r := &repairer{
		Deps: d, log: d.Logger, blobs: newAside[fsm.Digest](d.aside), nodes: newAside[blobstore.Incarnation](d.aside),
		drains: map[blobstore.Incarnation]*drain{}, balance: &balance{},
	}
	if r.log == nil {
		r.log = hclog.NewNullLogger()
	}
	return jobs.Job{Name: "repair store " + d.Store, Every: every, Do: r.run, Early: r.waitForWork}, nil
}
