package api_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// pipes is a network of one address, in memory: so the clock of a bubble goes on when all wait for each other.
type pipes struct {
	waiting chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

// listen runs a handler until the test ends. Only the server's own client reaches it, and dial.
func listen(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	p := &pipes{waiting: make(chan net.Conn), closed: make(chan struct{})}
	server := &httptest.Server{Listener: p, Config: &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}}
	server.Start()
	t.Cleanup(server.Close)
	server.Client().Transport.(*http.Transport).DialContext = p.dial
	return server
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.waiting <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.waiting:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

// dial connects to a server that listen runs, and sends the beginning of a request.
func dial(t *testing.T, server *httptest.Server, beginning string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := server.Listener.(*pipes).dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, beginning); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}
