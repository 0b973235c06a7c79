package jobs_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-16d79997/zot/jobs"
)

// paced is a pace of 1000 bytes a second, 100 with clients.
func paced(t *testing.T) *jobs.Pace {
	t.Helper()
	p, err := jobs.NewPace(1000, 100)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// took is how long it takes to move so many times 100 bytes, the last of which nobody waits for any more.
func took(t *testing.T, p *jobs.Pace, times int) time.Duration {
	t.Helper()
	began := time.Now()
	for range times + 1 {
		if err := p.Wait(t.Context(), 100); err != nil {
			t.Error(err)
		}
	}
	return time.Since(began)
}

func TestPace(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before func(t *testing.T, p *jobs.Pace)
		want   time.Duration // for 1000 bytes
	}{
		"quiet":   {func(*testing.T, *jobs.Pace) {}, time.Second},
		"clients": {func(_ *testing.T, p *jobs.Pace) { p.Serve() }, 11 * time.Second}, // each at the end of its turn
		"two clients, of whom one has gone": {func(_ *testing.T, p *jobs.Pace) {
			p.Serve()
			p.Serve()()
			time.Sleep(time.Hour)
		}, 11 * time.Second},
		"a client who has just gone": {func(_ *testing.T, p *jobs.Pace) {
			p.Serve()()
			time.Sleep(999 * time.Millisecond)
		}, 2800 * time.Millisecond}, // two that came within the second: what was let through is not taken back
		"a client who has gone long ago": {func(_ *testing.T, p *jobs.Pace) {
			p.Serve()()
			time.Sleep(time.Second)
		}, time.Second},
		"after a quiet time": {func(t *testing.T, p *jobs.Pace) {
			took(t, p, 10)
			time.Sleep(time.Hour)
		}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := paced(t)
				time.Sleep(time.Hour)
				test.before(t, p)
				if got := took(t, p, 10); got != test.want {
					t.Errorf("took %s, want %s", got, test.want)
				}
			})
		})
	}
}

// What is moved for no client goes between two requests, if there is such a moment in its turn.
func TestPaceGoesBetweenRequests(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ ends, want time.Duration }{
		"nobody":      {0, 0},
		"a short one": {300 * time.Millisecond, 300 * time.Millisecond},
		"a long one":  {time.Minute, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p, began := paced(t), time.Now()
				first, second := p.Serve(), p.Serve()
				time.AfterFunc(test.ends/2, first)
				time.AfterFunc(test.ends, second)
				if test.ends == 0 {
					synctest.Wait()
				}
				if err := p.Wait(t.Context(), 100); err != nil || time.Since(began) != test.want {
					t.Errorf("went after %s, want %s, %v", time.Since(began), test.want, err)
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

// All that is done in the background has one rate together.
func TestPaceIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, began := paced(t), time.Now()
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() { took(t, p, 1) })
		}
		all.Wait()
		if got := time.Since(began); got != 900*time.Millisecond {
			t.Errorf("ten times 100 bytes: the last waited %s", got)
		}
	})
}

func TestPaceEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := paced(t)
		ctx, cancel := context.WithCancel(t.Context())
		if err := p.Wait(ctx, 1_000_000); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		for range 2 { // while it waits, and before
			if err := p.Wait(ctx, 1); !errors.Is(err, context.Canceled) || time.Since(began) != time.Second {
				t.Errorf("%v after %s", err, time.Since(began))
			}
		}
	})
}

func TestNewPaceWantsToMove(t *testing.T) {
	t.Parallel()
	for _, rates := range [][2]int64{{0, 0}, {1, 0}, {10, 20}, {-1, -2}} {
		if _, err := jobs.NewPace(rates[0], rates[1]); err == nil {
			t.Errorf("pace of %v", rates)
		}
	}
}
