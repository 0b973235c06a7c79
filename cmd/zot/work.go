package main

import (
	"context"

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
	root   string // the directory of the node's own files is below it
	state  *fsm.State
	node   *cluster.Node
	people *people
	log    hclog.Logger
}

// own are what every node does for itself, whoever leads.
func (t tasks) own() []shift {
	all := []shift{
		forever(t.recorder, t.people.note, recountState(t.state.Recount, t.pace)),
		{of: storesToGoBy, jobs: func(c config.Config) ([]jobs.Job, error) {
			return []jobs.Job{compareStores(t.state, storesOf(c), t.node.Leads, t.log)}, nil
		}},
		{of: limitsToGoBy, jobs: func(c config.Config) ([]jobs.Job, error) {
			return []jobs.Job{compareLimits(t.state, limitsOf(c), t.node.Leads, t.log)}, nil
		}},
	}
	for _, s := range t.stores {
		all = append(
			all, forever(s.away.Job(t.state)),
			shift{always, func(config.Config) ([]jobs.Job, error) { return t.ownSweep(s) }},
			shift{scrubToGoBy, func(c config.Config) ([]jobs.Job, error) { return t.bytesJobs(s, c.Extensions.Scrub) }},
		)
	}
	return all
}

// The parts of a configuration that jobs go by.
func storesToGoBy(c config.Config) any  { return storesOf(c) }
func limitsToGoBy(c config.Config) any  { return limitsOf(c) }
func scrubToGoBy(c config.Config) any   { return c.Extensions.Scrub }
func workersToGoBy(c config.Config) any { return c.Workers }

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
func (t tasks) bucketJobs(s *store, p fsm.Proposer) []shift {
	return []shift{
		{always, func(config.Config) ([]jobs.Job, error) {
			all, err := sweep.NewCopies(t.sweeping(s, p))
			return s.bucket.whenAttached(all...), err
		}},
		{scrubToGoBy, func(c config.Config) ([]jobs.Job, error) {
			if c.Extensions.Scrub.Interval == 0 {
				return nil, nil
			}
			pass, err := scrub.NewPass(t.scrubbing(s, c.Extensions.Scrub, p))
			return s.bucket.whenAttached(pass), err
		}},
	}
}

// copiesJobs are what the leader does that copies are where they should be.
func (t tasks) copiesJobs(s *store, p fsm.Proposer) []shift {
	if s.bucket != nil {
		return t.bucketJobs(s, p)
	}
	return []shift{{workersToGoBy, func(c config.Config) ([]jobs.Job, error) {
		copies, err := repair.New(repair.Deps{
			Store: s.Name, State: t.state, Consistency: t.node, Proposer: p, Copies: s.blobs, Watch: s.away, Logger: t.log.Named("repair"),
			AtOnce: c.Workers,
		})
		return []jobs.Job{copies}, err
	}}}
}

// lead does what the leader does for all, until its leadership ends with ctx; p is bound to that.
func (t tasks) lead(ctx context.Context, plan *plan, own *askedNode, p fsm.Proposer) {
	if err := plan.run(ctx, own.board, t.log, t.tenure(own, p)...); err != nil {
		t.log.Error("the leader's jobs do not run", "error", err)
	}
}

// tenure are the leader's jobs.
func (t tasks) tenure(own *askedNode, p fsm.Proposer) []shift {
	all := []shift{
		{always, func(config.Config) ([]jobs.Job, error) { return t.clusterTenure(own, p) }},
		t.moves(p),
		{of: storesToGoBy, jobs: func(c config.Config) ([]jobs.Job, error) {
			return []jobs.Job{setStores(t.state, storesOf(c), p, t.log)}, nil
		}},
		{of: limitsToGoBy, jobs: func(c config.Config) ([]jobs.Job, error) {
			return []jobs.Job{setLimits(t.state, limitsOf(c), p, t.log)}, nil
		}},
	}
	for _, s := range t.stores {
		all = append(all, t.copiesJobs(s, p)...)
		all = append(all, t.contentsTenure(s, p), shift{always, func(config.Config) ([]jobs.Job, error) {
			drop, err := removal.NewDrop(removal.Deps{Store: s.Name, State: t.state, Proposer: p, Logger: t.log.Named("removal")})
			return []jobs.Job{drop}, err
		}})
	}
	return all
}

// clusterTenure are those for all stores together.
func (t tasks) clusterTenure(own *askedNode, p fsm.Proposer) ([]jobs.Job, error) {
	cleared, err := removal.NewClear(removal.Deps{State: t.state, Proposer: p, Logger: t.log.Named("removal")})
	if err != nil {
		return nil, err
	}
	small, err := compacted(allNodes{own, t.others}, t.log)
	return []jobs.Job{cleared, small, peoples.Expire(t.state, p)}, err
}

// moves are those that bring repositories to other stores.
func (t tasks) moves(p fsm.Proposer) shift {
	return shift{workersToGoBy, func(c config.Config) ([]jobs.Job, error) {
		brought, err := move.New(move.Deps{
			State: t.state, Consistency: t.node, Proposer: p, Stores: moves{stores: t.stores}, Pace: t.pace.Wait, Logger: t.log.Named("move"), AtOnce: c.Workers,
		})
		return []jobs.Job{brought}, err
	}}
}

// contentsTenure are those that remove what is garbage in a store, or not to be kept.
func (t tasks) contentsTenure(s *store, p fsm.Proposer) shift {
	of := func(c config.Config) config.SubPath { return c.Storage.Named(s.Name) }
	return shift{func(c config.Config) any { return of(c) }, func(c config.Config) ([]jobs.Job, error) {
		garbage, err := collection(of(c), t.state, p, t.log)
		if err != nil {
			return nil, err
		}
		kept, err := retained(of(c), t.state, p, t.log)
		return append(garbage, kept...), err
	}}
}
