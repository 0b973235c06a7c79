package fsm_test

import (
	"slices"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

func (r *replica) expectDraining(want ...byte) {
	r.t.Helper()
	r.view(func(v fsm.View) {
		var have []byte
		for _, i := range v.Draining() {
			have = append(have, i[0])
		}
		if !slices.Equal(have, want) {
			r.t.Errorf("to be emptied are %v, want %v", have, want)
		}
	})
	r.sound()
}

// A node that is to be emptied is a member like the others, and stays marked over its own restarts.
func TestDrainNode(t *testing.T) {
	r := newCluster(t, 5)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	drain := func(n byte) fsm.DrainNode { return fsm.DrainNode{Incarnation: node(n)} }
	refused(r, fsm.ErrNodeUnknown, drain(9))
	do(r, drain(2))
	do(r, drain(2))
	do(r, started(2))
	r.expectState(2, entry.Member)
	r.expectDraining(2)
	r.expectCopies("x", loc(1, 1), loc(2, 2))
	do(r, drain(1))
	r.expectDraining(1, 2)
	refused(r, fsm.ErrTooFewNodes, drain(3)) // the store has three replicas
	do(r, fsm.DrainNode{Incarnation: node(1), Undo: true})
	do(r, fsm.DrainNode{Incarnation: node(1), Undo: true})
	r.expectDraining(2)
	do(r, fsm.RetireNode{Incarnation: node(2)})
	r.expectDraining()
	refused(r, fsm.ErrNodeNoMember, drain(2))
	do(r, drain(4))
	do(r, fsm.DropNode{Incarnation: node(4), Lost: true})
	r.expectDraining()
	do(r, started(6))
	refused(r, fsm.ErrNodeNoMember, drain(6))
}

// The copies must be able to go somewhere in every store.
func TestDrainNodeAsksEveryStore(t *testing.T) {
	r := newCluster(t, 4)
	do(r, fsm.SetStore{Name: "default", GCDelay: time.Hour, Replicas: 2, WriteAcks: 2})
	do(r, fsm.SetStore{Name: "other", GCDelay: time.Hour, Replicas: 4, WriteAcks: 2})
	refused(r, fsm.ErrTooFewNodes, fsm.DrainNode{Incarnation: node(1)})
	do(r, fsm.SetStore{Name: "other", GCDelay: time.Hour, Replicas: 3, WriteAcks: 2})
	do(r, fsm.DrainNode{Incarnation: node(1)})
	r.expectDraining(1)
}
