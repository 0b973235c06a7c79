package repair

import (
	"context"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

// glance is how often, between two runs, the job looks whether there is a copy to be made.
const glance = time.Second

// waitForWork returns when there is a copy to be made now, when it is time for the next run, or when ctx has ended.
//
// A node that falls silent is no cause: no record changes for it. Nor is what was set aside, or has nobody to take
// a copy. Where so much has failed that not all of it could be set aside, it is left to the next run: so however
// things are, the job does not spin.
func (r *repairer) waitForWork(ctx context.Context) {
	ctx, cancel := context.WithDeadline(ctx, r.due)
	defer cancel()
	again := time.NewTicker(glance)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
		if !r.blobs.full() && r.lacking() {
			r.early = true
			return
		}
	}
}

// lacking reports whether a copy can be made now of a blob with too few recorded ones. It looks at one page of each
// index: behind so many that nobody can help now, a blob waits for the next run.
func (r *repairer) lacking() (found bool) {
	_ = r.State.View(func(v fsm.View) error { // an error is the next run's too, which says it
		nodes := r.roster(v)
		for there := 1; there < nodes.want && !found; there++ {
			found = len(r.todo(v, r.withCopies(there)(v, ""), r.missing(there))) > 0
		}
		return nil
	})
	return found
}

// hurry is a run before its time. It looks only at the blobs with too few recorded copies, and does not count as
// a run for those that were set aside.
func (r *repairer) hurry(ctx context.Context) error {
	defer func() { r.early = false }()
	_, err := r.mendAll(ctx)
	return err
}
