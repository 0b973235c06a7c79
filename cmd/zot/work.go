package main

import (
	"context"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/removal"
	"github.com/seed-16d79997/zot/jobs/repair"
	"github.com/seed-16d79997/zot/jobs/scrub"
	"github.com/seed-16d79997/zot/jobs/sweep"
)

// ownJobs are what every node does for itself, whoever leads.
func ownJobs(c config.Config, state *fsm.State, stores []fsm.SetStore, r *registry, node *cluster.Node, log hclog.Logger) ([]jobs.Job, error) {
	all, err := ownSweep(state, r, node, log)
	if err != nil {
		return nil, err
	}
	bytes, err := bytesJobs(c, state, r, node, log)
	if err != nil {
		return nil, err
	}
	return append(append(all, bytes...), r.recorder, r.away.Job(state), recountState(state.Recount, r.pace), compareStores(state, stores, node.Leads, log)), nil
}

// sweeping is what the jobs need that remove what the cluster no longer has.
func sweeping(state *fsm.State, r *registry, node *cluster.Node, p fsm.Proposer, log hclog.Logger) sweep.Deps {
	return sweep.Deps{Store: fsm.DefaultStore, Blobs: r.local, State: state, Consistency: node, Proposer: p, Logger: log.Named("sweep")}
}

// ownSweep is what every node removes. From a bucket that is its own uploads.
func ownSweep(state *fsm.State, r *registry, node *cluster.Node, log hclog.Logger) ([]jobs.Job, error) {
	d := sweeping(state, r, node, node, log)
	if r.bucket == nil {
		return sweep.New(d)
	}
	uploads, err := sweep.NewUploads(d)
	return append(r.bucket.whenAttached(uploads), attachBucket(*r.bucket, node)), err
}

// bucketJobs are what one node does for all to the copies in a bucket: it removes what is doomed or unknown, and
// hashes the rest again. Nothing is wrong with two that do it at once.
func bucketJobs(c config.Config, state *fsm.State, r *registry, node *cluster.Node, p fsm.Proposer, log hclog.Logger) ([]jobs.Job, error) {
	all, err := sweep.NewCopies(sweeping(state, r, node, p, log))
	if err == nil && c.Extensions.Scrub.Interval > 0 {
		var pass jobs.Job
		pass, err = scrub.NewPass(scrubbing(c, state, r, p, log))
		all = append(all, pass)
	}
	return r.bucket.whenAttached(all...), err
}

// copiesJobs are what the leader does that copies are where they should be.
func copiesJobs(c config.Config, state *fsm.State, r *registry, node *cluster.Node, p fsm.Proposer, log hclog.Logger) ([]jobs.Job, error) {
	if r.bucket != nil {
		return bucketJobs(c, state, r, node, p, log)
	}
	copies, err := repair.New(repair.Deps{
		Store: fsm.DefaultStore, State: state, Consistency: node, Proposer: p, Copies: r.store, Watch: r.away, Logger: log.Named("repair"),
	})
	return []jobs.Job{copies}, err
}

// leadersJobs are what the leader does for all, until its leadership ends with ctx; p is bound to that.
func leadersJobs(ctx context.Context, c config.Config, state *fsm.State, stores []fsm.SetStore, r *registry, node *cluster.Node, own *askedNode, p fsm.Proposer, log hclog.Logger) {
	all, err := tenureJobs(c, state, r, node, own, p, log)
	if err == nil {
		err = own.board.Run(ctx, log, append(all, setStores(state, stores, p, log))...)
	}
	if err != nil {
		log.Error("the leader's jobs do not run", "error", err)
	}
}

func tenureJobs(c config.Config, state *fsm.State, r *registry, node *cluster.Node, own *askedNode, p fsm.Proposer, log hclog.Logger) ([]jobs.Job, error) {
	copies, err := copiesJobs(c, state, r, node, p, log)
	if err != nil {
		return nil, err
	}
	leaving := removal.Deps{Store: fsm.DefaultStore, State: state, Proposer: p, Logger: log.Named("removal")}
	drop, err := removal.NewDrop(leaving)
	if err != nil {
		return nil, err
	}
	cleared, err := removal.NewClear(leaving)
	if err != nil {
		return nil, err
	}
	garbage, err := collection(c.Storage, state, p, log)
	if err != nil {
		return nil, err
	}
	kept, err := retained(c.Storage, state, p, log)
	if err != nil {
		return nil, err
	}
	small, err := compacted(allNodes{own, r.others}, log)
	if err != nil {
		return nil, err
	}
	return append(append(append(garbage, kept...), copies...), drop, cleared, small), nil
}
