package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

const (
	headerTimeout = 5 * time.Second
	idleTimeout   = 2 * time.Minute
	inFlight      = 30 * time.Second // how long requests that were begun may take when the node stops
)

// listenHTTP binds the port that clients use.
func listenHTTP(ctx context.Context, c config.HTTP) (net.Listener, error) {
	port := c.Port
	if port == "" {
		port = "0"
	}
	address := net.JoinHostPort(c.Address, port)
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s (http.address, http.port): %w", address, err)
	}
	return l, nil
}

// newServer is a server that logs what goes wrong with connections where nobody has to read it.
func newServer(handler http.Handler, log hclog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
}

// serveClients answers on l, by the registry what is its, until ctx ends. If the node was asked to stop it then first says that it is
// not ready, and goes on until load balancers have noticed; a further signal cuts every wait short.
func serveClients(ctx context.Context, l net.Listener, registry http.Handler, h *health, s setting) error {
	server := newServer(below(registry, h.handler()), s.log.Named("http"))
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }() // waited for below
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

// shutDown ends a server: no new requests, then up to grace for those that were begun.
func shutDown(ctx context.Context, server *http.Server, served <-chan error, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	err := server.Shutdown(ctx)
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
