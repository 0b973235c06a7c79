package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

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
	set := func(replicas, acks int) {
		t.Helper()
		if err := setStores(state, of(replicas, acks), cluster, logger).Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := compare.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	if err := compare.Do(t.Context()); err != nil || strings.Contains(log.String(), "alike") {
		t.Errorf("warned of a store that nobody has set: %v\n%s", err, &log)
	}
	for range 2 {
		set(3, 2) // the second time there is nothing to set, nor to warn of again
	}
	if cluster.proposed != 1 || strings.Count(log.String(), "alike") != 1 {
		t.Errorf("%d proposals and the log\n%s", cluster.proposed, &log)
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
	if strings.Count(log.String(), "alike") != 1 {
		t.Errorf("a leader warned of what it is about to set:\n%s", &log)
	}
	leads = false
	set(5, 2)
	if cluster.proposed != 3 || strings.Count(log.String(), "alike") != 2 {
		t.Errorf("%d proposals and the log\n%s", cluster.proposed, &log)
	}
}
