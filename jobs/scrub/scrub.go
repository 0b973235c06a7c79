// Package scrub finds copies of this node that have rotten or are gone, and gives them up, so that repair
// makes new ones of those that are good.
//
// Every node does it, for its own copies alone; for copies in a bucket, which are everybody's, one node does. Each is hashed again once in every interval, at no higher
// rate on average than that takes (pass.go). Whoever else comes upon a bad copy, a reader or another job,
// says so to Suspects. There is one place where a suspect is dealt with (settle.go): it is hashed again, the
// marker of the store is looked at again, and only then the copy is given up, by a command in which the
// state judges anew (GC R5, R13; invariants 2 and 5: only the holder gives up, and never the last). Where
// too many are bad it is not the copies, but the disk or the memory: the job stops then until somebody has
// looked.
//
// Copies that were linked instead of written nobody has hashed yet: that is done at once (linked.go). One that turns
// out to be bad tells nothing about this node's disk, and does not count for that.
//
// What a pass found is said image by image (report.go), in the background: no request pays for it. The
// package knows no leadership, and what it keeps of its own lies in two small files of the node
// (notes.go). Start with New.
package scrub

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
)

const (
	// settleEvery is how soon after suspects were dealt with the next ones are.
	settleEvery = time.Second
	// lookEvery is how often a node looks whether a pass is due.
	lookEvery = time.Minute
	// pageSize is how many copies, tags or manifests are looked at in one view.
	pageSize = 200
)

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

// Deps is what the jobs of one store work with.
type Deps struct {
	Store    string        // its name in the state
	Every    time.Duration // all copies are hashed again once in so long; 0: only suspects are
	Dir      string        // where the node keeps files of its own
	State    State
	Proposer fsm.Proposer // of this node, bound to no term
	Blobs    Blobs
	Suspects *Suspects
	Linked   Linked         // nil: no copies are
	Pace     blobstore.Pace // nil: no limit
	Logger   hclog.Logger   // nil: none
}

// New returns the jobs of a node's own store: one that deals with suspects, and one that looks for them if there
// is an interval. They may run beside each other. It fails if something is missing that they cannot do without.
func New(d Deps) ([]jobs.Job, error) {
	settle, err := NewSettle(d)
	if err != nil || d.Every == 0 {
		return []jobs.Job{settle}, err
	}
	pass, err := NewPass(d)
	return []jobs.Job{settle, pass}, err
}

// NewSettle returns the job that deals with suspects: those that this node came upon, in a store that all share.
func NewSettle(d Deps) (jobs.Job, error) {
	if err := d.complete(); err != nil {
		return jobs.Job{}, err
	}
	s := &settler{Deps: d, ledger: note[ledger]{file: fileOf(d, "bad-copies")}}
	return jobs.Job{Name: "look after bad copies of store " + d.Store, Every: settleEvery, Do: s.run}, nil
}

// NewPass returns the job that looks for suspects once in an interval. In a store that all nodes share it is enough
// that one does.
func NewPass(d Deps) (jobs.Job, error) {
	if err := d.complete(); err != nil {
		return jobs.Job{}, err
	}
	if d.Every == 0 {
		return jobs.Job{}, errors.New("scrub: a pass without an interval")
	}
	p := &passes{Deps: d, note: note[pass]{file: fileOf(d, "scrub")}, ledger: note[ledger]{file: fileOf(d, "bad-copies")}}
	return jobs.Job{Name: "scrub store " + d.Store, Every: min(lookEvery, (d.Every+9)/10), Do: p.run}, nil
}

// complete fails if something is missing, and fills in what may be.
func (d *Deps) complete() error {
	switch {
	case d.Store == "" || d.Dir == "":
		return errors.New("scrub: a store with a name and a directory are needed")
	case d.State == nil || d.Proposer == nil || d.Blobs == nil || d.Suspects == nil:
		return errors.New("scrub: a state, a proposer, a store and its suspects are needed")
	case d.Every < 0:
		return errors.New("scrub: an interval below zero")
	}
	if d.Logger == nil {
		d.Logger = hclog.NewNullLogger()
	}
	if d.Pace == nil {
		d.Pace = func(ctx context.Context, _ int) error { return ctx.Err() }
	}
	return nil
}

// own is a copy of this node.
type own struct {
	digest fsm.Digest
	copy   fsm.CopyID
	size   int64
}

// page returns copies of this node in the order of their digests, from the one behind after on.
func (d *Deps) page(after fsm.Digest) (page []own, err error) {
	self := d.at(fsm.CopyID{}).Incarnation
	err = d.State.View(func(v fsm.View) error {
		for _, held := range v.BlobsOn(d.Store, self, after, pageSize) {
			b, _ := v.Blob(d.Store, held)
			for _, c := range b.Copies {
				if c.Incarnation == self {
					page = append(page, own{held, c.Copy, b.Size})
				}
			}
		}
		return nil
	})
	return page, err
}

// at is where a copy of this node lies.
func (d *Deps) at(c fsm.CopyID) fsm.Location {
	return fsm.Location{Incarnation: [16]byte(d.Blobs.Incarnation()), Copy: c}
}

// recorded is a copy as the state has it; not known if there is nothing to judge: another's to remove, or given
// up already, as the last of its blob.
func (d *Deps) recorded(id fsm.CopyID) (c own, known bool, err error) {
	at := d.at(id)
	err = d.State.View(func(v fsm.View) error {
		state, digest := v.Copy(d.Store, at)
		b, _ := v.Blob(d.Store, digest)
		others := 0
		for _, other := range b.Copies {
			if other.Held && other.Location != at {
				others++
			}
		}
		c, known = own{digest, id, b.Size}, state == fsm.CopyRecorded && (others > 0 || !b.Damaged)
		return nil
	})
	return c, known, err
}

// errUncertain is why a copy could not be hashed that may be good all the same.
var errUncertain = errors.New("copy cannot be hashed")

// hash hashes a copy. It fails with an error that isBad if that is not what was published, with errUncertain
// if nothing was learnt of this one, and else for all: the store is offline, or the work has ended.
func (d *Deps) hash(ctx context.Context, c own) error {
	at := blobstore.Location{Incarnation: d.Blobs.Incarnation(), Copy: blobstore.CopyID(c.copy)}
	b := blobstore.Blob{Digest: c.digest.Unpack(), Size: c.size, Locations: []blobstore.Location{at}}
	err := d.Blobs.Verify(ctx, b, d.Pace)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if gone := d.Blobs.Check(ctx); gone != nil { // a disk that has just gone answers for no copy (GC R13)
		return gone
	}
	if isBad(err) {
		return err
	}
	return errors.Join(errUncertain, err)
}

// isBad reports whether an error says that a copy is not what was published.
func isBad(err error) bool {
	return errors.Is(err, blobstore.ErrCopyDamaged) || errors.Is(err, blobstore.ErrCopyUnknown)
}
