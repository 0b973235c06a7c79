package auth_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-16d79997/zot/auth"
)

// Of many who guess at once, one account or as many, few are judged of one account, and no more than so many of all; the rest
// is told so at once, and when all are gone nothing is held.
func TestCrowdOfGuesses(t *testing.T) {
	for what, test := range map[string]struct {
		name, from func(n int) string
		asked      int32
	}{
		"one account":                     {func(int) string { return "alice" }, func(int) string { return "192.0.2.1" }, 5},
		"one account, of many addresses":  {func(int) string { return "alice" }, func(n int) string { return fmt.Sprintf("198.51.%d.%d", n/250, n%250) }, 20},
		"many accounts":                   {func(n int) string { return fmt.Sprint("user", n) }, func(int) string { return "192.0.2.1" }, 1000},
		"many accounts of many addresses": {func(n int) string { return fmt.Sprint("user", n) }, func(n int) string { return fmt.Sprintf("198.51.%d.%d", n/250, n%250) }, 1000},
	} {
		t.Run(what, func(t *testing.T) {
			in(t, func(g guard) {
				g.method.holds = make(chan struct{})
				var all sync.WaitGroup
				var wrong, tooMany, busy atomic.Int32
				for n := range 1500 {
					all.Go(func() {
						switch err := g.try(test.name(n), fmt.Sprint("guess", n), test.from(n)); {
						case errors.Is(err, auth.ErrCredentials):
							wrong.Add(1)
						case errors.Is(err, auth.ErrTooMany):
							tooMany.Add(1)
						case err != nil:
							busy.Add(1)
						}
					})
				}
				synctest.Wait()
				if asked := g.method.asked.Load(); asked != test.asked {
					t.Errorf("%d were asked about at once", asked)
				}
				close(g.method.holds)
				all.Wait()
				if wrong.Load() != test.asked || (busy.Load() == 500) != (test.asked == 1000) || wrong.Load()+tooMany.Load()+busy.Load() != 1500 {
					t.Errorf("%d were wrong, %d too many, for %d there was no room", wrong.Load(), tooMany.Load(), busy.Load())
				}
				time.Sleep(time.Hour)
				g.times(1, "alice", "alice", "192.0.2.1", nil) // in a bubble nothing may be left that runs
			})
		})
	}
}

// Those who are held back are no more than so many, and each is told no at last.
func TestCrowdIsHeldBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := auth.New(auth.Config{Methods: []auth.Method{&method{}}, FailDelay: time.Minute})
		var all sync.WaitGroup
		var over atomic.Int32
		delay := func() {
			r := asking(t, "alice", "guess")
			all.Go(func() {
				g.Delay(r)
				over.Add(1)
			})
		}
		for range 3000 {
			delay()
		}
		synctest.Wait()
		if n := over.Load(); n != 2000 {
			t.Errorf("%d of 3000 are held back", 3000-n)
		}
		time.Sleep(time.Minute)
		all.Wait()
		delay()
		synctest.Wait()
		if n := over.Load(); n != 3000 {
			t.Error("afterwards nobody is held back")
		}
		all.Wait()
		without := asking(t, "", "")
		without.Header = http.Header{}
		before := time.Now()
		g.Delay(without)
		if time.Since(before) != 0 {
			t.Error("who gave no credentials is held back")
		}
	})
}

// Who gave credentials is held back once, wherever they were.
func TestDelayIsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := auth.New(auth.Config{Methods: []auth.Method{&method{}}, FailDelay: time.Minute})
		for what, r := range map[string]*http.Request{"in a header": asking(t, "alice", "guess"), "in a form": nobody(t)} {
			before := time.Now()
			g.DelayLogin(r)
			g.Delay(r)
			if took := time.Since(before); took != time.Minute {
				t.Errorf("%s: %s", what, took)
			}
		}
	})
}
