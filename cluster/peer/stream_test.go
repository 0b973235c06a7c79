package peer_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-16d79997/zot/cluster/peer"
)

func serves(protocols ...string) func(*peer.Peer) {
	return func(p *peer.Peer) {
		for _, protocol := range protocols {
			p.Stream(protocol)
		}
	}
}

func TestStreamsCarryBytes(t *testing.T) {
	noLeak(t)
	protocols := []string{peer.RaftProtocol, peer.BlobProtocol, peer.GossipProtocol, "own/1"}
	a, b := start(t, config("zot-a"), serves(protocols...)), start(t, config("zot-b"), serves(protocols...))
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			dialed, err := a.Stream(protocol).Dial(t.Context(), b.target())
			if err != nil {
				t.Fatal(err)
			}
			accepted, err := b.Stream(protocol).Accept()
			if err != nil {
				t.Fatal(err)
			}
			wantCaller(t, dialed, "zot-b")
			wantCaller(t, accepted, "zot-a")
			payload := bytes.Repeat([]byte(protocol), 1<<14)
			for _, pair := range [][2]net.Conn{{dialed, accepted}, {accepted, dialed}} {
				go func() { _, _ = pair[0].Write(payload) }() // ReadFull below waits for it
				got := make([]byte, len(payload))
				if _, err := io.ReadFull(pair[1], got); err != nil || !bytes.Equal(got, payload) {
					t.Fatalf("bytes do not arrive: %v", err)
				}
			}
			if err := dialed.Close(); err != nil {
				t.Error(err)
			}
			if _, err := accepted.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("after close the other side reads %v", err)
			}
		})
	}
	if b.Stream("own/1").Addr() != b.Addr() {
		t.Error("a stream has an address of its own")
	}
}

func wantCaller(t *testing.T, c net.Conn, node string) {
	t.Helper()
	if caller, ok := peer.CallerOf(c); !ok || caller != (peer.Caller{Node: node, Incarnation: incarnation(node)}) {
		t.Errorf("the other end is %v, want %s", caller, node)
	}
}

func TestProtocolThatIsNotServed(t *testing.T) {
	noLeak(t)
	a, b := start(t, config("zot-a")), start(t, config("zot-b"), serves(peer.RaftProtocol))
	dial := func(protocol, says string) {
		t.Helper()
		_, err := a.Stream(protocol).Dial(t.Context(), b.target())
		var refused *peer.RefusedError
		if err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), says) {
			t.Errorf("dial for %s: %v", protocol, err)
		}
	}
	dial("zot-future/1", "does not serve this protocol")
	raft := b.Stream(peer.RaftProtocol)
	waiting := make(chan error, 1)
	go func() {
		_, err := raft.Accept()
		waiting <- err
	}()
	if err := raft.Close(); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, "the end of accept", waiting); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept on a closed stream: %v", err)
	}
	dial(peer.RaftProtocol, "does not serve this protocol")
	if again := b.Stream(peer.RaftProtocol); again == raft || again != b.Stream(peer.RaftProtocol) {
		t.Error("a closed stream is not made anew, or an open one is")
	}
}

func TestConnectionThatNobodyAccepts(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory) {
		a, b := m.startIn(t, "zot-a"), m.startIn(t, "zot-b", serves(peer.BlobProtocol))
		dialed, err := a.Stream(peer.BlobProtocol).Dial(t.Context(), b.target())
		if err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		if _, err := dialed.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || time.Since(before) != 5*time.Second {
			t.Errorf("reads %v after %s", err, time.Since(before))
		}
		b.log.await(t, "nobody accepts", "protocol=zot-blob/1")
	})
}

func TestDialIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory) {
		a := m.startIn(t, "zot-a")
		silent, err := m.host("silent").Listen("silent:7373")
		if err != nil {
			t.Fatal(err)
		}
		m.isolate("gone")
		own := newAuthority(t)
		mute := mute(t, m, own, "mute:7373")
		c := config("zot-own")
		c.Listen, c.Network = "zot-own:7373", m.host("zot-own")
		own.give(&c, time.Now().Add(time.Hour))
		b := start(t, c)
		for name, test := range map[string]struct {
			from    *node
			address string
			most    time.Duration // that ctx allows
			takes   time.Duration
		}{
			"cannot be reached":            {a, "gone:7373", time.Hour, 10 * time.Second},
			"cannot be reached in time":    {a, "gone:7373", time.Second, time.Second},
			"does not speak":               {a, "silent:7373", time.Hour, 5 * time.Second},
			"does not speak in ctx's time": {a, "silent:7373", time.Second, time.Second},
			"does not greet":               {b, "mute:7373", time.Hour, 5 * time.Second},
			"does not greet in ctx's time": {b, "mute:7373", time.Second, time.Second},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), test.most)
			before := time.Now()
			_, err := test.from.Stream(peer.RaftProtocol).Dial(ctx, peer.Target{Address: test.address})
			cancel()
			if took := time.Since(before); err == nil || took != test.takes {
				t.Errorf("%s: %v after %s, want %s", name, err, took, test.takes)
			}
		}
		_ = silent.Close()
		mute()
	})
}

