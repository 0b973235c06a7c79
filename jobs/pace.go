package jobs

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// How many bytes a second a node reads and writes in the background. The lower rate still brings more than two
// terabytes a day.
const (
	quietRate = 128 << 20
	busyRate  = 32 << 20
)

// linger is how long after its last client a node still holds back: most clients come again at once.
const linger = time.Second

// Pace limits what a node reads and writes in the background: all such work on a node shares one. While
// clients are served it is slower, and prefers the moments between their requests: what has begun to be read
// makes the next request wait.
type Pace struct {
	quiet, busy int64 // bytes a second, without and with clients

	mu      sync.Mutex
	serving int           // requests of clients that are being answered
	served  time.Time     // when the last of them ended
	pause   chan struct{} // closed when serving is 0
	paid    time.Time     // until then, what was let through lasts at its rate
}

// NewPace returns a pace of so many bytes a second, fewer while clients are served. It fails if there is a
// rate at which nothing would move, or if it would be the faster with clients.
func NewPace(quiet, busy int64) (*Pace, error) {
	if busy < 1 || quiet < busy {
		return nil, fmt.Errorf("pace of %d bytes a second, %d with clients: both are 1 or more, and the second is not the larger", quiet, busy)
	}
	return newPace(quiet, busy), nil
}

// DefaultPace is for a node with one disk.
func DefaultPace() *Pace { return newPace(quietRate, busyRate) }

func newPace(quiet, busy int64) *Pace {
	p := &Pace{quiet: quiet, busy: busy, pause: make(chan struct{})}
	close(p.pause)
	return p
}

// Wait returns when n more bytes may be moved, or the context's error. Who waits first has the first turn, for
// as long as the bytes last at the rate, and goes when no client is being served, or at the end of the turn.
// What a quiet time left unused is not made up for: it would come in one burst.
//
// It is a blobstore.Pace.
func (p *Pace) Wait(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	wait, lasts := p.turn(n)
	if wait > 0 {
		pause(ctx, wait)
	}
	end := time.NewTimer(lasts)
	defer end.Stop()
	select {
	case <-p.paused():
	case <-end.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// turn gives n bytes a turn: in how long it comes, and how long it lasts.
func (p *Pace) turn(n int) (wait, lasts time.Duration) {
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
	lasts = time.Duration(float64(n) / float64(rate) * float64(time.Second))
	p.paid = from.Add(lasts)
	return from.Sub(now), lasts
}

// paused is closed as soon as no client is being served.
func (p *Pace) paused() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pause
}

// Serve says that a client is being served, until done is called.
func (p *Pace) Serve() (done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.serving++; p.serving == 1 {
		p.pause = make(chan struct{})
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.served = time.Now()
		if p.serving--; p.serving == 0 {
			close(p.pause)
		}
	}
}
