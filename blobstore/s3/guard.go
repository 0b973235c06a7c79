package s3

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// errStalled is a request that was given up because nothing moved.
var errStalled error = stalled{}

type stalled struct{}

// Error is for people.
func (stalled) Error() string { return "the store has stalled" }

// RetryableError has the library repeat the request.
func (stalled) RetryableError() bool { return true }

// guard ends requests that do not get on: there is no time in which 5 GiB have to be through, but none of it may
// stand still for long. What waits for the reader of an answer is not the store's fault, and not counted.
type guard struct {
	next          http.RoundTripper
	stall, answer time.Duration
}

// patienceKey is under which a request says that its answer may take longer.
type patienceKey struct{}

// patient gives the answers of requests more time.
func patient(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, patienceKey{}, d)
}

// RoundTrip sends a request.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := g.answer
	if d, ok := r.Context().Value(patienceKey{}).(time.Duration); ok {
		answer = d
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	w := &watch{limit: g.stall, cancel: cancel}
	w.wait(answer)
	r = r.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &sent{ReadCloser: r.Body, watch: w, answer: answer}
	}
	resp, err := g.next.RoundTrip(r)
	w.stop()
	if err != nil {
		cancel(nil)
		return nil, w.cause(ctx, err)
	}
	resp.Body = &received{ReadCloser: resp.Body, watch: w, ctx: ctx}
	return resp, nil
}

// watch cancels a request when its time is up.
type watch struct {
	limit  time.Duration
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	timer *time.Timer
	ended bool
}

// wait gives the request so long from now on.
func (w *watch) wait(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	if w.timer != nil {
		w.timer.Stop()
	}
	w.timer = time.AfterFunc(d, func() { w.cancel(errStalled) })
}

// stop ends the watch until the next wait.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

// end ends it for good: the body of a request may be read on for a moment after the answer has come.
func (w *watch) end() {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	w.stop()
	w.cancel(nil)
}

// cause is why a request failed.
func (w *watch) cause(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errStalled) {
		return errStalled
	}
	return err
}

// sent is the body of a request.
type sent struct {
	io.ReadCloser
	watch  *watch
	answer time.Duration
}

// Read hands on what is to be sent next: what came before has been.
func (s *sent) Read(p []byte) (int, error) {
	s.watch.wait(s.watch.limit)
	n, err := s.ReadCloser.Read(p)
	if err != nil {
		s.watch.wait(s.answer)
	}
	return n, err
}

// received is the body of an answer.
type received struct {
	io.ReadCloser
	watch *watch
	ctx   context.Context //nolint:containedctx // the request's own, to ask why it ended
}

// Read waits for the store.
func (r *received) Read(p []byte) (int, error) {
	r.watch.wait(r.watch.limit)
	n, err := r.ReadCloser.Read(p)
	r.watch.stop()
	if err != nil && err != io.EOF { //nolint:errorlint // only the regular end is none
		err = r.watch.cause(r.ctx, err)
	}
	return n, err
}

// Close gives the connection back.
func (r *received) Close() error {
	err := r.ReadCloser.Close()
	r.watch.end()
	return err
}

// jitter takes up to half of d off.
func jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Int64N(int64(d)/2+1)) //nolint:gosec // spreads load; nothing depends on it
}
