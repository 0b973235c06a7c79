package cluster

import (
	"sync"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// clock is a leader's state time: it goes on from the applied one by the process's monotonic clock,
// and by two ticks at most at once, so that a process that was paused does not end every lease.
type clock struct {
	tick func() time.Duration

	mu   sync.Mutex
	last entry.Time
	at   time.Time // when it was last
}

func newClock(from entry.Time, tick func() time.Duration) *clock {
	return &clock{tick: tick, last: from, at: time.Now()}
}

// now is never less than it was.
func (c *clock) now() entry.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.last = c.last.Add(min(now.Sub(c.at), 2*c.tick()))
	c.at = now
	return c.last
}
