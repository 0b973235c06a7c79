package fsm_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
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

// TestRecountWhileApplying changes records before, at and behind the place that a recount has come to,
// before each of its steps.
func TestRecountWhileApplying(t *testing.T) {
	r := newReplica(t)
	for i := range 30 { // kept results enough for several steps
		var batch []entry.Entry
		for j := range 100 {
			e := r.next(payloadOf(t, store(fmt.Sprint((100*i+j)%200), time.Hour)))
			e.Envelope.Request.Random = uint64(100*i+j) << 32 // all over the bucket
			batch = append(batch, e)
		}
		r.apply(batch...)
	}
	steps := 0
	err := r.Recount(t.Context(), func(context.Context, int) error {
		steps++
		for i := range 7 {
			//nolint:contextcheck // the test proposes, not the recount
			do(r, store(fmt.Sprint((steps*31+i*17)%200), time.Duration(steps)*time.Hour))
		}
		r.wait(time.Minute) // forgets results
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if steps < 10 {
		t.Errorf("only %d steps", steps)
	}
}

func TestRecountStartsAnewAfterAnInstall(t *testing.T) {
	a, r := filled(t, 30), filled(t, 60)
	steps := 0
	err := r.Recount(t.Context(), func(context.Context, int) error {
		if steps++; steps == 4 {
			install(t, r, snapshotOf(t, a), stampOf(a.Position()))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
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
