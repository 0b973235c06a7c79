package main

import (
	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/retention"
)

// retained is the leader's job that removes what the policies of a store do not keep; none if there are no
// policies, or gc is off.
func retained(c config.SubPath, state *fsm.State, p fsm.Proposer, log hclog.Logger) ([]jobs.Job, error) {
	if !c.GC || len(c.Retention.Policies) == 0 {
		return nil, nil
	}
	policies, err := retention.Compile(c.Retention)
	if err != nil {
		return nil, err
	}
	job, err := retention.New(retention.Deps{
		Store: c.Name, Policies: policies, State: state, Proposer: p,
		Every: max(c.GCInterval, config.MinGCInterval), Logger: log.Named("retention"),
	})
	if err != nil {
		return nil, err
	}
	return []jobs.Job{c.GCWindow.Bound(job)}, nil
}
