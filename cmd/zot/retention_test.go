package main

import (
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs/retention"
)

func TestRetained(t *testing.T) {
	t.Parallel()
	state, err := fsm.Open(fsm.Config{Dir: t.TempDir(), Incarnation: entry.Incarnation{1}, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	some := retention.Config{Policies: []retention.Policy{{Repositories: []string{"**"}}}}
	for name, test := range map[string]struct {
		storage config.Storage
		every   time.Duration // 0: no job
	}{
		"no policies":     {config.Default("zot-0").Storage, 0},
		"gc is off":       {config.Storage{GCInterval: time.Hour, Retention: some}, 0},
		"often":           {config.Storage{GC: true, GCInterval: 2 * time.Second, Retention: some}, 2 * time.Second},
		"all the time":    {config.Storage{GC: true, Retention: some}, time.Second},
		"every other day": {config.Storage{GC: true, GCInterval: 48 * time.Hour, Retention: some}, 10 * time.Second}, // looks whether it is due
	} {
		all, err := retained(test.storage, state, nobody{}, hclog.NewNullLogger())
		if err != nil || len(all) == 0 && test.every != 0 || len(all) > 0 && all[0].Every != test.every {
			t.Errorf("%s: %+v, %v; want a job every %s", name, all, err, test.every)
		}
	}
}
