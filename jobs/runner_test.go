package jobs_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/jobs"
)

// runFor runs jobs for so long and returns what they logged.
func runFor(t *testing.T, d time.Duration, all ...jobs.Job) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var out bytes.Buffer
	if err := jobs.Run(ctx, hclog.New(&hclog.LoggerOptions{Output: &out}), all...); err != nil {
		t.Error(err)
	}
	return out.String()
}

func TestRunRepeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		slow := jobs.Job{Name: "slow", Every: time.Minute, Do: func(context.Context) error {
			at = append(at, time.Since(began))
			time.Sleep(10 * time.Second) // the work itself
			return nil
		}}
		quick := 0
		log := runFor(t, 3*time.Minute, slow, jobs.Job{Name: "quick", Every: time.Second, Do: func(context.Context) error {
			quick++
			return nil
		}})
		if want := []time.Duration{0, 70 * time.Second, 140 * time.Second}; !slices.Equal(at, want) {
			t.Errorf("began after %v, want %v", at, want)
		}
		if quick < 179 || quick > 181 {
			t.Errorf("the other job ran %d times beside it", quick)
		}
		if log != "" {
			t.Errorf("logged %s", log)
		}
	})
}

func TestRunEarly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		cause := time.Second
		log := runFor(t, 30*time.Second, jobs.Job{
			Name: "eager", Every: 10 * time.Second,
			Do: func(context.Context) error {
				at = append(at, time.Since(began))
				if len(at) == 3 {
					return errors.New("no luck") // the retry has a time of its own
				}
				return nil
			},
			Early: func(ctx context.Context) {
				select {
				case <-time.After(cause):
				case <-ctx.Done():
				}
				cause *= 4
			},
		})
		want := []time.Duration{0, 1, 5, 6, 16, 26}
		for i := range want {
			want[i] *= time.Second
		}
		if !slices.Equal(at, want) {
			t.Errorf("began after %v, want %v", at, want)
		}
		if strings.Count(log, "\n") != 2 {
			t.Errorf("logged %s", log)
		}
	})
}

func TestRunRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		log := runFor(t, 30*time.Second, jobs.Job{Name: "flaky", Every: 5 * time.Second, Do: func(context.Context) error {
			at = append(at, time.Since(began))
			switch len(at) {
			case 1, 2, 3, 4, 5, 7:
				return errors.New("no luck")
			default:
				return nil
			}
		}})
		// Doubling from a second up to the interval, and from the beginning after a success.
		want := []time.Duration{0, 1, 3, 7, 12, 17, 22, 23, 28}
		for i := range want {
			want[i] *= time.Second
		}
		if !slices.Equal(at, want) {
			t.Errorf("tried after %v, want %v", at, want)
		}
		if failed, again := strings.Count(log, "job failed"), strings.Count(log, "works again"); failed != 2 || again != 2 {
			t.Errorf("%d lines of failure and %d of recovery in\n%s", failed, again, log)
		}
	})
}

func TestRunWaitsForWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		returned := false
		log := runFor(t, time.Second, jobs.Job{Name: "late", Every: time.Hour, Do: func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(time.Second) // it tidies up
			returned = true
			return ctx.Err()
		}})
		if !returned {
			t.Error("Run returned before its work")
		}
		if log != "" {
			t.Errorf("an end that was asked for was logged: %s", log)
		}
	})
}

func TestRunRefusesHalfAJob(t *testing.T) {
	t.Parallel()
	do := func(context.Context) error { return nil }
	for name, j := range map[string]jobs.Job{
		"no name":     {Every: time.Second, Do: do},
		"no interval": {Name: "n", Do: do},
		"no work":     {Name: "n", Every: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := jobs.Run(t.Context(), hclog.NewNullLogger(), j); err == nil {
				t.Error("was run")
			}
		})
	}
}
