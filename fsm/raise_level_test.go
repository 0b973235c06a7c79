package fsm_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// states makes a node state a level, as its process does when it starts.
func (r *replica) states(n byte, level uint32, state entry.NodeState) {
	r.t.Helper()
	c := started(n)
	c.Node.Level, c.Node.State = level, state
	do(r, c)
}

func TestRaiseLevelIsRefused(t *testing.T) {
	golden(t, fsm.RaiseLevel{Level: 2, Now: true})
	if _, err := fsm.Encode(fsm.RaiseLevel{Level: 1}); err == nil {
		t.Error("the level that every cluster has was encoded")
	}
	r := newReplica(t)
	refused(r, fsm.ErrLevelTooLow, fsm.RaiseLevel{Level: 2, Now: true})
	r.join(1)
	r.join(2)
	r.states(1, 2, 0)
	refused(r, fsm.ErrLevelTooLow, fsm.RaiseLevel{Level: 2, Now: true})
	r.states(2, 3, 0)
	refused(r, fsm.ErrLevelTooEarly, fsm.RaiseLevel{Level: 2})
	refused(r, fsm.ErrLevelTooLow, fsm.RaiseLevel{Level: 3, Now: true})
	for _, kind := range []entry.NodeState{entry.Replica, entry.Joining} {
		r.states(3, 1, kind)
		refused(r, fsm.ErrLevelTooLow, fsm.RaiseLevel{Level: 2, Now: true})
	}
	if r.Level() != 1 {
		t.Errorf("level %d", r.Level())
	}
}

func TestLevelIsRaisableADayAfterAllStateIt(t *testing.T) {
	r := newReplica(t)
	r.join(1)
	r.join(2)
	expect := func(when string, want uint32) {
		t.Helper()
		r.view(func(v fsm.View) {
			if have := v.RaisableLevel(); have != want {
				t.Errorf("%s: level %d is raisable, want %d", when, have, want)
			}
		})
	}
	r.states(1, 3, 0)
	r.wait(30 * time.Hour)
	expect("one of two states it", 1)
	r.states(2, 2, 0)
	r.wait(23 * time.Hour)
	expect("too early", 1)
	r.states(2, 3, 0)
	r.wait(61 * time.Minute)
	expect("a day after both stated 2, an hour after both stated 3", 2)
	refused(r, fsm.ErrLevelTooEarly, fsm.RaiseLevel{Level: 3})
	r.states(1, 1, 0)
	expect("one went back", 1)
	r.states(1, 3, 0)
	r.wait(23 * time.Hour)
	expect("the day begins anew", 1)
	r.wait(2 * time.Hour)
	expect("over", 3)
}

// TestRaiseLevelStopsAnOldBinary applies a level that this binary does not know.
func TestRaiseLevelStopsAnOldBinary(t *testing.T) {
	r := newReplica(t)
	r.join(1)
	r.states(1, 2, 0)
	defer func() {
		err, ok := recover().(error)
		if !ok || !errors.Is(err, fsm.ErrLevelUnknown) || !strings.Contains(err.Error(), "raise-level/1") {
			t.Errorf("apply ended with %v", err)
		}
	}()
	do(r, fsm.RaiseLevel{Level: 2, Now: true})
}
