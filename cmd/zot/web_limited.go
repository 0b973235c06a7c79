package main

import (
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// limited bounds how long a whole request may take to be read and to be answered. The handler's own deadlines, which are
// for one piece of a body or an answer each, hold besides: whichever comes first. It adds nothing where nothing is bounded.
func limited(h http.Handler, c config.HTTP) http.Handler {
	if c.ReadTimeout <= 0 && c.WriteTimeout <= 0 {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l := &limitedAnswer{ResponseWriter: w, control: http.NewResponseController(w)}
		if c.WriteTimeout > 0 {
			l.written = time.Now().Add(c.WriteTimeout)
		}
		_ = l.SetWriteDeadline(time.Time{}) // no handler need set one
		if c.ReadTimeout > 0 && r.Body != http.NoBody {
			l.read = time.Now().Add(c.ReadTimeout)
			r.Body = limitedBody{r.Body, l}
		}
		h.ServeHTTP(l, r)
	})
}

// limitedAnswer keeps deadlines of a connection, or of a stream of one, before those of the request.
type limitedAnswer struct {
	http.ResponseWriter
	control       *http.ResponseController
	read, written time.Time // by then the whole is; zero: at any time

	mu      sync.Mutex
	reading bool      // the body
	piece   time.Time // deadline of the handler for reading
}

// Unwrap is for http.ResponseController.
func (l *limitedAnswer) Unwrap() http.ResponseWriter { return l.ResponseWriter }

// SetWriteDeadline is for http.ResponseController.
func (l *limitedAnswer) SetWriteDeadline(t time.Time) error {
	return l.control.SetWriteDeadline(earlier(t, l.written))
}

// SetReadDeadline is for http.ResponseController.
func (l *limitedAnswer) SetReadDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.piece = t
	return l.set()
}

// during has the deadline of the request hold while the body is read, until done is called. It must not hold when all of
// the body is there: net/http goes on reading, to notice when the client has gone, and would take the client for gone.
func (l *limitedAnswer) during() (done func()) {
	set := func(reading bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.reading = reading
		_ = l.set() // a reader without deadlines, in a test, has none
	}
	set(true)
	return func() { set(false) }
}

// set sets the deadline that holds. The caller has the lock.
func (l *limitedAnswer) set() error {
	if l.reading {
		return l.control.SetReadDeadline(earlier(l.piece, l.read))
	}
	return l.control.SetReadDeadline(l.piece)
}

// earlier is the earlier of two deadlines, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// limitedBody is a body that is there in time, or breaks off.
type limitedBody struct {
	io.ReadCloser
	answer *limitedAnswer
}

// Read fails when the time of the request is over.
func (b limitedBody) Read(p []byte) (int, error) {
	defer b.answer.during()()
	return b.ReadCloser.Read(p)
}
