package fsm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

// unpaced lets a recount run as fast as it can.
func unpaced(ctx context.Context, _ int) error { return ctx.Err() }

func TestRecountOfASoundState(t *testing.T) {
	r := filled(t, 50)
	if err := r.Recount(t.Context(), unpaced); err != nil {
		t.Error(err)
	}
	if why := r.Fenced(); why != "" {
		t.Error(why)
	}
}

// progress is the n-th of records that are so large that a recount takes several steps for them.
func progress(n, size int) fsm.SetProgress {
	return fsm.SetProgress{Job: fmt.Sprintf("job-%03d", n), Term: 1, Value: bytes.Repeat([]byte{byte(n)}, size)}
}

// large is a replica with a megabyte of progress.
func large(t *testing.T) *replica {
	t.Helper()
	r := newReplica(t)
	var all []fsm.SetProgress
	for n := range 250 {
		all = append(all, progress(n, 4<<10))
	}
	doAll(r, all)
	return r
}

// steps is how many steps a recount takes.
func (r *replica) steps() (n int) {
	r.t.Helper()
	if err := r.Recount(r.t.Context(), func(context.Context, int) error { n++; return nil }); err != nil {
		r.t.Fatal(err)
	}
	return n
}

// TestRecountWhileApplying makes, changes and removes records before, at and behind the place that a
// recount has come to, before each of its steps.
func TestRecountWhileApplying(t *testing.T) {
	r := large(t)
	steps := 0
	err := r.Recount(t.Context(), func(context.Context, int) error {
		steps++
		var changes []fsm.SetProgress
		for n := steps % 2; n < 300; n += 2 {
			changes = append(changes, progress(n, (n*steps)%3*2000)) // a third of them removes
		}
		doAll(r, changes)
		r.wait(2 * time.Minute) // forgets results
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	r.sound()
}

// TestRecountStartsAnewAfterAnInstall installs another state before each of a recount's steps in turn.
func TestRecountStartsAnewAfterAnInstall(t *testing.T) {
	a := large(t)
	do(a, progress(1, 0))
	stream, stamp := snapshotOf(t, a), stampOf(a.Position())
	r := large(t)
	for at := r.steps(); at > 0; at-- {
		do(r, progress(at, 1000)) // or it would be the state that is installed
		step := 0
		err := r.Recount(t.Context(), func(context.Context, int) error {
			if step++; step == at {
				install(t, r, stream, stamp)
			}
			return nil
		})
		if err != nil {
			t.Errorf("install before step %d: %v", at, err)
		}
	}
}

func TestRecountEndsWithItsPace(t *testing.T) {
	r, enough := filled(t, 1), errors.New("enough")
	err := r.Recount(t.Context(), func(ctx context.Context, _ int) error {
		if err := r.Recount(ctx, unpaced); !errors.Is(err, fsm.ErrBusy) {
			t.Errorf("a second recount at once: %v", err)
		}
		return enough
	})
	if !errors.Is(err, enough) || r.Fenced() != "" {
		t.Errorf("%v, fenced %q", err, r.Fenced())
	}
}
