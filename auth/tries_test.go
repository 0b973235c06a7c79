package auth_test

import (
	"context"
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

// method knows names that are their own passwords; a password "?" nobody can judge.
type method struct {
	asked atomic.Int32
	holds chan struct{} // closed: who is asked answers
}

var errAway = errors.New("away")

func (m *method) Verify(_ context.Context, name, password string) ([]string, error) {
	m.asked.Add(1)
	if m.holds != nil {
		<-m.holds
	}
	switch password {
	case name:
		return []string{"all"}, nil
	case "?":
		return nil, errAway
	}
	return nil, auth.ErrWrong
}

type guard struct {
	t *testing.T
	*auth.Gate

	method *method
}

func guarded(t *testing.T) guard {
	t.Helper()
	m := &method{}
	return guard{t, auth.New(auth.Config{Methods: []auth.Method{m}}), m}
}

func (g guard) try(name, password, from string) error {
	r, err := http.NewRequestWithContext(g.t.Context(), http.MethodGet, "/", http.NoBody)
	if err != nil {
		g.t.Fatal(err)
	}
	r.RemoteAddr = from + ":1"
	r.SetBasicAuth(name, password)
	_, err = g.Identify(r)
	return err
}

// times wants the same outcome of several tries.
func (g guard) times(count int, name, password, from string, want error) {
	g.t.Helper()
	for n := range count {
		if err := g.try(name, password, from); !errors.Is(err, want) {
			g.t.Fatalf("%s with %q from %s, try %d: %v, want %v", name, password, from, n+1, err, want)
		}
	}
}

func (g guard) waits(name, from string, want time.Duration) {
	g.t.Helper()
	err := g.try(name, name, from) // the right one: it does not matter
	if tooMany, ok := errors.AsType[*auth.TooMany](err); !ok || tooMany.Wait != want {
		g.t.Fatalf("%s from %s: %v, want to wait %s", name, from, err, want)
	}
}

// in runs a test in time that passes when all wait for it.
func in(t *testing.T, test func(g guard)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { test(guarded(t)) })
}

func TestWaitsGrow(t *testing.T) {
	in(t, func(g guard) {
		g.times(5, "alice", "x", "192.0.2.1", auth.ErrCredentials)
		for _, seconds := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			asked := g.method.asked.Load()
			g.waits("alice", "192.0.2.1", seconds*time.Second)
			g.waits("ALICE ", "192.0.2.1", seconds*time.Second)
			if g.method.asked.Load() != asked {
				t.Error("one who has to wait was asked about")
			}
			time.Sleep(seconds * time.Second)
			g.times(1, "alice", "x", "192.0.2.1", auth.ErrCredentials)
		}
		g.times(1, "bob", "bob", "192.0.2.1", nil)
		g.times(1, "alice", "alice", "192.0.2.2", nil)
		time.Sleep(time.Minute)
		g.times(1, "alice", "alice", "192.0.2.1", nil)
		g.times(5, "alice", "x", "192.0.2.1", auth.ErrCredentials) // all is forgotten
		g.waits("alice", "192.0.2.1", time.Second)
	})
}

// Whoever guesses from many addresses does not lock out the owner, who has been right before.
func TestManyAddresses(t *testing.T) {
	in(t, func(g guard) {
		g.times(1, "alice", "alice", "192.0.2.1", nil)
		for n := range 20 {
			g.times(1, "alice", "x", fmt.Sprintf("198.51.100.%d", n), auth.ErrCredentials)
		}
		g.waits("alice", "198.51.100.99", time.Second)
		g.times(3, "alice", "alice", "192.0.2.1", nil)
		g.times(1, "bob", "x", "198.51.100.99", auth.ErrCredentials)
		time.Sleep(time.Second)
		g.times(1, "alice", "alice", "198.51.100.99", nil) // also a new address of the owner's has its turn
		time.Sleep(20 * time.Minute)
		for n := range 19 {
			g.times(1, "alice", "x", fmt.Sprintf("203.0.113.%d", n), auth.ErrCredentials)
		}
	})
}

// Whoever tries one password of many accounts is slowed down, and those who were right from there are not.
func TestManyAccounts(t *testing.T) {
	in(t, func(g guard) {
		g.times(1, "alice", "alice", "192.0.2.1", nil)
		for n := range 50 {
			g.times(1, fmt.Sprint("name", n), "x", "192.0.2.1", auth.ErrCredentials)
		}
		g.waits("bob", "192.0.2.1", time.Second)
		g.times(1, "alice", "alice", "192.0.2.1", nil)
		g.times(1, "bob", "bob", "192.0.2.2", nil)
	})
}

