package jobs_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/jobs"
)

func TestBoard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var board jobs.Board
		ctx, cancel := context.WithCancel(t.Context())
		began, runs := time.Now(), 0
		var running sync.WaitGroup
		running.Go(func() {
			err := board.Run(ctx, hclog.NewNullLogger(),
				jobs.Job{Name: "slow", Every: time.Hour, Do: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
				jobs.Job{Name: "flaky", Every: time.Minute, Do: func(context.Context) error {
					time.Sleep(3 * time.Second) // the work itself
					if runs++; runs == 1 {
						return errors.New("no luck")
					}
					return nil
				}})
			if err != nil {
				t.Error(err)
			}
		})
		at := func(after time.Duration, want ...jobs.Status) {
			t.Helper()
			time.Sleep(after - time.Since(began))
			synctest.Wait()
			got := board.Jobs()
			if len(got) != len(want) {
				t.Fatalf("after %s: %+v", after, got)
			}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("after %s: %+v, want %+v", after, got[i], want[i])
				}
			}
		}
		slow := jobs.Status{Name: "slow", Running: began}
		at(0, jobs.Status{Name: "flaky", Running: began}, slow)
		failed := jobs.Status{Name: "flaky", Ended: began.Add(3 * time.Second), Took: 3 * time.Second, Error: "no luck"}
		at(3*time.Second, failed, slow)
		failed.Running = began.Add(4 * time.Second) // tried again
		at(5*time.Second, failed, slow)
		at(time.Minute, jobs.Status{Name: "flaky", Ended: began.Add(7 * time.Second), Took: 3 * time.Second}, slow)
		cancel()
		running.Wait()
		at(time.Minute)
	})
}

// A job that waits for something to do is not at work.
func TestBoardOfAJobThatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var board jobs.Board
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		do := func(ctx context.Context) error {
			resume := jobs.Waits(ctx)
			time.Sleep(time.Minute)
			resume()
			time.Sleep(time.Minute)
			return nil
		}
		began := time.Now()
		var running sync.WaitGroup
		running.Go(func() {
			if err := board.Run(ctx, hclog.NewNullLogger(), jobs.Job{Name: "j", Every: time.Hour, Do: do}); err != nil {
				t.Error(err)
			}
		})
		for _, want := range []jobs.Status{
			{Name: "j"},
			{Name: "j", Running: began.Add(time.Minute)},
			{Name: "j", Ended: began.Add(2 * time.Minute), Took: time.Minute},
		} {
			time.Sleep(time.Second)
			synctest.Wait()
			if got := board.Jobs(); len(got) != 1 || got[0] != want {
				t.Errorf("%+v, want %+v", got, want)
			}
			time.Sleep(59 * time.Second)
		}
		cancel()
		running.Wait()
		if err := do(t.Context()); err != nil { // on no board
			t.Error(err)
		}
	})
}

// Two sets of jobs are on one board, as those of a node and those of a leader; each goes with its end.
func TestBoardOfTwoSets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var board jobs.Board
		job := func(name string) jobs.Job {
			return jobs.Job{Name: name, Every: time.Hour, Do: func(context.Context) error { return nil }}
		}
		var running sync.WaitGroup
		run := func(ctx context.Context, all ...jobs.Job) {
			running.Go(func() {
				if err := board.Run(ctx, hclog.NewNullLogger(), all...); err != nil {
					t.Error(err)
				}
			})
		}
		node, stop := context.WithCancel(t.Context())
		leadership, deposed := context.WithCancel(t.Context())
		run(node, job("own"), job("same"))
		run(leadership, job("leader's"), job("same"))
		synctest.Wait()
		if got := board.Jobs(); len(got) != 4 {
			t.Errorf("%+v", got)
		}
		deposed()
		synctest.Wait()
		if got := board.Jobs(); len(got) != 2 || got[0].Name != "own" || got[1].Name != "same" {
			t.Errorf("%+v", got)
		}
		stop()
		running.Wait()
		if err := board.Run(t.Context(), hclog.NewNullLogger(), jobs.Job{Name: "no work"}); err == nil || len(board.Jobs()) != 0 {
			t.Errorf("half a job: %v, %+v", err, board.Jobs())
		}
	})
}
