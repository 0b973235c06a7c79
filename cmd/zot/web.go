package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/api/record"
	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/cmd/zot/config"
)

const (
	headerTimeout = 5 * time.Second
	idleTimeout   = 2 * time.Minute
	lastMoment    = time.Second      // what is left of that when nobody wants to wait: an answer that is sent already may end
	inFlight      = 30 * time.Second // how long requests that were begun may take when the node stops
	maxHeader     = 64 << 10         // of a request; the largest real ones carry a token

	// What a client may send ahead over HTTP/2, where a push has one connection for all its layers: a layer
	// that has to wait must not use up what the others have.
	windowConn   = 3 << 20
	windowStream = 512 << 10

	// How much of the headers of answers is kept to refer to it in later ones over HTTP/2: less than any takes. Before
	// Go 1.26.9 two goroutines of net/http change that table at once, and a client can have the whole process end by it
	// (GO-2026-6617); a table that stays empty nobody changes.
	answerTable = 1
)

// clientListener is the port that clients use, with or without TLS.
type clientListener struct {
	net.Listener
	certificates *certificates // nil without TLS
}

// listenHTTP binds the port that clients use.
func listenHTTP(ctx context.Context, c config.HTTP) (*clientListener, error) {
	l := &clientListener{}
	var err error
	if c.TLS.On() {
		if l.certificates, err = openCertificates(c.TLS); err != nil {
			return nil, err
		}
	}
	var lc net.ListenConfig
	if l.Listener, err = lc.Listen(ctx, "tcp", c.Listen()); err != nil {
		return nil, fmt.Errorf("listen on %s (http.address, http.port): %w", c.Listen(), err)
	}
	return l, nil
}

// reload has new certificates looked for now.
func (l *clientListener) reload() {
	if l.certificates != nil {
		wake(l.certificates.asked)
	}
}

// prepare makes ready what a configuration says of certificates. Whether there is TLS does not change.
func (l *clientListener) prepare(c config.Config) (draft, error) {
	if l.certificates == nil {
		return swap(func() {}), nil
	}
	return l.certificates.prepare(c.HTTP.TLS)
}

// serve answers until the server is shut down, and meanwhile looks for new certificates.
func (l *clientListener) serve(ctx context.Context, server *http.Server, log hclog.Logger) error {
	if l.certificates == nil {
		return server.Serve(l.Listener)
	}
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() { // waited for below
		defer close(watched)
		l.certificates.watch(ctx, log)
	}()
	server.TLSConfig = l.certificates.server()
	err := server.ServeTLS(l.Listener, "", "")
	cancel()
	<-watched
	return err
}

// newServer is a server that logs what goes wrong with connections where nobody has to read it. A whole
// request may take any time, for a layer may be of any size; who is silent in the middle of one is cut off
// by its handler.
func newServer(handler http.Handler, log hclog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		// "OPTIONS *" is a request as any other: net/http would answer it to everybody, without a line in the log.
		DisableGeneralOptionsHandler: true,
		MaxHeaderBytes:               maxHeader,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerConnection: windowConn, MaxReceiveBufferPerStream: windowStream, MaxEncoderHeaderTableSize: answerTable,
		},
		ErrorLog: log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
}

// front is what clients are answered by. A configuration changes it; a request ends with what it began with.
type front struct {
	make    func(c config.Config) (http.Handler, error)
	handler atomic.Pointer[http.Handler]
}

// newFront fails as make does.
func newFront(c config.Config, makes func(c config.Config) (http.Handler, error)) (*front, error) {
	f := &front{make: makes}
	d, err := f.prepare(c)
	if err != nil {
		return nil, err
	}
	d.take()
	return f, nil
}

// prepare makes the handler of a configuration.
func (f *front) prepare(c config.Config) (draft, error) {
	h, err := f.make(c)
	return swap(func() { f.handler.Store(&h) }), err
}

// ServeHTTP answers by the handler of the moment.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*f.handler.Load()).ServeHTTP(w, r)
}

// serveClients answers on l by a handler until ctx ends. If the node was asked to stop it then first says that it is
// not ready, and goes on until load balancers have noticed; a further signal cuts every wait short.
func serveClients(ctx context.Context, l *clientListener, clients http.Handler, h *health, s setting) error {
	log := s.log.Named("http")
	server := newServer(clients, log)
	served := make(chan error, 1)
	go func() { served <- l.serve(context.WithoutCancel(ctx), server, log) }() // waited for below; it ends with the server
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	h.drain()
	hurry, done := untilSignal(context.WithoutCancel(ctx), s.signals) // ctx has ended, draining begins
	defer done()
	if errors.Is(context.Cause(ctx), errStopped) {
		s.log.Info("node drains", "wait_seconds", s.drainWait.Seconds())
		sleep(hurry, s.drainWait)
	}
	return shutDown(hurry, server, served, inFlight)
}

// contained answers a request whose handler panics, where net/http would cut the connection: a prober would take the
// node for dead. It is for handlers that write their answer at last.
func contained(h http.Handler, log hclog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				log.Error("request failed", "request_id", record.Of(r).ID, "method", r.Method, "path", r.URL.Path, "error", blobstore.Panicked(p))
				answerJSON(w, http.StatusInternalServerError, probed{Status: "unavailable", Missing: "internal error, see the node's log"})
			}
		}()
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // that of an answer of the registry on this connection
		h.ServeHTTP(w, r)
	})
}

// shutDown ends a server: no new requests, then up to grace for those that were begun.
func shutDown(ctx context.Context, server *http.Server, served <-chan error, grace time.Duration) error {
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	hurried := context.AfterFunc(ctx, func() { time.AfterFunc(lastMoment, cancel) }) // after the end it does nothing
	defer hurried()
	err := server.Shutdown(limit)
	if err != nil {
		err = fmt.Errorf("requests were cut off: %w", errors.Join(err, server.Close()))
	}
	if end := <-served; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}

// untilSignal is a context that ends with the next signal to stop. done ends the wait for it.
func untilSignal(ctx context.Context, signals <-chan os.Signal) (hurry context.Context, done func()) {
	hurry, cancel := context.WithCancel(ctx)
	waited := make(chan struct{})
	go func() { // waited for by done
		defer close(waited)
		for {
			select {
			case s := <-signals:
				if s != syscall.SIGHUP {
					cancel()
					return
				}
			case <-hurry.Done():
				return
			}
		}
	}()
	return hurry, func() {
		cancel()
		<-waited
	}
}

// sleep waits for d, or less if ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
