package peer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/peer"
)

func TestCallAnswers(t *testing.T) {
	noLeak(t)
	full := bytes.Repeat([]byte{7}, peer.MaxBody)
	server := start(t, config("zot-0"), handleEcho, func(p *peer.Peer) {
		p.Handle("/who", func(ctx context.Context, from peer.Caller, _ []byte) ([]byte, error) {
			if c, ok := peer.CallerFrom(ctx); !ok || c != from {
				return nil, fmt.Errorf("the context has %v, %t", c, ok)
			}
			return []byte(from.Node + " " + from.Incarnation), nil
		})
	})
	client := start(t, config("zot-1"))
	for name, test := range map[string]struct {
		path       string
		body, want []byte
	}{
		"body":         {"/echo", []byte("hello"), []byte("hello")},
		"empty":        {"/echo", nil, nil},
		"largest":      {"/echo", full, full},
		"who is there": {"/who", nil, []byte("zot-1 " + incarnation("zot-1"))},
	} {
		t.Run(name, func(t *testing.T) {
			for _, to := range []peer.Target{server.target(), server.anybody()} {
				got, err := client.Call(t.Context(), to, test.path, test.body)
				if err != nil || !bytes.Equal(got, test.want) {
					t.Fatalf("got %d bytes, %v; want %d", len(got), err, len(test.want))
				}
			}
		})
	}
	mine, err := server.Call(t.Context(), server.target(), "/echo", []byte("self"))
	if err != nil || string(mine) != "self" {
		t.Errorf("a call of itself: %q, %v", mine, err)
	}
}

func TestCallFails(t *testing.T) {
	noLeak(t)
	server := start(t, config("zot-0"), handleEcho, func(p *peer.Peer) {
		p.Handle("/chosen", func(context.Context, peer.Caller, []byte) ([]byte, error) {
			return nil, fmt.Errorf("while working: %w", &peer.RemoteError{Code: "not_leader", Message: "ask zot-2"})
		})
		p.Handle("/plain", func(context.Context, peer.Caller, []byte) ([]byte, error) { return nil, errors.New("disk full") })
		p.Handle("/panic", func(context.Context, peer.Caller, []byte) ([]byte, error) { panic("nil map") })
		p.Handle("/large", func(context.Context, peer.Caller, []byte) ([]byte, error) {
			return make([]byte, peer.MaxBody+1), nil
		})
	})
	client := start(t, config("zot-1"))
	for name, test := range map[string]struct {
		path string
		want peer.RemoteError
	}{
		"code of the handler": {"/chosen", peer.RemoteError{Code: "not_leader", Message: "ask zot-2"}},
		"plain error":         {"/plain", peer.RemoteError{Code: peer.CodeInternal, Message: "disk full"}},
		"panic":               {"/panic", peer.RemoteError{Code: peer.CodePanic, Message: "panic: nil map"}},
		"answer too large":    {"/large", peer.RemoteError{Code: peer.CodeTooLarge, Message: "body too large"}},
		"unknown path":        {"/new", peer.RemoteError{Code: peer.CodeUnknownPath, Message: `no call "/new"`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.Call(t.Context(), server.target(), test.path, []byte("x"))
			var remote *peer.RemoteError
			if !errors.As(err, &remote) || *remote != test.want || errors.Is(err, peer.ErrUnreachable) {
				t.Fatalf("got %v, want %v", err, &test.want)
			}
		})
	}
	server.log.await(t, "[ERROR]", "handler panicked", "path=/panic", "from=zot-1")
	mustEcho(t, client, server.target())

	_, err := client.Call(t.Context(), server.target(), "/echo", make([]byte, peer.MaxBody+1))
	if !errors.Is(err, peer.ErrTooLarge) || errors.Is(err, peer.ErrUnreachable) {
		t.Errorf("a call too large: %v", err)
	}
}

// unused is an address that nobody listens on.
func unused(t *testing.T) string {
	t.Helper()
	l, err := peer.SystemNetwork().Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // it listens no more either way
	return l.Addr().String()
}

func TestCallNotSent(t *testing.T) {
	noLeak(t)
	client := start(t, config("zot-1"))
	server := start(t, config("zot-0"))
	wrong := server.target()
	wrong.Incarnation = incarnation("another")
	for name, test := range map[string]struct {
		to    peer.Target
		ended bool
	}{
		"nobody listens":    {to: peer.Target{Address: unused(t)}},
		"no address":        {},
		"wrong incarnation": {to: wrong},
		"context has ended": {to: server.target(), ended: true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if test.ended {
				cancel()
			}
			_, err := client.Call(ctx, test.to, "/echo", nil)
			if !errors.Is(err, peer.ErrNotSent) || !errors.Is(err, peer.ErrUnreachable) || errors.Is(err, peer.ErrNoAnswer) {
				t.Errorf("got %v, want one that is ErrNotSent", err)
			}
			if errors.Is(err, context.Canceled) != test.ended {
				t.Errorf("got %v, want one that is context.Canceled: %t", err, test.ended)
			}
		})
	}
	_, err := client.Call(t.Context(), wrong, "/echo", nil)
	wantRefused(t, err, peer.Incarnation)
}

