package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/seed-16d79997/zot/api/record"
	"github.com/seed-16d79997/zot/auth"
)

const (
	headerConsistency = "X-Zot-Consistency" // says that an answer may be old
	headerRequestID   = record.HeaderID
)

// answer is a ResponseWriter that knows whether it has begun, and cuts off a client that takes nothing.
//
// In HTTP/2 a deadline ends the stream when it comes, also while nobody reads or writes. So each is there for one
// piece alone, and taken back while the disk or another node is at work.
type answer struct {
	http.ResponseWriter
	control   *http.ResponseController
	idle      time.Duration
	base      string // of Locations
	record    *record.Record
	requestID string
	gate      *auth.Gate // that judges the request, whatever changes meanwhile
	caller    auth.Caller
	forwarded bool // another node sent the request: it is answered here, whatever else
	operator  bool // the operator of the node asks: he may do everything
	begun     bool // the status has been sent
	quiet     quiet

	mu       sync.Mutex // held while a deadline of the body is set
	unwanted bool       // no more of the body is read than must be
}

func (g *Registry) newAnswer(w http.ResponseWriter, r *http.Request) *answer {
	c, rec := g.config, record.Of(r)
	a := &answer{
		ResponseWriter: w, control: http.NewResponseController(w), idle: c.Idle, base: c.BaseURL, record: rec, requestID: rec.ID, gate: g.gate(),
		quiet: quiet{silence: c.Silence, since: time.Now()},
	}
	a.introduce()
	_ = a.control.SetWriteDeadline(time.Time{}) // that of the answer before on this connection
	return a
}

// introduce sets the headers of every answer.
func (a *answer) introduce() {
	h := a.Header()
	h.Set(headerRequestID, a.requestID)
	h.Set("Docker-Distribution-Api-Version", "registry/2.0")
	h.Set("X-Content-Type-Options", "nosniff")
}

// withdraw takes them back, for a node that sets them itself.
func (a *answer) withdraw() {
	for _, name := range []string{headerRequestID, "Docker-Distribution-Api-Version", "X-Content-Type-Options"} {
		a.Header().Del(name)
	}
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader begins the answer, unless the status only says that there will be one. That another node asks for the
// body is nothing to tell: the server says so by itself when it is read.
func (a *answer) WriteHeader(status int) {
	if status == http.StatusContinue {
		return
	}
	a.begun = a.begun || status >= http.StatusOK
	defer a.wait()()
	a.ResponseWriter.WriteHeader(status)
}

// Write fails if the client takes nothing for too long.
func (a *answer) Write(b []byte) (int, error) {
	a.begun = true
	defer a.wait()()
	return a.ResponseWriter.Write(b)
}

// send sends a stream as the body of an answer. It begins with the first bytes: if those are not to be had it may
// still be another answer.
func (a *answer) send(status int, stream io.WriterTo) error {
	_, err := stream.WriteTo(&beginning{a, status})
	if err == nil && !a.begun {
		a.WriteHeader(status) // there are no bytes
	}
	return err
}

// beginning is an answer whose status is sent before its first bytes.
type beginning struct {
	*answer
	status int
}

// Write is as answer's.
func (b *beginning) Write(p []byte) (int, error) {
	if !b.begun {
		b.WriteHeader(b.status)
	}
	return b.answer.Write(p)
}

// FlushError is for http.ResponseController, as Write.
func (a *answer) FlushError() error {
	defer a.wait()()
	return a.control.Flush()
}

// wait gives the client its time for the next piece, until the function that it returns is called. A writer that
// has no deadlines, in a test, needs none.
func (a *answer) wait() (done func()) {
	_ = a.control.SetWriteDeadline(time.Now().Add(a.idle))
	return func() { _ = a.control.SetWriteDeadline(time.Time{}) }
}

// end bounds what the server does when the handler is over: it reads what is left of a body that nobody wanted,
// so that the connection can be used again, and must not wait for a client that sends nothing. It may read before the
// answer leaves, whose own time runs already: so this one is shorter.
func (a *answer) end(r *http.Request, err error) {
	if r.ContentLength != 0 && !errors.Is(err, errBody) && !errors.Is(err, context.Canceled) {
		a.unwant()
	}
}

// unwant bounds what is still read of a body that nobody wants. Whoever reads it now, on its way to another node,
// has no longer.
func (a *answer) unwant() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unwanted = true
	_ = a.control.SetReadDeadline(time.Now().Add(a.idle / 2))
}

// allow gives the client its time for the next piece of its body, or as long as it likes while nobody reads.
func (a *answer) allow(reading bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.unwanted {
		return
	}
	var limit time.Time
	if reading {
		limit = time.Now().Add(a.idle)
	}
	_ = a.control.SetReadDeadline(limit) // a reader that has no deadlines, in a test, needs none
}

func (a *answer) markStale() { a.Header().Set(headerConsistency, "stale") }

func (a *answer) isStale() bool { return a.Header().Get(headerConsistency) != "" }

// locate says where something is.
func (a *answer) locate(path string) { a.Header().Set("Location", a.base+path) }

// body is what a client sends. Its errors are errBody, so that a store's own are told from them.
type body struct {
	io.Reader
	w *answer
}

// bodyOf is the body of a request, from a client that is cut off if it sends nothing for too long.
func bodyOf(w *answer, r *http.Request) body { return body{Reader: r.Body, w: w} }

// Read returns errBody if the client breaks off, or sends nothing. Who reads behind an error gets it again.
func (b body) Read(p []byte) (int, error) {
	defer b.w.quiet.hearing()()
	b.w.allow(true)
	n, err := b.Reader.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		b.w.allow(false)
		return n, err
	}
	return n, fmt.Errorf("%w: %w", errBody, err)
}
