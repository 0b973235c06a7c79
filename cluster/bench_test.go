package cluster_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/test/sim"
)

// BenchmarkWriteThroughFollower prints how long a write takes at a follower, which answers when it has
// applied it, against one at the leader, at two settings of how soon Raft itself tells of a commit.
func BenchmarkWriteThroughFollower(b *testing.B) {
	for _, commit := range []time.Duration{5 * time.Millisecond, 50 * time.Millisecond} {
		timing := cluster.DefaultTiming()
		timing.Stable, timing.CommitTimeout = 300*time.Millisecond, commit
		c := sim.Started(b, 3, sim.Options{Timing: timing, Sync: true})
		leader := c.Leader()
		for _, at := range []struct {
			name string
			node *sim.Node
		}{{"leader", leader}, {"follower", c.Others(leader)[0]}} {
			for _, clients := range []int{1, 16} {
				b.Run(fmt.Sprintf("commitTimeout=%s/at=%s/clients=%d", commit, at.name, clients), func(b *testing.B) {
					var mu sync.Mutex
					var took []time.Duration
					var writing sync.WaitGroup
					each := b.N/clients + 1
					for k := range clients {
						writing.Go(func() {
							for i := range each {
								began := time.Now()
								if err := set(b.Context(), at.node, 1+i*clients+k); err != nil {
									b.Error(err)
								}
								mu.Lock()
								took = append(took, time.Since(began))
								mu.Unlock()
							}
						})
					}
					writing.Wait()
					slices.Sort(took)
					b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
					b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
				})
			}
		}
		for _, n := range c.Running() {
			n.Kill()
		}
	}
}
