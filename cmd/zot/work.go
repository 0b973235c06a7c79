package main

import (
	"context"
	"slices"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/move"
	peoples "github.com/seed-16d79997/zot/jobs/people"
	"github.com/seed-16d79997/zot/jobs/removal"
	"github.com/seed-16d79997/zot/jobs/repair"
	"github.com/seed-16d79997/zot/jobs/scrub"
	"github.com/seed-16d79997/zot/jobs/sweep"
)

// tasks is what all jobs of this node work with.
type tasks struct {
	*registry
	config config.Config
	state  *fsm.State
	node   *cluster.Node
	people *people
	log    hclog.Logger
}

// own are what every node does for itself, whoever leads.
func (t tasks) own() ([]jobs.Job, error) {
	all := []jobs.Job{t.recorder, t.people.note, recountState(t.state.Recount, t.pace), compareStores(t.state, storesOf(t.config), t.node.Leads, t.log), compareLimits(t.state, limitsOf(t.config), t.node.Leads, t.log)}
	for _, s := range t.stores {
		swept, err := t.ownSweep(s)
		if err != nil {
			return nil, err
		}
		bytes, err := t.bytesJobs(s)
		if err != nil {
			return nil, err
		}
		all = slices.Concat(all, swept, bytes, []jobs.Job{s.away.Job(t.state)})
	}
	return all, nil
}

// sweeping is what the jobs need that remove from a store what the cluster no longer has.
func (t tasks) sweeping(s *store, p fsm.Proposer) sweep.Deps {
	return sweep.Deps{Store: s.Name, Blobs: s.local, State: t.state, Consistency: t.node, Proposer: p, Logger: t.log.Named("sweep")}
}

// ownSweep is what every node removes. From a bucket that is its own uploads.
func (t tasks) ownSweep(s *store) ([]jobs.Job, error) {
	d := t.sweeping(s, t.node)
	if s.bucket == nil {
		return sweep.New(d)
	}
	uploads, err := sweep.NewUploads(d)
	return append(s.bucket.whenAttached(uploads), attachBucket(*s.bucket, t.node)), err
}

// bucketJobs are what one node does for all to the copies in a bucket: it removes what is doomed or unknown, and
// hashes the rest again. Nothing is wrong with two that do it at once.
func (t tasks) bucketJobs(s *store, p fsm.Proposer) ([]jobs.Job, error) {
	all, err := sweep.NewCopies(t.sweeping(s, p))
	if err == nil && t.config.Extensions.Scrub.Interval > 0 {
		var pass jobs.Job
		pass, err = scrub.NewPass(t.scrubbing(s, p))
		all = append(all, pass)
	}
	return s.bucket.whenAttached(all...), err
}

// copiesJobs are what the leader does that copies are where they should be.
func (t tasks) copiesJobs(s *store, p fsm.Proposer) ([]jobs.Job, error) {
	if s.bucket != nil {
		return t.bucketJobs(s, p)
	}
	copies, err := repair.New(repair.Deps{
		Store: s.Name, State: t.state, Consistency: t.node, Proposer: p, Copies: s.blobs, Watch: s.away, Logger: t.log.Named("repair"),
		AtOnce: t.config.Workers,
	})
	return []jobs.Job{copies}, err
}

// lead does what the leader does for all, until its leadership ends with ctx; p is bound to that.
func (t tasks) lead(ctx context.Context, own *askedNode, p fsm.Proposer) {
	all, err := t.tenure(own, p)
	if err == nil {
		err = own.board.Run(ctx, t.log, all...)
	}
	if err != nil {
		t.log.Error("the leader's jobs do not run", "error", err)
	}
}

// tenure are the leader's jobs.
func (t tasks) tenure(own *askedNode, p fsm.Proposer) ([]jobs.Job, error) {
	cleared, err := removal.NewClear(removal.Deps{State: t.state, Proposer: p, Logger: t.log.Named("removal")})
	if err != nil {
		return nil, err
	}
	small, err := compacted(allNodes{own, t.others}, t.log)
	if err != nil {
		return nil, err
	}
	brought, err := move.New(move.Deps{
		State: t.state, Consistency: t.node, Proposer: p, Stores: moves{stores: t.stores}, Pace: t.pace.Wait, Logger: t.log.Named("move"), AtOnce: t.config.Workers,
	})
	if err != nil {
		return nil, err
	}
	all := []jobs.Job{
		cleared, small, brought, peoples.Expire(t.state, p),
		setStores(t.state, storesOf(t.config), p, t.log), setLimits(t.state, limitsOf(t.config), p, t.log),
	}
	for _, s := range t.stores {
		more, err := t.storeTenure(s, p)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

// storeTenure are those for one store.
func (t tasks) storeTenure(s *store, p fsm.Proposer) ([]jobs.Job, error) {
	garbage, err := collection(s.SubPath, t.state, p, t.log)
	if err != nil {
		return nil, err
	}
	kept, err := retained(s.SubPath, t.state, p, t.log)
	if err != nil {
		return nil, err
	}
	copies, err := t.copiesJobs(s, p)
	if err != nil {
		return nil, err
	}
	drop, err := removal.NewDrop(removal.Deps{Store: s.Name, State: t.state, Proposer: p, Logger: t.log.Named("removal")})
	return slices.Concat(garbage, kept, copies, []jobs.Job{drop}), err
}
