package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress shows how much of something long is done, how fast it goes, and how much time is left. Its methods may be
// called concurrently.
type progress struct {
	show *display
	what string
	text func(n int64) string

	mu    sync.Mutex
	total int64
	done  int64
	began time.Time
	shown time.Time
}

// newProgress begins to show something; text writes an amount of it.
func newProgress(show *display, what string, total int64, text func(n int64) string) *progress {
	return &progress{show: show, what: what, text: text, total: total, began: time.Now()}
}

// add counts n more that are done, or that were not done after all.
func (p *progress) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	if p.total == 0 || time.Since(p.shown) < watchPause {
		return
	}
	p.shown = time.Now()
	p.write()
}

func (p *progress) write() {
	done := max(min(p.done, p.total), 0)
	if !p.show.terminal {
		p.show.stage(stage{text: p.what, applied: uint64(done), goal: uint64(p.total)}) //nolint:gosec // sizes are not negative
		return
	}
	seconds := time.Since(p.began).Seconds()
	text := fmt.Sprintf("%s %s %s of %s", p.what, bar(uint64(done), uint64(p.total)), p.text(done), p.text(p.total)) //nolint:gosec // as above
	if rate := float64(done) / max(seconds, 0.001); rate >= 1 {
		left := time.Duration(float64(p.total-done) / rate * float64(time.Second))
		text += fmt.Sprintf(", %s/s, %s left", p.text(int64(rate)), left.Round(time.Second))
	}
	p.show.stage(stage{text: text})
}

// end shows the last of it.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.total > 0 && p.done > 0 {
		p.write()
		p.show.end()
	}
}

// counting counts what is read of r, and takes it back if that was in vain.
type counting struct {
	from io.Reader
	into *progress
	n    int64
}

// Read returns what comes.
func (c *counting) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += int64(n)
	c.into.add(int64(n))
	return n, err
}

func (c *counting) undo() { c.into.add(-c.n) }

// items writes a count of records.
func items(n int64) string { return fmt.Sprint(n) }