// mute listens, does its part of TLS, and says nothing more, until it is stopped.
func mute(t *testing.T, m *memory, own *authority, address string) (stop func()) {
	t.Helper()
	c := config("mute")
	own.give(&c, time.Now().Add(time.Hour))
	l, err := m.host("mute").Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			session := tls.Server(raw, &tls.Config{
				MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*c.Certificate},
				ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{peer.RaftProtocol},
			})
			serving.Go(func() { _, _ = io.Copy(io.Discard, session) }) // until the dialer gives up
		}
	})
	return func() {
		_ = l.Close()
		serving.Wait()
	}
}

// slow is a network that takes its time to give up dialing.
type slow struct {
	memoryHost
	release chan struct{}
}

func (s slow) Dial(ctx context.Context, _ string) (net.Conn, error) {
	<-ctx.Done()
	<-s.release
	return nil, ctx.Err()
}

func TestRunWaitsForDials(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory) {
		c := config("zot-0")
		network := slow{memoryHost: m.host("zot-0"), release: make(chan struct{})}
		c.Listen, c.Network = "zot-0:7373", network
		n := start(t, c)
		go func() { _, _ = n.Stream(peer.RaftProtocol).Dial(context.Background(), n.target()) }() // run waits for it
		synctest.Wait()
		stopped := make(chan struct{})
		go func() {
			n.stop()
			close(stopped)
		}()
		synctest.Wait()
		select {
		case <-stopped:
			t.Error("run ended before a dial that it had cut")
		default:
		}
		close(network.release)
		<-stopped
	})
}

func TestStrangers(t *testing.T) {
	noLeak(t)
	n := start(t, config("zot-0"), handleEcho)
	for name, speak := range map[string]func(net.Conn) error{
		"HTTP": func(c net.Conn) error {
			_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			return err
		},
		"TLS without a certificate": func(c net.Conn) error {
			return tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{peer.APIProtocol}}).HandshakeContext(t.Context())
		},
		"TLS without a protocol": func(c net.Conn) error {
			return tls.Client(c, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(t.Context())
		},
		"TLS 1.2": func(c net.Conn) error {
			err := tls.Client(c, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}).HandshakeContext(t.Context())
			if err == nil {
				return errors.New("TLS 1.2 is spoken")
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := peer.SystemNetwork().Dial(t.Context(), n.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close() //nolint:errcheck // a stranger
			_ = speak(c)
			_ = c.SetDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, c); errors.Is(err, context.DeadlineExceeded) {
				t.Error("the connection is not closed")
			}
		})
	}
	mustEcho(t, start(t, config("zot-1")), n.target())
}

func TestSilentStrangersAreClosed(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory) {
		n := m.startIn(t, "zot-0")
		before := time.Now()
		c, err := m.host("stranger").Dial(t.Context(), n.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || time.Since(before) != 5*time.Second {
			t.Errorf("reads %v after %s", err, time.Since(before))
		}
	})
}

// TestCrowdOfStrangers holds more connections than are allowed, in no time: the oldest go, and a node still gets in.
func TestCrowdOfStrangers(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory) {
		const crowd = 1000
		n := m.startIn(t, "zot-0", handleEcho)
		var conns []net.Conn
		for range crowd {
			c, err := m.host("stranger").Dial(t.Context(), n.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
		}
		synctest.Wait()
		open := 0
		for _, c := range conns {
			_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				open++
			}
		}
		if open != 256 {
			t.Errorf("%d strangers are waited for, want 256", open)
		}
		mustEcho(t, m.startIn(t, "zot-1"), n.target())
	})
}

// flaky is a network whose listener fails some times before it works.
type flaky struct {
	memoryHost
	failures int
}

func (f flaky) Listen(address string) (net.Listener, error) {
	l, err := f.memoryHost.Listen(address)
	return &flakyListener{Listener: l, failures: f.failures}, err
}

type flakyListener struct {
	net.Listener
	failures int
}

func (l *flakyListener) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, errors.New("too many open files")
	}
	return l.Listener.Accept()
}

func TestAcceptSurvivesErrors(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory) {
		c := config("zot-0")
		c.Listen, c.Network = "zot-0:7373", flaky{memoryHost: m.host("zot-0"), failures: 8}
		n := start(t, c, handleEcho)
		mustEcho(t, m.startIn(t, "zot-1"), n.target())
		n.log.await(t, "accept failed", "too many open files")
	})
}

func TestRunReportsALostListener(t *testing.T) {
	m := newMemory()
	c := config("zot-0")
	c.Listen, c.Network = "zot-0:7373", m.host("zot-0")
	p, err := peer.New(c)
	if err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	l := m.listeners["zot-0:7373"]
	m.mu.Unlock()
	_ = l.Close()
	if err := p.Run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("run without a listener: %v", err)
	}
}
