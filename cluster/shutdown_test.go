package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/test/sim"
)

// Run returns while proposals are under way that a slow state machine has yet to apply: what Raft holds
// when it shuts down is never answered, and nobody may wait for it.
func TestShutdownUnderLoadEnds(t *testing.T) {
	for _, count := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d nodes", count), func(t *testing.T) {
			var slow atomic.Pointer[string]
			c := sim.Started(t, count, sim.Options{
				Machine: func(name string, m cluster.StateMachine) cluster.StateMachine {
					return slowed{m, &slow, name, 30 * time.Millisecond}
				},
				Config: func(_ string, config *cluster.Config) {
					if count == 1 {
						config.Peer = nil
					}
				},
			})
			leader := c.Leader()
			slow.Store(&leader.Name)
			ctx, cancel := context.WithCancel(t.Context())
			var writing sync.WaitGroup
			for i := range 32 {
				writing.Go(func() {
					for ctx.Err() == nil {
						if err := set(ctx, leader, i); errors.Is(err, cluster.ErrClosed) {
							return
						}
					}
				})
			}
			began := leader.Applied()
			c.Eventually("many are under way", func() bool { return leader.Applied() > began+100 })
			stopsWithin(t, leader, patience)
			cancel()
			writing.Wait()
		})
	}
}
