package main

import (
	"net/http"
	"path/filepath"

	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/removal"
	"github.com/seed-16d79997/zot/jobs/scrub"
)

// upkeep is what all share that look after the bytes of this node.
type upkeep struct {
	pace *jobs.Pace // of what is read and written for no client
}

func newUpkeep() upkeep { return upkeep{jobs.DefaultPace()} }

// scrubbing is what the jobs need that look after the copies of a store which this node reaches.
func (t tasks) scrubbing(s *store, c config.Scrub, p fsm.Proposer) scrub.Deps {
	return scrub.Deps{
		Store: s.Name, Every: c.Interval, Dir: filepath.Join(t.root, "node"),
		State: t.state, Proposer: p, Blobs: s.local, Suspects: s.suspects, Pace: t.pace.Wait, Logger: t.log.Named("scrub"),
	}
}

// bytesJobs are what every node does to keep its own copies in a store good: it hashes all of them again at times, and at
// once those that others are to be removed for, and gives up what is bad. Copies in a bucket are hashed by the
// leader alone; what is bad there, whoever has come upon it gives up.
func (t tasks) bytesJobs(s *store, c config.Scrub) ([]jobs.Job, error) {
	d := t.scrubbing(s, c, t.node)
	if s.bucket != nil {
		settle, err := scrub.NewSettle(d)
		return []jobs.Job{settle}, err
	}
	if own, ok := s.local.(linkable); ok {
		d.Linked = own
	}
	all, err := scrub.New(d)
	if err != nil {
		return nil, err
	}
	if d.Linked != nil {
		first, err := scrub.NewFirst(d, s.linked)
		if err != nil {
			return nil, err
		}
		all = append(all, first)
	}
	vouch, err := removal.NewVouch(removal.Deps{
		Store: s.Name, State: t.state, Proposer: t.node, Blobs: s.local, Suspect: s.suspects.Add, Pace: t.pace.Wait, Logger: t.log.Named("removal"),
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
