package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/retention"
)

// Neither collections nor runs of retention begin outside of the window of their store.
func TestJobsKeepToTheirWindow(t *testing.T) {
	t.Parallel()
	state, err := fsm.Open(fsm.Config{Dir: t.TempDir(), Incarnation: entry.Incarnation{1}, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	now := time.Now().UTC()
	today := now.Sub(now.Truncate(24 * time.Hour))
	around := func(from, until time.Duration) jobs.Window {
		return jobs.Window{From: (today + from) % (24 * time.Hour), Until: (today + until) % (24 * time.Hour)}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for window, open := range map[jobs.Window]bool{around(6*time.Hour, 7*time.Hour): false, around(22*time.Hour, 6*time.Hour): true} {
		s := config.SubPath{Name: fsm.DefaultStore, Store: config.Store{
			GC: true, GCInterval: time.Hour, GCWindow: window,
			Retention: retention.Config{Policies: []retention.Policy{{Repositories: []string{"**"}}}},
		}}
		for name, make := range map[string]func(config.SubPath, *fsm.State, fsm.Proposer, hclog.Logger) ([]jobs.Job, error){"collection": collection, "retention": retained} {
			all, err := make(s, state, nobody{}, hclog.NewNullLogger())
			if err != nil || len(all) != 1 {
				t.Fatal(all, err)
			}
			if err := all[0].Do(ended); errors.Is(err, context.Canceled) == open { // it waits until ctx ends, or finds that nobody leads or nothing is to do
				t.Errorf("%s, window open %t: %v", name, open, err)
			}
		}
	}
}
