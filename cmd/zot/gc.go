package main

import (
	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/gc"
)

// collection is the leader's job that collects the garbage of a store; none if its file has gc off for the store. What is doomed already
// every node removes all the same.
func collection(c config.SubPath, state *fsm.State, p fsm.Proposer, log hclog.Logger) ([]jobs.Job, error) {
	if !c.GC {
		return nil, nil
	}
	job, err := gc.New(gc.Deps{
		Store: c.Name, State: state, Proposer: p, Every: max(c.GCInterval, config.MinGCInterval), Logger: log.Named("gc"),
	})
	if err != nil {
		return nil, err
	}
	return []jobs.Job{c.GCWindow.Bound(job)}, nil
}
