package cluster_test

import (
	"testing"
	"time"

	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/sim"
)

// GC T2, no-tick: nobody writes for longer than the window, and state time goes on all the same. Else a node would stamp new
// copies with a time that is too old by the time they are recorded, and no lease would end.
func TestTimeGoesOnWhileNobodyWrites(t *testing.T) {
	c := sim.Started(t, 3, sim.Options{})
	if _, err := fsm.Do(t.Context(), c.Leader(), fsm.SetStore{Name: "default", GCDelay: 5 * time.Second, Replicas: 1, WriteAcks: 1}); err != nil {
		t.Fatal(err)
	}
	window := 5 * time.Second / 4
	for range 2 { // the next leader sees to it too
		begin := c.Leader().State.Position().Time
		c.Eventually("a window has passed", func() bool {
			for _, n := range c.Running() {
				if n.State.Position().Time.Sub(begin) <= window {
					return false
				}
			}
			return true
		})
		c.Leader().Kill()
	}
}
