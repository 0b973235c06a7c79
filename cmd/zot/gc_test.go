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
)

type nobody struct{}

func (nobody) Propose(context.Context, []byte) (entry.Result, error) {
	return entry.Result{}, errors.New("nobody leads")
}

func TestCollection(t *testing.T) {
	t.Parallel()
	state, err := fsm.Open(fsm.Config{Dir: t.TempDir(), Incarnation: entry.Incarnation{1}, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	for name, test := range map[string]struct {
		storage config.Store
		every   time.Duration // 0: nothing is collected
	}{
		"the default":       {config.Default("zot-0").Storage.Store, time.Hour},
		"off":               {config.Store{GC: false, GCInterval: time.Minute}, 0},
		"short":             {config.Store{GC: true, GCInterval: 2 * time.Second}, 2 * time.Second},
		"shorter than any":  {config.Store{GC: true, GCInterval: 300}, time.Second},
		"with each request": {config.Store{GC: true, GCInterval: 0}, time.Second},
	} {
		all, err := collection(config.SubPath{Name: fsm.DefaultStore, Store: test.storage}, state, nobody{}, hclog.NewNullLogger())
		switch {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case len(all) == 0 && test.every != 0, len(all) > 0 && all[0].Every != test.every:
			t.Errorf("%s: %+v, want a job every %s", name, all, test.every)
		}
	}
}
