package main

import (
	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/sweep"
)

// ownJobs are what every node does for itself, whoever leads.
func ownJobs(state *fsm.State, stores []fsm.SetStore, r *registry, node *cluster.Node, log hclog.Logger) ([]jobs.Job, error) {
	all, err := sweep.New(sweep.Deps{
		Store: fsm.DefaultStore, Blobs: r.disk, State: state, Consistency: node, Proposer: node, Logger: log.Named("sweep"),
	})
	if err != nil {
		return nil, err
	}
	return append(all, compareStores(state, stores, node.Leads, log)), nil
}