// waiter handles calls of /wait, which wait for the end of their context.
type waiter struct{ begun, ended chan struct{} }

func newWaiter() *waiter {
	return &waiter{begun: make(chan struct{}, 1), ended: make(chan struct{}, 1)}
}

func (w *waiter) handle(p *peer.Peer) {
	p.Handle("/wait", func(ctx context.Context, _ peer.Caller, _ []byte) ([]byte, error) {
		w.begun <- struct{}{}
		<-ctx.Done()
		w.ended <- struct{}{}
		return nil, ctx.Err()
	})
}

func TestCallIsCancelled(t *testing.T) {
	noLeak(t)
	w := newWaiter()
	server, client := start(t, config("zot-0"), w.handle), start(t, config("zot-1"))
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := client.Call(ctx, server.target(), "/wait", make([]byte, 4096))
		result <- err
	}()
	receive(t, "the call", w.begun)
	cancel()
	if err := receive(t, "the end of the call", result); !errors.Is(err, peer.ErrNoAnswer) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want ErrNoAnswer and context.Canceled", err)
	}
	receive(t, "the end of the handler's context, when the caller has gone away", w.ended)
}

func TestCallLosesItsConnection(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory) {
		w := newWaiter()
		server, client := m.startIn(t, "zot-0", w.handle, handleEcho), m.startIn(t, "zot-1")
		result := make(chan error, 1)
		go func() {
			_, err := client.Call(t.Context(), server.target(), "/wait", nil)
			result <- err
		}()
		<-w.begun
		m.breakConns("zot-1")
		if err := <-result; !errors.Is(err, peer.ErrNoAnswer) || !errors.Is(err, peer.ErrUnreachable) || errors.Is(err, peer.ErrNotSent) {
			t.Errorf("got %v, want ErrNoAnswer", err)
		}
		<-w.ended
		mustEcho(t, client, server.target())
	})
}

func TestCallHasABound(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory) {
		w := newWaiter()
		server, client := m.startIn(t, "zot-0", w.handle), m.startIn(t, "zot-1")
		before := time.Now()
		_, err := client.Call(t.Context(), server.target(), "/wait", nil)
		if took := time.Since(before); !errors.Is(err, peer.ErrNoAnswer) || !errors.Is(err, context.DeadlineExceeded) || took != 10*time.Second {
			t.Errorf("got %v after %s, want ErrNoAnswer after 10s", err, took)
		}
		m.isolate("zot-0")
		before = time.Now()
		_, err = client.Call(t.Context(), server.target(), "/wait", nil)
		if took := time.Since(before); !errors.Is(err, peer.ErrNotSent) || took != 10*time.Second {
			t.Errorf("got %v after %s, want ErrNotSent after 10s", err, took)
		}
		m.heal("zot-0")
	})
}

func TestCallsShareConnectionsOfOneTarget(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory) { // many handshakes at once, which take a slow machine seconds
		server, client := m.startIn(t, "zot-0", handleEcho), m.startIn(t, "zot-1")
		for range 10 {
			mustEcho(t, client, server.target())
		}
		if n := m.dialed("zot-0:7373"); n != 1 {
			t.Errorf("ten calls in turn dialed %d times", n)
		}
		wrong := server.target()
		wrong.Incarnation = incarnation("another")
		_, err := client.Call(t.Context(), wrong, "/echo", nil)
		wantRefused(t, err, peer.Incarnation)

		var calls sync.WaitGroup
		for i := range 64 {
			calls.Go(func() {
				text := strings.Repeat("x", 1000*i)
				answer, err := client.Call(t.Context(), server.target(), "/echo", []byte(text))
				if err != nil || string(answer) != text {
					t.Errorf("call %d: %d bytes, %v", i, len(answer), err)
				}
			})
		}
		calls.Wait()
	})
}

func TestHandlePanics(t *testing.T) {
	for name, path := range map[string]string{"no slash": "echo", "twice": "/echo"} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			start(t, config("zot-0"), handleEcho, func(p *peer.Peer) { p.Handle(path, echo) })
		})
	}
}
