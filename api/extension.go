package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/seed-16d79997/zot/api/record"
	"github.com/seed-16d79997/zot/auth"
)

// ErrUnavailable is what an extension's error is when it is nobody's fault and over soon.
var ErrUnavailable = errUnavailable

// ErrUntold is ErrUnavailable of who asks. What it wraps is logged, and not told.
var ErrUntold = errUntold

// Refusal is an error of an extension, with what it means to a client.
type Refusal struct {
	Status  int
	Code    string // of the specification where it has one
	Message string
}

// Error is the message.
func (r *Refusal) Error() string { return r.Message }

// Extension answers a request of somebody who is known by then. An error that it returns becomes the answer.
type Extension func(w http.ResponseWriter, r *http.Request, caller auth.Caller) error

// Extend has an extension answer as the registry does: it refuses what another site's page wants changed, finds out who
// asks, cuts off who is silent in the middle of a body, and turns errors, and panics, into answers.
func (g *Registry) Extend(h Extension) http.Handler {
	return g.extend(func(w *answer, r *http.Request) error {
		if err := g.identify(w, r); err != nil {
			return err
		}
		return h(w, r, w.caller)
	})
}

// ExtendToAll is Extend for what nobody needs to be known for.
func (g *Registry) ExtendToAll(h func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return g.extend(func(w *answer, r *http.Request) error { return h(w, r) })
}

func (g *Registry) extend(h func(w *answer, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.answer(g.newAnswer(w, r), r, func(w *answer, r *http.Request) error {
			if err := w.gate.Elsewhere(r); err != nil {
				return err
			}
			if r.Body != nil {
				r.Body = extensionBody{bodyOf(w, r), r.Body, time.Now().Add(extensionTime)}
			}
			return h(w, r)
		})
	})
}

// extensionTime is how long the body of a request to an extension may take. It is small; and who has sent it is found out before,
// and may have left by then.
const extensionTime = 30 * time.Second

// extensionBody is a body that an extension reads.
type extensionBody struct {
	body
	io.Closer

	until time.Time
}

// Read fails also for what has taken too long.
func (b extensionBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if (err == nil || errors.Is(err, io.EOF)) && time.Now().After(b.until) {
		return 0, fmt.Errorf("%w: it took longer than %s", errBody, extensionTime)
	}
	return n, err
}

// refusalOf is what a Refusal means.
func refusalOf(err error) (meaning, bool) {
	var r *Refusal
	if !errors.As(err, &r) {
		return meaning{}, false
	}
	return meaning{err: err, status: r.Status, code: r.Code}, true
}

// Refuse is a Refusal with a message about the case at hand.
func Refuse(status int, code, format string, args ...any) error {
	return &Refusal{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// leftover is how long a body may still take to come that nobody wants: the server reads it, to use the connection again.
const leftover = 5 * time.Second

// Answer answers a request that goes no further.
func (r *Refusal) Answer(w http.ResponseWriter, request *http.Request) {
	if request.ContentLength != 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(leftover)) // a reader without deadlines, in a test, has none
	}
	body := errorBody(r.Code, r.Message, record.Of(request).ID)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(r.Status)
	_, _ = w.Write(body) // a client that has gone needs no answer
}
