package main

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
)

// storesEvery is how often a node compares the numbers of its stores with those of the state.
const storesEvery = time.Minute

// storesOf are the stores as the configuration has them.
func storesOf(c config.Config) (all []fsm.SetStore) {
	for _, s := range c.Storage.All() {
		replicas, acks := c.Copies(s.Store)
		all = append(all, fsm.SetStore{Name: s.Name, GCDelay: s.GCDelay, Replicas: replicas, WriteAcks: acks, Place: placeOf(s.Store)})
	}
	return all
}

// differing returns those stores that the state knows by other numbers, or not yet; known says which.
func differing(state *fsm.State, stores []fsm.SetStore) (differ []fsm.SetStore, known map[string]fsm.SetStore, err error) {
	known = map[string]fsm.SetStore{}
	err = state.View(func(v fsm.View) error {
		for _, want := range stores {
			s, recorded := v.Store(want.Name)
			have := fsm.SetStore{Name: s.Name, GCDelay: s.GCDelay, Replicas: s.Numbers.Replicas, WriteAcks: s.Numbers.WriteAcks, Place: s.Place}
			if recorded {
				known[want.Name] = have
			}
			if !recorded || have != want {
				differ = append(differ, want)
			}
		}
		return nil
	})
	return differ, known, err
}

// setStores is the leader's job: the state takes its numbers, and where copies go while there are none, from the leader's
// file.
func setStores(state *fsm.State, stores []fsm.SetStore, p fsm.Proposer, log hclog.Logger) jobs.Job {
	return jobs.Job{Name: "set stores", Every: storesEvery, Do: func(ctx context.Context) error {
		differ, _, err := differing(state, stores)
		if err != nil {
			return err
		}
		for _, s := range differ {
			if _, err := fsm.Do(ctx, p, s); err != nil {
				return fmt.Errorf("set the numbers of store %s: %w", s.Name, err)
			}
			log.Info("numbers of a store set", "store", s.Name, "gc_delay_seconds", s.GCDelay.Seconds(), "replicas", s.Replicas, "write_acks", s.WriteAcks, "copies", s.Place.String())
		}
		return nil
	}}
}

// compareStores is every node's job: a file that differs from the leader's takes effect with the next
// leadership, which nobody would expect. It says so when a difference has lasted from one look to the next, for the files
// of all nodes do not change at once.
func compareStores(state *fsm.State, stores []fsm.SetStore, leads func() bool, log hclog.Logger) jobs.Job {
	seen, warned := map[string]fsm.SetStore{}, map[string]fsm.SetStore{}
	return jobs.Job{Name: "compare stores", Every: storesEvery, Do: func(context.Context) error {
		differ, known, err := differing(state, stores)
		if err != nil {
			return err
		}
		before := seen
		if seen = known; leads() {
			return nil
		}
		for _, want := range differ {
			have, recorded := known[want.Name]
			if !recorded || before[want.Name] != have || warned[want.Name] == have {
				continue
			}
			warned[want.Name] = have
			log.Warn("this node's file says otherwise of a store than the cluster goes by: make the files alike", "store", want.Name,
				"gc_delay_seconds", want.GCDelay.Seconds(), "cluster_gc_delay_seconds", have.GCDelay.Seconds(),
				"replicas", want.Replicas, "cluster_replicas", have.Replicas, "write_acks", want.WriteAcks, "cluster_write_acks", have.WriteAcks,
				"copies", want.Place.String(), "cluster_copies", have.Place.String())
		}
		return nil
	}}
}
