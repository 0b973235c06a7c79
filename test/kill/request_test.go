package kill_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// silence is how long a request may take at most. Load balancers wait so long for an answer to begin.
	silence = 50 * time.Second
	// patience is how long something may go on to fail while it is tried again.
	patience = 30 * time.Second
)

// request is one request, before it is known who answers it.
type request struct {
	what   string // kind, in the figures
	method string
	target string // path and query
	header map[string]string
	body   io.Reader // nil for none
	length int64     // of body; -1 to send it in pieces of unannounced number
	sink   func(io.Reader) error
}

// reply is what came of a request at one node.
type reply struct {
	request
	life   *life
	status int // 0 if no whole answer came
	header http.Header
	text   string // the body of an answer that is no success, or that nobody wanted to have streamed
	cut    error  // why no whole answer came
	began  time.Time
	ended  time.Time
}

// wrongError is an answer whose bytes are not what they must be.
type wrongError struct{ why string }

func (e *wrongError) Error() string { return e.why }

// String is a line about the reply.
func (r *reply) String() string {
	end := fmt.Sprintf("%d %s", r.status, strings.TrimSpace(r.text))
	if r.cut != nil {
		end = "cut: " + r.cut.Error()
	}
	return fmt.Sprintf("%s %s at %s, %s to %s (request %s): %s", r.method, r.target, r.life.node.name,
		r.began.UTC().Format(clock), r.ended.UTC().Format("05.000"), r.header.Get("X-Request-Id"), end)
}

// clock is how times are printed: as in the nodes' logs, to find them there.
const clock = "15:04:05.000"

// isStale reports whether the answer says that it may be old.
func (r *reply) isStale() bool { return r.header.Get("X-Zot-Consistency") == "stale" }

// send sends a request to a living node, whose turn it is. Stopped reports what to do when the node is
// stopped meanwhile: to wait, or to give up like a client that has no time.
//
// It fails only if there is no node to send to, with the context's error.
func (b *bout) send(ctx context.Context, q request, waits bool) (*reply, error) {
	l, err := b.rack.pick(ctx)
	if err != nil {
		return nil, err
	}
	return b.sendTo(ctx, l, q, waits), nil
}

// sendTo is send to one node.
func (b *bout) sendTo(ctx context.Context, l *life, q request, waits bool) *reply {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	answered, watched := make(chan struct{}), make(chan struct{})
	go func() { // waited for below
		defer close(watched)
		select {
		case <-l.over:
			if !l.killed && !waits {
				cancel()
			}
		case <-answered:
		}
	}()
	r := &reply{request: q, life: l, began: time.Now(), header: http.Header{}}
	r.cut = r.exchange(ctx)
	r.ended = time.Now()
	close(answered)
	<-watched
	if r.cut != nil {
		r.status = 0
	}
	b.note(r)
	return r
}

// exchange sends the request and takes the answer.
func (r *reply) exchange(ctx context.Context) error {
	// A body that hides what it is gets no length from net/http, which would send it with none.
	var body io.Reader = http.NoBody
	if r.body != nil {
		body = struct{ io.Reader }{r.body}
	}
	request, err := http.NewRequestWithContext(ctx, r.method, "http://"+r.life.node.address+r.target, body)
	if err != nil {
		return err
	}
	if r.body != nil {
		request.ContentLength = r.length
	}
	for name, text := range r.request.header {
		request.Header.Set(name, text)
	}
	answer, err := r.life.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	r.status, r.header = answer.StatusCode, answer.Header
	if r.sink != nil && (r.status == http.StatusOK || r.status == http.StatusPartialContent) {
		return r.sink(answer.Body)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	r.text = string(text)
	return err
}

// note counts a reply, and fails for what no reply may be.
func (b *bout) note(r *reply) {
	outcome := fmt.Sprint(r.status)
	if r.cut != nil {
		outcome = "cut"
	}
	b.figures.count(r.what, outcome)
	b.figures.took(r.what, r.ended.Sub(r.began))
	if _, wrong := errors.AsType[*wrongError](r.cut); wrong {
		b.fail("wrong bytes: %s", r)
		return
	}
	if r.status >= 500 && r.status != http.StatusServiceUnavailable {
		b.fail("an error that is no 503: %s", r)
	}
	if r.status == http.StatusServiceUnavailable && r.header.Get("Retry-After") == "" {
		b.fail("a 503 without Retry-After: %s", r)
	}
	if r.ended.Sub(r.began) >= silence && !r.life.isOver() {
		b.fail("no answer in %s: %s", silence, r)
	}
}

// isExcused reports whether a fault explains that a request of a push got no whole answer: of the node that
// it was sent to, or of another one that this node needed.
func (b *bout) isExcused(r *reply) bool {
	return r.life.isOver() || b.rack.troubled(r.began, r.ended)
}

// pull repeats a request until an answer comes, as it may not do unless the node was killed or stopped while
// it answered. What the answer says is the caller's to judge. Nil when the run is over.
func (b *bout) pull(ctx context.Context, q request, waits bool) *reply {
	for first := time.Now(); ; {
		r, err := b.send(ctx, q, waits)
		if err != nil {
			return nil
		}
		// What a node says right after a pause may be about a leader that there is no more.
		paused := r.life.isOver() && r.status == http.StatusServiceUnavailable
		switch {
		case r.cut == nil && !paused:
			return r
		case ctx.Err() != nil:
			return nil
		case !r.life.isOver():
			b.fail("a pull failed: %s", r)
			return nil
		case time.Since(first) > patience:
			b.fail("a pull does not succeed in %s: %s", patience, r)
			return nil
		}
		b.figures.count("pulls repeated", "after the node was killed or stopped")
	}
}

// tries is how often something is tried again, and since when.
type tries struct {
	count int
	since time.Time
}

// again waits a little before a request of a push that failed is repeated. False if it must not be: the
// failure has no excuse, or it has been going on for too long.
func (b *bout) again(ctx context.Context, t *tries, r *reply) bool {
	t.count++
	if t.since.IsZero() {
		t.since = r.ended
	}
	pause := 20 * time.Millisecond
	switch {
	case ctx.Err() != nil:
		return false
	case r.status == http.StatusServiceUnavailable:
		pause = time.Duration(min(1+t.count, 10)) * 50 * time.Millisecond
	case r.cut == nil:
		b.fail("a push failed: %s", r)
		return false
	case !b.isExcused(r):
		b.fail("a push was cut off without a fault: %s", r)
		return false
	}
	if time.Since(t.since) > patience {
		b.fail("a push does not succeed in %s: %s", patience, r)
		return false
	}
	b.figures.count("pushes repeated", r.what)
	wait(ctx, pause)
	return true
}
