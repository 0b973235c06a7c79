package jobs

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// How many bytes a second a node reads and writes in the background. The lower rate is a fifth of what one
// rotating disk gives, and hashing at it takes some hundredths of a processor.
const (
	quietRate = 128 << 20
	busyRate  = 32 << 20
)

// linger is how long after its last client a node still holds back: most clients come again at once.
const linger = time.Second

// Pace limits what a node reads and writes in the background: all such work on a node shares one. While
// clients are served it is slower, so that it is they who have the disk.
type Pace struct {
	quiet, busy int64 // bytes a second, without and with clients

	mu      sync.Mutex
	serving int       // requests of clients that are being answered
	served  time.Time // when the last of them ended
	paid    time.Time // until then, what was let through lasts at its rate
}

// NewPace returns a pace of so many bytes a second, fewer while clients are served. It fails if there is a
// rate at which nothing would move, or if it would be the faster with clients.
func NewPace(quiet, busy int64) (*Pace, error) {
	if busy < 1 || quiet < busy {
		return nil, fmt.Errorf("pace of %d bytes a second, %d with clients: both are 1 or more, and the second is not the larger", quiet, busy)
	}
	return &Pace{quiet: quiet, busy: busy}, nil
}

// DefaultPace is for a node with one disk.
func DefaultPace() *Pace { return &Pace{quiet: quietRate, busy: busyRate} }

// Wait returns when n more bytes may be moved, or the context's error. Who waits first goes first. What a
// quiet time left unused is not made up for: it would come in one burst.
//
// It is a blobstore.Pace.
func (p *Pace) Wait(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if wait := p.take(n); wait > 0 {
		pause(ctx, wait)
	}
	return ctx.Err()
}

// take lets n bytes through, and returns in how long.
func (p *Pace) take(n int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, rate := time.Now(), p.quiet
	if p.serving > 0 || now.Sub(p.served) < linger {
		rate = p.busy
	}
	from := p.paid
	if from.Before(now) {
		from = now
	}
	p.paid = from.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	return from.Sub(now)
}

// Serve says that a client is being served, until done is called.
func (p *Pace) Serve() (done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serving++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.serving--
		p.served = time.Now()
	}
}
