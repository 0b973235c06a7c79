package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

// gone is a cluster whose quorum comes and goes.
type gone struct {
	evidence func() bool
	round    error // of each round
	silent   bool  // rounds are not answered
}

func (g gone) NoQuorum() bool                     { return g.evidence() }
func (g gone) Read(context.Context) (bool, error) { return g.NoQuorum(), nil }

func (g gone) ReadIndex(ctx context.Context) error {
	if g.silent {
		<-ctx.Done()
		return ctx.Err()
	}
	return g.round
}

// A proposal is given up when the quorum is gone, and not when there is an election, or was none to see that it is over.
func TestWhileQuorum(t *testing.T) {
	t.Parallel()
	none := errors.New("no leader")
	for name, test := range map[string]struct {
		lost  func(since time.Duration) bool
		round error
		ends  time.Duration // 0: never
	}{
		"there is one":               {func(time.Duration) bool { return false }, none, 0},
		"there is none":              {func(time.Duration) bool { return true }, none, quorumLost * quorumLook},
		"an election":                {func(s time.Duration) bool { return s < quorumLost*quorumLook }, none, 0},
		"one election after another": {func(s time.Duration) bool { return s%(quorumLost*quorumLook) != 0 }, none, 0},
		"later":                      {func(s time.Duration) bool { return s > time.Minute }, none, time.Minute + quorumLost*quorumLook},
		"evidence that is old":       {func(time.Duration) bool { return true }, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				ctx, end := whileQuorum(t.Context(), gone{func() bool { return test.lost(time.Since(began)) }, test.round, false})
				defer end()
				select {
				case <-ctx.Done():
				case <-time.After(time.Hour):
				}
				switch took := time.Since(began); {
				case test.ends == 0 && ctx.Err() != nil, test.ends != 0 && took != test.ends:
					t.Errorf("ended after %s: %v", took, context.Cause(ctx))
				case test.ends != 0 && !errors.Is(context.Cause(ctx), errQuorumLost):
					t.Errorf("ended with %v", context.Cause(ctx))
				}
			})
		})
	}
}

// Rounds that nobody answers are waited for once more.
func TestWhileQuorumAndSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, end := whileQuorum(t.Context(), gone{evidence: func() bool { return true }, silent: true})
		defer end()
		<-ctx.Done()
		if took := time.Since(began); took > (quorumLost+1)*quorumLook {
			t.Errorf("ended after %s", took)
		}
	})
}

// For want of a quorum is not because somebody has gone: what it is otherwise can still be told.
func TestForWantOfAQuorum(t *testing.T) {
	t.Parallel()
	ended, end := context.WithCancelCause(t.Context())
	end(errQuorumLost)
	gone, leave := context.WithCancel(t.Context())
	leave()
	was := fmt.Errorf("%w: asked the leader: %w", fsm.ErrOutcomeUnknown, context.Canceled)
	refusal := &fsm.Refusal{Code: "x"}
	for what, err := range map[string]error{"unknown": was, "refused": fmt.Errorf("so: %w", refusal)} {
		if got := forWant(gone, err); got != err { //nolint:errorlint // the very same
			t.Errorf("%s, of who has gone: %v", what, got)
		}
		got := forWant(ended, err)
		if errors.Is(got, context.Canceled) || !errors.Is(got, context.DeadlineExceeded) || !errors.Is(got, errQuorumLost) || !strings.Contains(got.Error(), "there is no quorum") {
			t.Errorf("%s: %v", what, got)
		}
	}
	if !errors.Is(forWant(ended, was), fsm.ErrOutcomeUnknown) || errors.Is(forWant(ended, refusal), fsm.ErrOutcomeUnknown) {
		t.Error("whether it was decided cannot be told any more")
	}
	if r, is := errors.AsType[*fsm.Refusal](forWant(ended, refusal)); !is || r != refusal {
		t.Errorf("a refusal is %v", r)
	}
	if err := forWant(ended, nil); err != nil {
		t.Errorf("what was done: %v", err)
	}
}
