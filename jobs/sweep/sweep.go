// Package sweep removes from a node's own store what the cluster no longer has: copies that are doomed,
// copies that the replicated state never came to know, and uploads that nobody goes on with.
//
// Every node does it, for itself alone, by its own applied state: nobody tells another to remove a file
// (GC R11 has the race). So it knows no leadership; the one command that it proposes, CopyRemoved, may
// come from any node and at any time. Copies in a bucket are no node's own: whoever sweeps those does it by his
// own applied state too, and it does not matter who, or how many (GC R20).
//
// It keeps invariant 4: no file goes unless the applied state of this node has doomed that very copy, or
// still does not know it three windows past an index round that came after it had been listed. Time is
// state time throughout (GC T1). Start with New; doomed.go, unknown.go and uploads.go are a job each.
package sweep

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
)

// How often each job looks. What it then does is a matter of state time, which a store with a short lease
// has less of to wait.
const (
	doomedEvery  = 5 * time.Second
	unknownEvery = 30 * time.Second
	uploadsEvery = 10 * time.Minute
)

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

// Deps is what the jobs of one store work with.
type Deps struct {
	Store       string          // its name in the state
	Blobs       blobstore.Store // this node's own part of it
	State       State
	Consistency Consistency
	Proposer    fsm.Proposer // of this node, bound to no term
	Logger      hclog.Logger // nil: none
}

// sweeper is the jobs of one store.
type sweeper struct {
	Deps
	log hclog.Logger

	marks    marks                                 // of the job for unknown copies alone
	timeless map[blobstore.UploadID]blobstore.Time // of the job for uploads alone
}

// New returns the jobs of a node's own store: one for doomed copies, one for unknown ones, one for uploads. They
// may run beside each other. It fails if something is missing that they cannot do without.
func New(d Deps) ([]jobs.Job, error) {
	all, err := NewCopies(d)
	if err != nil {
		return nil, err
	}
	uploads, err := NewUploads(d)
	return append(all, uploads), err
}

// NewCopies returns the jobs for doomed and for unknown copies. In a store that all nodes share anybody may do them,
// by his own marks; it is enough that one does (GC R20).
func NewCopies(d Deps) ([]jobs.Job, error) {
	s, err := newSweeper(d)
	if err != nil {
		return nil, err
	}
	return []jobs.Job{
		{Name: "remove doomed copies of store " + d.Store, Every: doomedEvery, Do: s.removeDoomed},
		{Name: "remove unknown copies of store " + d.Store, Every: unknownEvery, Do: s.sweepUnknown},
	}, nil
}

// NewUploads returns the job for uploads. They are each node's own in a store that all share, too.
func NewUploads(d Deps) (jobs.Job, error) {
	s, err := newSweeper(d)
	if err != nil {
		return jobs.Job{}, err
	}
	return jobs.Job{Name: "remove silent uploads of store " + d.Store, Every: uploadsEvery, Do: s.removeUploads}, nil
}

func newSweeper(d Deps) (*sweeper, error) {
	switch {
	case d.Store == "":
		return nil, errors.New("sweep: a store without a name")
	case d.Blobs == nil || d.State == nil || d.Consistency == nil || d.Proposer == nil:
		return nil, errors.New("sweep: a store, a state, a consistency and a proposer are needed")
	}
	s := &sweeper{Deps: d, log: d.Logger}
	if s.log == nil {
		s.log = hclog.NewNullLogger()
	}
	return s, nil
}

// at is where a copy of this store lies.
func (s *sweeper) at(id blobstore.CopyID) fsm.Location {
	return fsm.Location{Incarnation: [16]byte(s.Blobs.Incarnation()), Copy: fsm.CopyID(id)}
}

// remove removes copies and returns those that are gone, beside an error for the others. One that the
// disk does not let go of must not keep the rest.
func (s *sweeper) remove(ctx context.Context, ids []blobstore.CopyID) (gone []blobstore.CopyID, err error) {
	err = s.Blobs.RemoveCopies(ctx, ids...)
	if err == nil {
		return ids, nil
	}
	if hopeless(ctx, err) || len(ids) == 1 {
		return nil, fmt.Errorf("remove copies: %w", err)
	}
	var failed error
	for _, id := range ids {
		switch err := s.Blobs.RemoveCopies(ctx, id); {
		case err == nil:
			gone = append(gone, id)
		case hopeless(ctx, err):
			return gone, fmt.Errorf("remove copies: %w", err)
		case failed == nil: // a line for one tells as much as for all
			failed = fmt.Errorf("remove copy %s: %w", id, err)
		}
	}
	return gone, failed
}

// hopeless reports whether an error speaks of the whole store and not of one copy (GC R13).
func hopeless(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, blobstore.ErrOffline) || errors.Is(err, blobstore.ErrClosed) ||
		errors.Is(err, blobstore.ErrUnreachable)
}
