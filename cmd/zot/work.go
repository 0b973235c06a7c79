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
	"github.com/seed-16d79997/zot/jobs/sweep"
)

// ownJobs are what every node does for itself, whoever leads.
func ownJobs(c config.Config, state *fsm.State, stores []fsm.SetStore, r *registry, node *cluster.Node, log hclog.Logger) ([]jobs.Job, error) {
	all, err := sweep.New(sweep.Deps{
		Store: fsm.DefaultStore, Blobs: r.disk, State: state, Consistency: node, Proposer: node, Logger: log.Named("sweep"),
	})
	if err != nil {
		return nil, err
	}
	bytes, err := bytesJobs(c, state, r, node, log)
	if err != nil {
		return nil, err
	}
	return append(append(all, bytes...), r.recorder, r.away.Job(state), recountState(state.Recount, r.pace), compareStores(state, stores, node.Leads, log)), nil
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
	copies, err := repair.New(repair.Deps{
		Store: fsm.DefaultStore, State: state, Consistency: node, Proposer: p, Copies: r.store, Watch: r.away, Logger: log.Named("repair"),
	})
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
	return append(append(garbage, kept...), copies, drop, cleared, small), nil
}
