package main

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/replicated"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// What the store knows of the nodes is what the state says: who counts, how many copies, and what time it is.
// A node that was dropped is none: its copies are gone with it, and nobody waits for it.
func TestOthers(t *testing.T) {
	t.Parallel()
	self, other, gone := entry.Incarnation{1}, entry.Incarnation{2}, entry.Incarnation{3}
	log := newAlone(t)
	state, do := log.State, func(cmd fsm.CommandOf[fsm.None]) { t.Helper(); log.do(t, cmd) }
	do(fsm.SetStore{Name: fsm.DefaultStore, GCDelay: time.Hour, Replicas: 3, WriteAcks: 2})
	for name, i := range map[string]entry.Incarnation{"n1": self, "n2": other, "n3": gone} {
		do(fsm.NodeStarted{Node: entry.Node{Incarnation: i, Name: name, Address: name + ":7373", Zone: name, Level: 1}})
		do(fsm.NodeJoined{Incarnation: i})
	}
	do(fsm.DropNode{Incarnation: gone, Lost: true})
	do(fsm.SetStore{Name: fsm.DefaultStore, GCDelay: time.Hour, Replicas: 1, WriteAcks: 1})
	do(fsm.DrainNode{Incarnation: self})
	do(fsm.SetStore{Name: fsm.DefaultStore, GCDelay: time.Hour, Replicas: 3, WriteAcks: 2})

	o := newOthers(state, self, &network{})
	o.network.hints.Store(&map[string]string{gone.String(): "elsewhere:7373"})
	m, err := holders{o, fsm.DefaultStore}.Membership()
	if err != nil || m.Self.Zone != "n1" || !m.Counts || m.Replicas != 3 || m.Need != 2 || len(m.Others) != 1 || m.Others[0].Zone != "n2" ||
		!m.Self.Draining || m.Others[0].Draining {
		t.Errorf("%+v, %v", m, err)
	}
	if err := state.View(func(v fsm.View) error {
		if now := blobstore.Time(v.Time()); now == 0 || m.Time != now {
			t.Errorf("the time is %d, and said to be %d", now, m.Time)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if places, err := o.places(other); err != nil || len(places) != 1 || places[0] != "n2:7373" {
		t.Errorf("%v, %v", places, err)
	}
	for _, i := range []entry.Incarnation{gone, {9}} {
		if _, err := o.dial(t.Context(), "tcp", net.JoinHostPort(i.String(), "80")); !errors.Is(err, replicated.ErrNodeUnknown) {
			t.Errorf("dial %s: %v", i, err)
		}
	}
}
