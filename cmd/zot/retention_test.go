package main

import (
	"testing"
	"testing/synctest"
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
		storage config.Store
		every   time.Duration // 0: no job
	}{
		"no policies":     {config.Default("zot-0").Storage.Store, 0},
		"gc is off":       {config.Store{GCInterval: time.Hour, Retention: some}, 0},
		"often":           {config.Store{GC: true, GCInterval: 2 * time.Second, Retention: some}, 2 * time.Second},
		"all the time":    {config.Store{GC: true, Retention: some}, time.Second},
		"every other day": {config.Store{GC: true, GCInterval: 48 * time.Hour, Retention: some}, 10 * time.Second}, // looks whether it is due
	} {
		all, err := retained(config.SubPath{Name: fsm.DefaultStore, Store: test.storage}, state, nobody{}, hclog.NewNullLogger())
		if err != nil || len(all) == 0 && test.every != 0 || len(all) > 0 && all[0].Every != test.every {
			t.Errorf("%s: %+v, %v; want a job every %s", name, all, err, test.every)
		}
	}
}

// What was pushed a moment ago is not yet to come for a preview, in the same second either.
func TestPreviewInTheSameSecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(1500 * time.Millisecond)
		s := shelvesOf(t, 1, true)
		s.date = time.Now().UnixMilli()
		must(s, fsm.PutManifest{
			Repository: repository, Store: fsm.DefaultStore, Digest: digestFor("m"), Size: 1, Body: []byte("m"),
			MediaType: "application/vnd.oci.image.index.v1+json",
		})
		a, err := preview(t.Context(), s.state, previewRequest{
			Store: fsm.DefaultStore, Retention: retention.Config{Policies: []retention.Policy{{Repositories: []string{"**"}, DeleteUntagged: true}}},
		})
		if err != nil || len(a.Repositories) != 1 || a.Repositories[0].GoingManifests != 1 || a.Date.Nanosecond() != 0 {
			t.Errorf("%+v, %v", a, err)
		}
	})
}
