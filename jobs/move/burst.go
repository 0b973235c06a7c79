package move

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"
)

// burst is what one run did.
type burst struct {
	*mover
	began time.Time

	mu     sync.Mutex
	links  int
	bytes  int64
	stay   int   // links that are not moved yet, those too that were set aside before
	reason error // of one of them
}

// move moves one link, unless it was set aside.
func (b *burst) move(ctx context.Context, l link) {
	if why := b.aside.of(l); why != nil {
		b.stays(why)
		return
	}
	bytes, err := b.mover.move(ctx, l)
	switch {
	case ctx.Err() != nil: // nobody's fault, and nobody's to hear of
	case err != nil:
		err = fmt.Errorf("%s of %s: %w", l.digest, l.repository, err)
		b.aside.put(l, err)
		b.stays(err)
	default:
		b.aside.drop(l)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.links++
		b.bytes += bytes
	}
}

func (b *burst) stays(why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stay++; b.reason == nil {
		b.reason = why
	}
}

// failed is nil if nothing stays. One reason is given: what is wrong with many is mostly the same.
func (b *burst) failed() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.stay {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("a blob could not be moved and is tried again later: %w", b.reason)
	}
	return fmt.Errorf("%d blobs could not be moved and are tried again later, one of them because: %w", b.stay, b.reason)
}

// log says what the run has moved, if it was anything.
func (b *burst) log() {
	if b.links > 0 {
		b.Logger.Info("blobs moved to other stores", "links", b.links, "bytes", b.bytes, "failures", b.stay,
			"duration_seconds", time.Since(b.began).Seconds())
	}
}

const (
	minWait = 30 * time.Second // for which something is set aside that failed once
	maxWait = 30 * time.Minute
	// maxAside is how much is set aside. What finds no room is tried again in the next run.
	maxAside = 10_000
)

// aside holds what failed, each the longer the more often it did: a blob past help, with gigabytes that have to be read
// to find that out, must not keep the disks busy.
type aside struct {
	mu    sync.Mutex
	waits map[link]wait
}

type wait struct {
	lasts time.Duration
	until time.Time
	why   error
}

// next begins a run. What nobody has tried again for long is forgotten: it may be no more.
func (a *aside) next() {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.waits, func(_ link, w wait) bool { return time.Since(w.until) > maxWait })
}

// of is why a link is set aside now; nil if it is not.
func (a *aside) of(l link) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w, known := a.waits[l]; known && time.Now().Before(w.until) {
		return w.why
	}
	return nil
}

// put sets a link aside from now on.
func (a *aside) put(l link, why error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waits == nil {
		a.waits = map[link]wait{}
	}
	w, known := a.waits[l]
	if !known && len(a.waits) >= maxAside {
		return
	}
	w.lasts = min(max(minWait, 2*w.lasts), maxWait)
	w.until, w.why = time.Now().Add(w.lasts), why
	a.waits[l] = w
}

// drop forgets that a link failed.
func (a *aside) drop(l link) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waits, l)
}
