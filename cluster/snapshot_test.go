package cluster_test

import (
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/test/sim"
)

// hush silences one node in the middle of each snapshot that it sends, the first that sends one, and tells what is staged.
type hush struct {
	armed   atomic.Bool
	who     atomic.Pointer[string] // who is silent; nil if nobody is yet
	began   chan struct{}          // a snapshot is on its way
	release chan struct{}          // closed by free
	free    func()                 // has the silent one go on
	staging chan string            // names of nodes that take a snapshot in
}

func newHush() *hush {
	h := &hush{began: make(chan struct{}, 1), release: make(chan struct{}), staging: make(chan string, 1000)}
	h.free = sync.OnceFunc(func() { close(h.release) })
	return h
}

// hushed is a state machine that hush holds up.
type hushed struct {
	cluster.StateMachine
	name string
	hush *hush
}

// Stage tells that it begins.
func (h hushed) Stage(r io.Reader) error {
	select {
	case h.hush.staging <- h.name:
	default:
	}
	return h.StateMachine.Stage(r)
}

// OpenSnapshot opens a stream that falls silent if the node is to.
func (h hushed) OpenSnapshot() (entry.Position, int64, cluster.Stream, error) {
	p, size, s, err := h.StateMachine.OpenSnapshot()
	if err == nil && h.hush.armed.Load() {
		s = silent{s, h}
	}
	return p, size, s, err
}

type silent struct {
	cluster.Stream
	from hushed
}

// WriteTo sends its first bytes, so that they are on their way, and the others when it may.
func (s silent) WriteTo(w io.Writer) (int64, error) {
	return s.Stream.WriteTo(&quiet{w: w, from: s.from})
}

// quiet writes once, and then, on the silent node, when it may.
type quiet struct {
	w    io.Writer
	from hushed
	once bool // something was written
}

// Write fails like what it writes to: a connection that never was makes nobody silent.
func (q *quiet) Write(b []byte) (int, error) {
	if q.once && *q.from.hush.who.Load() == q.from.name {
		<-q.from.hush.release
	}
	n, err := q.w.Write(b)
	if err == nil && !q.once {
		q.once = true
		q.from.hush.who.CompareAndSwap(nil, &q.from.name)
		select {
		case q.from.hush.began <- struct{}{}:
		default:
		}
	}
	return n, err
}

// A leader falls silent in the middle of a snapshot, and another one sends one: it is installed, and
// neither the old sender's return nor a shutdown stumbles over what was given up.
func TestSilentSenderOfASnapshot(t *testing.T) {
	for name, after := range map[string]func(c *sim.Cluster, h *hush, f *sim.Node){
		"then the node stops": func(_ *sim.Cluster, h *hush, f *sim.Node) {
			stopsWithin(t, f, patience)
			h.free()
		},
		"then the sender returns": func(c *sim.Cluster, h *hush, f *sim.Node) {
			h.armed.Store(false)
			h.free()
			c.Network.Heal()
			if err := set(t.Context(), c.Leader(), 77); err != nil {
				t.Fatal(err)
			}
			c.Eventually("all have it", func() bool {
				for _, n := range c.Running() {
					if get(t, n) != 77 {
						return false
					}
				}
				return len(c.Running()) == 3
			})
			stopsWithin(t, f, patience)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHush()
			c, follower := overtaken(t, h)
			after(c, h, follower)
		})
	}
}

// overtaken is a cluster whose old leader is cut off and silent in the middle of a snapshot to the
// follower that it returns; which has another one's.
func overtaken(t *testing.T, h *hush) (c *sim.Cluster, follower *sim.Node) {
	t.Helper()
	timing := sim.FastTiming()
	timing.TrailingLogs, timing.SnapshotThreshold, timing.SnapshotInterval = 0, 1, 50*time.Millisecond
	c = sim.Started(t, 3, sim.Options{Timing: timing, Machine: func(name string, m cluster.StateMachine) cluster.StateMachine {
		return hushed{m, name, h}
	}})
	t.Cleanup(h.free) // who is silent does not stop
	leader := c.Leader()
	follower = c.Others(leader)[0]
	c.Network.Down(follower.Name, true) // held back it would get later what was sent, and perhaps need no snapshot
	for i := range 50 {
		if err := set(t.Context(), leader, i+1); err != nil {
			t.Fatal(err)
		}
	}
	behind := follower.LastIndex()
	cut(c, c.Others(follower)...)
	for len(h.staging) > 0 {
		<-h.staging
	}
	h.armed.Store(true)
	c.Network.Down(follower.Name, false)
	bound := soon(t, time.Minute) // the longer a node was gone, the longer Raft waits before it tries again: ten seconds, several times
	select {
	case <-h.began:
	case <-bound.Done():
		t.Fatal("no snapshot was sent")
	}
	for name := ""; name != follower.Name; {
		select {
		case name = <-h.staging:
		case <-bound.Done():
			t.Fatal("no snapshot came")
		}
	}
	silent := c.Node(*h.who.Load()) // the leader, unless leadership has moved meanwhile
	isolate(c, silent, true)
	c.Eventually("the second leads", func() bool {
		return slices.ContainsFunc(c.Others(silent), func(n *sim.Node) bool { return n.Leads() })
	})
	c.Eventually("its snapshot is installed", func() bool { return follower.Applied() > behind })
	return c, follower
}

// stopsWithin stops a node and fails the test if that takes longer.
func stopsWithin(t testing.TB, n *sim.Node, d time.Duration) {
	t.Helper()
	stopped := make(chan struct{})
	go func() { n.Stop(); close(stopped) }() // ends with the test's process at the latest
	select {
	case <-stopped:
	case <-soon(t, d).Done():
		t.Errorf("%s does not stop within %s", n.Name, d)
	}
}
