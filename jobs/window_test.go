package jobs_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/jobs"
)

// Runs begin within the window alone. A bubble begins at midnight of 1 January 2000, in UTC.
func TestWindow(t *testing.T) {
	t.Parallel()
	clock := func(hour, minute int) time.Duration {
		return time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute
	}
	for name, test := range map[string]struct {
		window jobs.Window
		every  time.Duration
		lasts  time.Duration // a run
		want   []time.Duration
	}{
		"all day":               {jobs.Window{}, clock(10, 0), 0, []time.Duration{0, clock(10, 0), clock(20, 0), clock(30, 0), clock(40, 0)}},
		"by day":                {jobs.Window{From: clock(8, 30), Until: clock(9, 0)}, clock(0, 20), 0, []time.Duration{clock(8, 30), clock(8, 50), clock(32, 30), clock(32, 50)}},
		"over midnight":         {jobs.Window{From: clock(23, 0), Until: clock(1, 0)}, clock(1, 30), 0, []time.Duration{0, clock(23, 0), clock(24, 30), clock(47, 0), clock(48, 30)}},
		"its end is no more":    {jobs.Window{From: clock(0, 0), Until: clock(2, 0)}, clock(1, 0), 0, []time.Duration{0, clock(1, 0), clock(24, 0), clock(25, 0), clock(48, 0), clock(49, 0)}},
		"a run that ends later": {jobs.Window{From: clock(1, 0), Until: clock(2, 0)}, clock(0, 30), clock(3, 0), []time.Duration{clock(1, 0), clock(25, 0), clock(49, 0)}},
		"rarer than windows":    {jobs.Window{From: clock(1, 0), Until: clock(1, 10)}, clock(30, 0), 0, []time.Duration{clock(1, 0), clock(49, 0)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				midnight := time.Now()
				var board jobs.Board
				var began []time.Duration
				job := test.window.Bound(jobs.Job{Name: "j", Every: test.every, Do: func(context.Context) error {
					began = append(began, time.Since(midnight))
					time.Sleep(test.lasts) // the work itself
					return nil
				}})
				ctx, cancel := context.WithTimeout(t.Context(), clock(49, 5))
				defer cancel()
				if err := board.Run(ctx, hclog.NewNullLogger(), job); err != nil {
					t.Error(err)
				}
				if !slices.Equal(began, test.want) {
					t.Errorf("runs began after %v, want %v", began, test.want)
				}
			})
		})
	}
}

// A job that waits for its window is not at work, and ends with its context.
func TestJobThatWaitsForItsWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var board jobs.Board
		ctx, cancel := context.WithCancel(t.Context())
		job := jobs.Window{From: time.Hour, Until: 2 * time.Hour}.Bound(jobs.Job{Name: "j", Every: time.Hour, Do: func(context.Context) error {
			t.Error("it ran")
			return nil
		}})
		var running sync.WaitGroup
		running.Go(func() {
			if err := board.Run(ctx, hclog.NewNullLogger(), job); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		if got := board.Jobs(); len(got) != 1 || !got[0].Running.IsZero() {
			t.Errorf("%+v", got)
		}
		cancel()
		running.Wait()
	})
}
