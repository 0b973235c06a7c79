package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/blobstore/hint"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
)

// alone applies what is proposed at once: a whole cluster without a log.
type alone struct {
	*fsm.State
	proposed int
}

func (a *alone) Propose(_ context.Context, payload []byte) (entry.Result, error) {
	a.proposed++
	p := a.Position()
	return a.Apply([]entry.Entry{{
		Index: p.Index + 1, Term: 1, Kind: entry.Command, Payload: payload,
		Envelope: entry.Envelope{Term: 1, Time: p.Time + 1},
	}})[0], nil
}

// newAlone opens an empty state of node 1, until the test ends.
func newAlone(t *testing.T) *alone {
	t.Helper()
	state, err := fsm.Open(fsm.Config{Dir: t.TempDir(), Incarnation: entry.Incarnation{1}, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := state.Close(); err != nil {
			t.Error(err)
		}
	})
	return &alone{State: state}
}

// do executes a command that must succeed.
func (a *alone) do(t *testing.T, cmd fsm.CommandOf[fsm.None]) {
	t.Helper()
	if _, err := fsm.Do(t.Context(), a, cmd); err != nil {
		t.Fatal(err)
	}
}

func TestStores(t *testing.T) {
	t.Parallel()
	cluster := newAlone(t)
	state := cluster.State
	var log strings.Builder
	logger := hclog.New(&hclog.LoggerOptions{Output: &log})
	of := func(replicas, acks int) []fsm.SetStore {
		return storesOf(config.Config{Storage: config.Storage{Store: config.Store{GCDelay: time.Minute}}, Cluster: config.Cluster{Replicas: replicas, WriteAcks: acks}})
	}
	leads := false
	compare := compareStores(state, of(5, 3), func() bool { return leads }, logger)
	look := func(warnings int, when string) {
		t.Helper()
		if err := compare.Do(t.Context()); err != nil || strings.Count(log.String(), "alike") != warnings {
			t.Errorf("%s: %v, and the log\n%s", when, err, &log)
		}
	}
	set := func(replicas, acks int) {
		t.Helper()
		if err := setStores(state, of(replicas, acks), cluster, logger).Do(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	look(0, "a store that nobody has set")
	set(3, 2)
	look(0, "just set")
	set(3, 2)
	look(1, "it lasts")
	look(1, "it lasts longer")
	if cluster.proposed != 1 {
		t.Errorf("%d proposals", cluster.proposed)
	}
	if err := state.View(func(v fsm.View) error {
		s, known := v.Store(fsm.DefaultStore)
		if !known || s.Numbers.Replicas != 3 || s.Numbers.WriteAcks != 2 || s.GCDelay != time.Minute {
			t.Errorf("the state has %+v, %t", s, known)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	leads = true
	set(4, 2)
	look(1, "a leader")
	look(1, "a leader, which is about to set it")
	leads = false
	set(5, 2)
	look(1, "another difference")
	look(2, "it lasts too")
	if cluster.proposed != 3 {
		t.Errorf("%d proposals", cluster.proposed)
	}
}

// Whether clients are sent to a bucket, and other clusters told of what is in it, follows the configuration.
func TestStoresFollow(t *testing.T) {
	t.Parallel()
	table := &hint.Table{}
	s := &store{SubPath: config.SubPath{Name: fsm.DefaultStore}, bucket: &bucketStore{}}
	s.hints = &hints{table: table, tells: &s.tells}
	all := stores{s}
	for _, redirect := range []bool{true, false} {
		c := config.Config{Storage: config.Storage{Store: config.Store{Bucket: &config.Bucket{Redirect: redirect}}}}
		c.HTTP.TLS.ClientMust = redirect
		all.follow(c)
		found, _ := all.Store(fsm.DefaultStore)
		if h, is := found.Hints.(hints); !is || (found.Elsewhere != nil) != redirect || h.tells.Load() == redirect {
			t.Errorf("redirect %t: %+v", redirect, found)
		}
	}
	all.follow(config.Config{})
	if found, _ := all.Store(fsm.DefaultStore); found.Elsewhere != nil {
		t.Errorf("without a bucket: %+v", found)
	}
}
