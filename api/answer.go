package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// headerConsistency says that an answer may be old.
const headerConsistency = "X-Zot-Consistency"

// answer is a ResponseWriter that knows whether it has begun, and cuts off a client that takes nothing.
type answer struct {
	http.ResponseWriter
	control   *http.ResponseController
	idle      time.Duration
	requestID string
	begun     bool
}

func newAnswer(w http.ResponseWriter, idle time.Duration) *answer {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails: it ends the process instead
	a := &answer{ResponseWriter: w, control: http.NewResponseController(w), idle: idle, requestID: hex.EncodeToString(id[:])}
	w.Header().Set("X-Request-Id", a.requestID)
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	return a
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader begins the answer.
func (a *answer) WriteHeader(status int) {
	a.begun = true
	a.wait()
	a.ResponseWriter.WriteHeader(status)
}

// Write fails if the client takes nothing for too long.
func (a *answer) Write(b []byte) (int, error) {
	a.begun = true
	a.wait()
	return a.ResponseWriter.Write(b)
}

// ReadFrom lets a file go out by sendfile. A store calls it for each piece that it has checked, so the
// time to take one is bounded like that of a Write.
func (a *answer) ReadFrom(r io.Reader) (int64, error) {
	a.begun = true
	a.wait()
	return io.Copy(a.ResponseWriter, r)
}

// wait gives the client its time for the next piece. A writer that has no deadlines, in a test, needs none.
func (a *answer) wait() { _ = a.control.SetWriteDeadline(time.Now().Add(a.idle)) }

// end bounds what the server does when the handler is over: it reads what is left of a body that nobody wanted,
// so that the connection can be used again, and must not wait for a client that sends nothing. It reads before the
// answer leaves, whose own time runs already: so this one is shorter.
func (a *answer) end(r *http.Request, err error) {
	if r.ContentLength != 0 && !errors.Is(err, errBody) && !errors.Is(err, context.Canceled) {
		_ = a.control.SetReadDeadline(time.Now().Add(a.idle / 2))
	}
}

func (a *answer) markStale() { a.Header().Set(headerConsistency, "stale") }

func (a *answer) isStale() bool { return a.Header().Get(headerConsistency) != "" }

// body is what a client sends. Its errors are errBody, so that a store's own are told from them.
type body struct {
	io.Reader
	control *http.ResponseController
	idle    time.Duration
}

// bodyOf is the body of a request, from a client that is cut off if it sends nothing for too long.
func bodyOf(w *answer, r *http.Request) io.Reader {
	return body{Reader: r.Body, control: w.control, idle: w.idle}
}

// Read returns errBody if the client breaks off, or sends nothing.
func (b body) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(b.idle)) // a reader that has no deadlines, in a test, needs none
	n, err := b.Reader.Read(p)
	if err == nil || errors.Is(err, io.EOF) { // at the end the server takes the deadline away
		return n, err
	}
	return n, fmt.Errorf("%w: %w", errBody, err)
}
