package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
)

// Peers are the registries of the other nodes. Its methods may be called concurrently.
type Peers interface {
	// Self is this node.
	Self() blobstore.Incarnation
	// Leader is another node that leads now, as far as this one knows.
	Leader() (blobstore.Incarnation, bool)
	// FindUpload asks all other nodes for an upload to a store, a second at most. Of two that have it the longer wins.
	//   - blobstore.ErrUploadUnknown if none of those that answered has it
	//   - blobstore.ErrUploadEnded if one knows that it has ended, and none has it
	FindUpload(ctx context.Context, store string, id blobstore.UploadID) (owner blobstore.Incarnation, u blobstore.Upload, err error)
	// Silence is how long another node has not answered, as far as this one knows.
	Silence(of blobstore.Incarnation) time.Duration
	// Forward has the registry of another node answer r, through its Forwarded: status, headers and body, and
	// each status that is not the last (RFC 9110, 15.2). If it returns an error, nothing but such was written to w.
	// An answer that breaks off breaks this one off, by a panic with http.ErrAbortHandler.
	Forward(w http.ResponseWriter, r *http.Request, to blobstore.Incarnation) error
}

// Forwarded answers the requests that another node's Peers.Forward sent. It never forwards one again, so that
// none goes in circles. Whoever can reach it is taken for a node: who may ask was judged where the client is.
func (g *Registry) Forwarded() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := g.newAnswer(w, r)
		a.forwarded = true
		g.answer(a, r, g.dispatch)
	})
}

// Operator answers requests of whoever may do everything, and is not asked who that is.
func (g *Registry) Operator() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := g.newAnswer(w, r)
		a.operator = true
		g.answer(a, r, g.dispatch)
	})
}

// forward has another node answer a request of which nothing was read yet.
//
// It returns errAnswered, errBody if the client broke off, or an error of Peers, with which nothing is answered.
func (g *Registry) forward(w *answer, out http.ResponseWriter, r *http.Request, to blobstore.Incarnation) error {
	sent := &sending{body: bodyOf(w, r), close: r.Body}
	r = r.Clone(r.Context())
	if sends(r) {
		r.Body = sent
	}
	for _, name := range []string{"Connection", "Upgrade"} { // the client's say which headers end here, and ours must not
		r.Header.Del(name)
	}
	w.record.SendOn(r.Header)
	r.Header.Set(headerOrigin, w.gate.Origin(r))
	r.Header.Set(headerCaller, w.caller.Encode()) // whatever the client has sent there
	w.withdraw()
	err := g.peers.Forward(out, r, to)
	if err == nil {
		return errAnswered
	}
	w.introduce()
	if broken := sent.broken(); broken != nil {
		return broken
	}
	return fmt.Errorf("forward to node %s: %w", to, err)
}

// sending is a body on its way to another node. It knows whether it was the client who broke off. Whoever sends
// it may still do so for a moment when the answer is there.
type sending struct {
	body
	close io.Closer

	mu   sync.Mutex
	over bool  // it ended, or was closed
	err  error // of the client, from before that
}

// Read is as body's.
func (s *sending) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if errors.Is(err, errBody) && !s.over {
			s.err = err
		}
		s.over = true
	}
	return n, err
}

func (s *sending) broken() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close reads some of what nobody wanted, and does not wait for a client that sends nothing. A client that has
// sent all waits itself.
func (s *sending) Close() error {
	s.mu.Lock()
	over := s.over
	s.over = true
	s.mu.Unlock()
	if !over {
		s.w.unwant()
	}
	return s.close.Close()
}
