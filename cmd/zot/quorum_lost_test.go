package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// gone is a cluster whose quorum comes and goes.
type gone struct {
	evidence func() bool
	round    error // of each round
}

func (g gone) NoQuorum() bool                     { return g.evidence() }
func (g gone) Read(context.Context) (bool, error) { return g.NoQuorum(), nil }
func (g gone) ReadIndex(context.Context) error    { return g.round }

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
				ctx, end := whileQuorum(t.Context(), gone{func() bool { return test.lost(time.Since(began)) }, test.round})
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
