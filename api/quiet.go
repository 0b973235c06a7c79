package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
)

// maxSigns is how many signs of life one request gives. Clients written in Go, older than version 1.24, give
// up at the sixth status that is not the last, and "100 Continue" is one.
const maxSigns = 4

// quiet knows since when nothing has gone between a client and this node.
type quiet struct {
	silence time.Duration // the longest that is allowed
	signs   int

	mu    sync.Mutex // held while the client is waited for, and while it is given a sign: both may write to it
	since time.Time
}

// hearing notes that the client sends, from now until the function that it returns is called.
func (q *quiet) hearing() (heard func()) {
	q.mu.Lock()
	return func() {
		q.since = time.Now()
		q.mu.Unlock()
	}
}

// left is how long it may stay quiet.
func (q *quiet) left() time.Duration {
	if !q.mu.TryLock() {
		return q.silence // the client is waited for
	}
	defer q.mu.Unlock()
	return q.silence - time.Since(q.since)
}

// alive returns what work does, and tells the client meanwhile that it goes on: a load balancer ends what is
// silent for long, and the verification of a large upload that is resumed after a restart, or a disk that is slow
// on several nodes, may take longer than its patience. Work may read the client's body, and must not touch w.
//
// The sign is "102 Processing" (RFC 2518, 10.1), which a client that does not know it passes over (RFC 9110, 15.2).
// Not all proxies do. So it is given only to HTTP/1.1 and later, and only when the request would fail without it.
func alive[T any](w *answer, r *http.Request, work func(ctx context.Context) (T, error)) (T, error) {
	ctx := r.Context()
	var result T
	done := make(chan error, 1)
	go func() { // waited for below
		var err error
		defer func() {
			if p := recover(); p != nil {
				err = blobstore.Panicked(p)
			}
			done <- err
		}()
		result, err = work(ctx)
	}()
	for {
		t := time.NewTimer(w.quiet.left())
		select {
		case err := <-done:
			t.Stop()
			return result, err
		case <-t.C:
			w.sign(r)
		}
	}
}

// sign tells the client that work goes on, if it can be told and has not sent or been sent something lately.
func (a *answer) sign(r *http.Request) {
	q := &a.quiet
	if !q.mu.TryLock() {
		return // it is the client who is waited for
	}
	defer q.mu.Unlock()
	if time.Since(q.since) < q.silence {
		return
	}
	q.since = time.Now()
	if q.signs < maxSigns && r.ProtoAtLeast(1, 1) {
		q.signs++
		a.WriteHeader(http.StatusProcessing)
	}
}
