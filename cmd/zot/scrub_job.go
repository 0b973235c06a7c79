package main

import (
	"net/http"
	"path/filepath"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/removal"
	"github.com/seed-16d79997/zot/jobs/scrub"
)

// upkeep is what all share that look after the bytes of this node.
type upkeep struct {
	suspects *scrub.Suspects // copies that somebody took for bad
	pace     *jobs.Pace      // of what is read and written for no client
}

func newUpkeep() upkeep { return upkeep{scrub.NewSuspects(), jobs.DefaultPace()} }

// scrubbing is what the jobs need that look after the copies which this node reaches.
func scrubbing(c config.Config, state *fsm.State, r *registry, p fsm.Proposer, log hclog.Logger) scrub.Deps {
	return scrub.Deps{
		Store: fsm.DefaultStore, Every: c.Extensions.Scrub.Interval, Dir: filepath.Join(c.Storage.RootDirectory, "node"),
		State: state, Proposer: p, Blobs: r.local, Suspects: r.suspects, Pace: r.pace.Wait, Logger: log.Named("scrub"),
	}
}

// bytesJobs are what every node does to keep its own copies good: it hashes all of them again at times, and at
// once those that others are to be removed for, and gives up what is bad. Copies in a bucket are hashed by the
// leader alone; what is bad there, whoever has come upon it gives up.
func bytesJobs(c config.Config, state *fsm.State, r *registry, p fsm.Proposer, log hclog.Logger) ([]jobs.Job, error) {
	d := scrubbing(c, state, r, p, log)
	if r.bucket != nil {
		settle, err := scrub.NewSettle(d)
		return []jobs.Job{settle}, err
	}
	all, err := scrub.New(d)
	if err != nil {
		return nil, err
	}
	vouch, err := removal.NewVouch(removal.Deps{
		Store: fsm.DefaultStore, State: state, Proposer: p, Blobs: r.local, Suspect: r.suspects.Add, Pace: r.pace.Wait, Logger: log.Named("removal"),
	})
	if err != nil {
		return nil, err
	}
	return append(all, vouch), nil
}

// first serves clients by a handler, and has what is for no client hold back meanwhile.
func (u upkeep) first(clients http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer u.pace.Serve()()
		clients.ServeHTTP(w, r)
	})
}