func TestOneNetwork(t *testing.T) {
	in(t, func(g guard) {
		g.times(5, "alice", "x", "[2001:db8::1]", auth.ErrCredentials)
		g.waits("alice", "[2001:db8::ffff:2]", time.Second)
		g.times(1, "alice", "alice", "[2001:db8:0:1::1]", nil)
	})
}

// What nobody can judge slows down, but who is right afterwards has not long to wait.
func TestUndecided(t *testing.T) {
	in(t, func(g guard) {
		g.times(5, "alice", "?", "192.0.2.1", errAway)
		for range 10 {
			g.waits("alice", "192.0.2.1", time.Second)
			time.Sleep(time.Second)
			g.times(1, "alice", "?", "192.0.2.1", errAway)
		}
		g.times(1, "alice", "alice", "192.0.2.2", nil)
		time.Sleep(time.Second)
		g.times(1, "alice", "alice", "192.0.2.1", nil)
	})
}

// Many guesses at once are no way around; the same password many times at once is one.
func TestAtOnce(t *testing.T) {
	in(t, func(g guard) {
		g.method.holds = make(chan struct{})
		var all sync.WaitGroup
		var tooMany, right atomic.Int32
		for n := range 100 {
			all.Go(func() {
				if errors.Is(g.try("alice", fmt.Sprint(n), "192.0.2.1"), auth.ErrTooMany) {
					tooMany.Add(1)
				}
			})
			all.Go(func() {
				if g.try("bob", "bob", "192.0.2.1") == nil {
					right.Add(1)
				}
			})
		}
		synctest.Wait()
		close(g.method.holds)
		all.Wait()
		if tooMany.Load() != 95 || right.Load() != 100 || g.method.asked.Load() != 6 {
			t.Errorf("%d were not asked about, %d were right, %d verified", tooMany.Load(), right.Load(), g.method.asked.Load())
		}
	})
}

// What is remembered is no way to find out a password for who has to wait.
func TestWaitsForWhatIsRemembered(t *testing.T) {
	in(t, func(g guard) {
		g.Gate = auth.New(auth.Config{Methods: []auth.Method{g.method, recalling("alice")}})
		g.times(1, "alice", "alice", "192.0.2.1", nil)
		g.times(5, "alice", "x", "192.0.2.2", auth.ErrCredentials)
		g.waits("alice", "192.0.2.2", time.Second)
		for n := range 15 {
			g.times(1, "alice", "x", fmt.Sprintf("198.51.100.%d", n), auth.ErrCredentials)
		}
		g.times(1, "alice", "alice", "192.0.2.1", nil) // who was right before
		if n := g.method.asked.Load(); n != 20 {
			t.Errorf("%d were verified", n)
		}
	})
}

// recalling remembers one name that is its own password.
type recalling string

func (r recalling) Verify(context.Context, string, string) ([]string, error) {
	return nil, auth.ErrUnknown
}

func (r recalling) Recall(name, password string) ([]string, bool) {
	return nil, name == string(r) && password == name
}

// A flood of names does not free the one that floods: it is stopped before it pushes its own record out.
func TestFlood(t *testing.T) {
	in(t, func(g guard) {
		g.times(5, "alice", "x", "192.0.2.1", auth.ErrCredentials)
		for n := range 100_000 {
			_ = g.try(fmt.Sprint("name", n), "x", "192.0.2.1")
		}
		g.waits("alice", "192.0.2.1", time.Second)
	})
}

// BenchmarkIdentify is a login that is remembered.
func BenchmarkIdentify(b *testing.B) {
	g := auth.New(auth.Config{Methods: []auth.Method{remembering{}}})
	r := &http.Request{RemoteAddr: "192.0.2.1:1", Header: http.Header{}}
	r.SetBasicAuth("alice", "secret")
	r = r.WithContext(b.Context())
	for b.Loop() {
		if _, err := g.Identify(r); err != nil {
			b.Fatal(err)
		}
	}
}

type remembering struct{}

func (remembering) Verify(context.Context, string, string) ([]string, error) { return nil, errAway }
func (remembering) Recall(string, string) ([]string, bool)                   { return nil, true }
