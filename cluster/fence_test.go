package cluster_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/sim"
)

// fenceable is fenced when its name is said, as after a recount.
type fenceable struct {
	cluster.StateMachine
	name string
	who  *atomic.Pointer[string]
}

// Fenced says why.
func (f fenceable) Fenced() string {
	if who := f.who.Load(); who != nil && *who == f.name {
		return "its records are damaged"
	}
	return f.StateMachine.Fenced()
}

// A fenced leader answers neither the writes nor the rounds that others send it, and hands over.
func TestFencedLeaderServesNobody(t *testing.T) {
	var who atomic.Pointer[string]
	c := sim.Started(t, 3, sim.Options{Machine: func(name string, m cluster.StateMachine) cluster.StateMachine {
		return fenceable{m, name, &who}
	}})
	leader, term := leads(c)
	other := c.Others(leader)[0]
	still := func() bool { // what was answered before this was answered by the fenced one
		for _, n := range c.Running() {
			if n.Term() != term {
				return false
			}
		}
		return true
	}
	who.Store(&leader.Name)
	writes, rounds := 0, 0
	ctx := soon(t, patience)
	for ctx.Err() == nil && still() {
		short := soon(t, 200*time.Millisecond)
		if _, err := fsm.Do(short, other, register(1)); err == nil && still() {
			writes++
		}
		if err := other.ReadIndex(short); err == nil && still() {
			rounds++
		}
	}
	if writes > 0 || rounds > 0 {
		t.Errorf("the fenced leader answered %d writes and %d rounds", writes, rounds)
	}
	if ctx.Err() != nil {
		t.Fatal("it goes on leading")
	}
	if err := set(t.Context(), other, 2); err != nil {
		t.Errorf("the next leader: %v", err)
	}
}
