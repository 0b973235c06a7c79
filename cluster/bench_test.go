package cluster_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/sim"
)

// production is how the benchmarks run: as configured by default, with fsync, except that a new node
// votes at once.
func production() sim.Options {
	timing := cluster.DefaultTiming()
	timing.Stable = 300 * time.Millisecond
	return sim.Options{Timing: timing, Sync: true}
}

// idle takes the work out of a state machine: commands are answered and change nothing but the
// position. What is left is the log.
type idle struct {
	cluster.StateMachine
	mu       sync.Mutex
	position entry.Position
	on       bool
}

// Apply applies all that is not the register's, so that the cluster forms as usual.
func (m *idle) Apply(entries []entry.Entry) []entry.Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.on {
		return m.StateMachine.Apply(entries)
	}
	last := entries[len(entries)-1]
	m.position.Index, m.position.Term = last.Index, last.Term
	results := make([]entry.Result, len(entries))
	for i := range results {
		results[i] = entry.Result{Outcome: entry.Applied, Bytes: []byte{0xa0}}
	}
	return results
}

// Position is its own once it is idle.
func (m *idle) Position() entry.Position {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.on {
		return m.StateMachine.Position()
	}
	return m.position
}

func (m *idle) start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.position, m.on = m.StateMachine.Position(), true
}

// many runs do b.N times in all, from several clients at once, and reports how long each took.
func many(b *testing.B, clients int, do func(client, i int) error) {
	b.Helper()
	var mu sync.Mutex
	took := make([]time.Duration, 0, b.N)
	var working sync.WaitGroup
	b.ResetTimer()
	began := time.Now()
	for k := range clients {
		working.Go(func() {
			own := make([]time.Duration, 0, b.N/clients+1)
			for i := k; i < b.N; i += clients {
				at := time.Now()
				if err := do(k, i); err != nil {
					b.Error(err)
					return
				}
				own = append(own, time.Since(at))
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, own...)
		})
	}
	working.Wait()
	elapsed := time.Since(began)
	b.StopTimer()
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	b.ReportMetric(float64(len(took))/elapsed.Seconds(), "ops/s")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkPropose compares, in one run, proposals that change the state with such that only go through
// the log, on one node and on three, with fsync.
func BenchmarkPropose(b *testing.B) {
	for _, nodes := range []int{1, 3} {
		for _, noop := range []bool{true, false} {
			var machines []*idle
			o := production()
			if noop {
				o.Machine = func(_ string, m cluster.StateMachine) cluster.StateMachine {
					machines = append(machines, &idle{StateMachine: m})
					return machines[len(machines)-1]
				}
			}
			c := sim.Started(b, nodes, o)
			leader := c.Leader()
			for _, m := range machines {
				m.start()
			}
			for _, clients := range []int{1, 16, 256} {
				b.Run(fmt.Sprintf("nodes=%d/noop=%t/clients=%d", nodes, noop, clients), func(b *testing.B) {
					many(b, clients, func(_, i int) error { return set(b.Context(), leader, i+1) })
				})
			}
			for _, n := range c.Running() {
				n.Kill()
			}
		}
	}
}

// BenchmarkRead measures linearizable reads at the leader and at a follower, idle and under 16 writers.
func BenchmarkRead(b *testing.B) {
	c := sim.Started(b, 3, production())
	leader := c.Leader()
	if err := set(b.Context(), leader, 1); err != nil {
		b.Fatal(err)
	}
	for _, writers := range []int{0, 16} {
		for _, at := range []struct {
			name string
			node *sim.Node
		}{{"leader", leader}, {"follower", c.Others(leader)[0]}} {
			for _, clients := range []int{1, 16, 256} {
				b.Run(fmt.Sprintf("writers=%d/at=%s/clients=%d", writers, at.name, clients), func(b *testing.B) {
					ctx, stop := context.WithCancel(b.Context())
					var writing sync.WaitGroup
					for k := range writers {
						writing.Go(func() {
							for i := 0; ctx.Err() == nil; i++ {
								_ = set(ctx, leader, 1+i*writers+k) // load
							}
						})
					}
					many(b, clients, func(int, int) error {
						if err := at.node.ReadIndex(b.Context()); err != nil {
							return err
						}
						return at.node.State.View(func(v fsm.View) error {
							v.Store("register")
							return nil
						})
					})
					stop()
					writing.Wait()
				})
			}
		}
	}
}

// BenchmarkWriteThroughFollower shows what pushing each commit is for: how long a write takes at a
// follower, which answers when it has applied it, against one at the leader.
func BenchmarkWriteThroughFollower(b *testing.B) {
	c := sim.Started(b, 3, production())
	leader := c.Leader()
	for _, at := range []struct {
		name string
		node *sim.Node
	}{{"leader", leader}, {"follower", c.Others(leader)[0]}} {
		for _, clients := range []int{1, 16} {
			b.Run(fmt.Sprintf("at=%s/clients=%d", at.name, clients), func(b *testing.B) {
				many(b, clients, func(_, i int) error { return set(b.Context(), at.node, i+1) })
			})
		}
	}
}
