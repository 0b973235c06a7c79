package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/jobs"
)

// diary is what jobs have done.
type diary struct {
	mu   sync.Mutex
	said []string
}

func (d *diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.said = append(d.said, fmt.Sprintf(format, args...))
}

// take returns what was noted since the last time.
func (d *diary) take() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	said := fmt.Sprint(d.said)
	d.said = nil
	return said
}

// A shift begins anew when its part of the configuration changes, after what it has done has ended; no other does.
func TestPlan(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d diary
		slow := shift{scrubToGoBy, func(c config.Config) ([]jobs.Job, error) {
			every := c.Extensions.Scrub.Interval
			if every == 0 {
				return nil, nil
			}
			return []jobs.Job{{Name: "slow", Every: every, Do: func(ctx context.Context) error {
				d.note("slow %s", every)
				<-ctx.Done()
				time.Sleep(time.Second) // it ends what it has begun
				d.note("slow %s ended", every)
				return ctx.Err()
			}}}, nil
		}}
		steady := forever(jobs.Job{Name: "steady", Every: time.Hour, Do: func(context.Context) error {
			d.note("steady")
			return nil
		}})
		of := func(every time.Duration, level string) config.Config {
			return config.Config{Log: config.Log{Level: level}, Extensions: config.Extensions{Scrub: config.Scrub{Interval: every}}}
		}
		p := newPlan(of(time.Minute, "info"))
		prepare := p.prepare([]shift{slow, steady})
		wants := func(when string, after time.Duration, either ...string) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if said := d.take(); !slices.Contains(either, said) {
				t.Errorf("%s: %s, want %q", when, said, either)
			}
		}
		becomes := func(c config.Config) {
			t.Helper()
			d, err := prepare(c)
			if err != nil {
				t.Fatal(err)
			}
			d.take()
		}
		var board jobs.Board
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := p.run(ctx, &board, hclog.NewNullLogger(), slow, steady); err != nil {
				t.Error(err)
			}
		})
		wants("at the start", 0, "[slow 1m0s steady]", "[steady slow 1m0s]")
		becomes(of(time.Minute, "warn"))
		wants("something else has changed", time.Second, "[]")
		becomes(of(time.Hour, "warn"))
		becomes(of(2*time.Hour, "warn")) // before the first has ended
		wants("it ends", 0, "[]")
		wants("it begins anew", time.Second, "[slow 1m0s ended slow 2h0m0s]")
		becomes(of(0, "warn"))
		wants("it is off", time.Second, "[slow 2h0m0s ended]")
		if all := board.Jobs(); len(all) != 1 || all[0].Name != "steady" {
			t.Errorf("on the board is %+v", all)
		}
		becomes(of(time.Minute, "warn"))
		wants("it is on again", 0, "[slow 1m0s]")
		cancel()
		running.Wait()
		wants("the end", 0, "[slow 1m0s ended]")
	})
}

// A configuration whose jobs cannot be made is refused; if it is there all the same nothing runs that is half of a plan.
func TestPlanThatCannotBe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		none := errors.New("no luck")
		bad := shift{scrubToGoBy, func(c config.Config) ([]jobs.Job, error) {
			if c.Extensions.Scrub.Interval == 0 {
				return nil, none
			}
			return nil, nil
		}}
		fine := config.Config{Extensions: config.Extensions{Scrub: config.Scrub{Interval: time.Hour}}}
		p := newPlan(fine)
		if _, err := p.prepare([]shift{bad})(config.Config{}); !errors.Is(err, none) {
			t.Errorf("got %v", err)
		}
		ended := make(chan error, 1)
		go func() { // waited for below
			ended <- p.run(t.Context(), &jobs.Board{}, hclog.NewNullLogger(), bad, forever())
		}()
		synctest.Wait()
		p.change(config.Config{})
		if err := <-ended; !errors.Is(err, none) {
			t.Errorf("got %v", err)
		}
	})
}
