package scrub

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
)

// Linked is where copies of this node are that were files of somebody else's, and that nobody has hashed yet.
type Linked interface {
	// Unsummed lists them. It reads the names of all copies.
	Unsummed(ctx context.Context) iter.Seq2[blobstore.CopyID, error]
	// IsUnsummed reports whether one is among them.
	IsUnsummed(id blobstore.CopyID) bool
}

// NewFirst returns the job that hashes what was linked, as soon as woken says that there is more. What is left when
// the process ends, the next one finds. It fails if something is missing that it cannot do without.
func NewFirst(d Deps, woken <-chan struct{}) (jobs.Job, error) {
	if err := d.complete(); err != nil {
		return jobs.Job{}, err
	}
	if d.Linked == nil || woken == nil {
		return jobs.Job{}, errors.New("scrub: linked copies, and who says that there are more, are needed")
	}
	f := &first{Deps: d, woken: woken, due: true}
	return jobs.Job{Name: "hash linked copies of store " + d.Store, Every: lookEvery, Do: f.run, Early: f.wait}, nil
}

// first hashes copies for the first time.
type first struct {
	Deps
	woken <-chan struct{}

	due bool // there may be some
}

// wait returns when there is something to do before its time. It lets more come together: to list them costs.
func (f *first) wait(ctx context.Context) {
	select {
	case <-f.woken:
		f.due = true
	case <-ctx.Done():
		return
	}
	t := time.NewTimer(settleEvery)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// run hashes those that there are. What is not recorded, or cannot be read now, is tried again a while later.
func (f *first) run(ctx context.Context) error {
	if !f.due {
		return nil
	}
	f.due = false
	copies, bytes, bad := 0, int64(0), 0
	for id, err := range f.Linked.Unsummed(ctx) {
		if err != nil {
			f.due = true
			return fmt.Errorf("hash linked copies: %w", err)
		}
		c, known, err := f.recorded(fsm.CopyID(id))
		if err != nil {
			f.due = true
			return err
		}
		if !known {
			f.due = f.due || f.isUnknown(id)
			continue
		}
		if !f.Linked.IsUnsummed(id) { // a reader was faster
			continue
		}
		err = f.Pace(ctx, openCost)
		if err == nil {
			err = f.hash(ctx, c)
		}
		switch {
		case err == nil:
			copies++
			bytes += c.size
		case isBad(err):
			bad++
			f.Suspects.Add(id)
		case errors.Is(err, errUncertain):
			f.due = true
			f.Logger.Warn("linked copy cannot be hashed now and is tried again", "store", f.Store, "digest", c.digest.String(), "error", err)
		default:
			f.due = true
			return fmt.Errorf("hash linked copies: %w", err)
		}
	}
	if copies+bad > 0 {
		f.Logger.Info("linked copies were hashed", "store", f.Store, "copies", copies, "bytes", bytes, "bad", bad)
	}
	return nil
}

// isUnknown reports whether a copy may yet be recorded. Else it is doomed, or the last of its blob and found bad.
func (f *first) isUnknown(id blobstore.CopyID) (unknown bool) {
	_ = f.State.View(func(v fsm.View) error { // an error is the next view's too
		state, _ := v.Copy(f.Store, f.at(fsm.CopyID(id)))
		unknown = state == fsm.CopyUnknown
		return nil
	})
	return unknown
}
