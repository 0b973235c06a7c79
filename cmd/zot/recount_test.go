package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/jobs"
)

// DESIGN 2: once a day, and not while a node starts. What fails is tried again.
func TestStateIsRecountedDaily(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		job := recountState(func(ctx context.Context, pace func(context.Context, int) error) error {
			at = append(at, time.Since(began))
			if err := pace(ctx, 1); err != nil {
				t.Error(err)
			}
			if len(at) == 2 {
				return errors.New("already under way")
			}
			return nil
		}, jobs.DefaultPace())
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Hour)
		defer cancel()
		if err := jobs.Run(ctx, hclog.NewNullLogger(), job); err != nil {
			t.Error(err)
		}
		want := []time.Duration{time.Hour, 25 * time.Hour, 25*time.Hour + time.Second, 49*time.Hour + time.Second}
		if len(at) != len(want) {
			t.Fatalf("at %v", at)
		}
		for i := range want {
			if d := at[i] - want[i]; d < 0 || d > time.Second { // the pace has a part of it
				t.Errorf("at %v, want %v", at, want)
			}
		}
	})
}
