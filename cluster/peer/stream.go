package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	handshakeTimeout = 5 * time.Second  // for TLS and hello, on either side, and for a new connection to be taken by Accept
	dialTimeout      = 10 * time.Second // for all of Dial, when its context allows more
)

// bounds are how long what others do is waited for; only tests have other ones than these.
type bounds struct{ handshake, dial, call time.Duration }

// Target is a node to talk to.
type Target struct {
	Address     string // host:port
	Incarnation string // who must answer there; "" takes whoever does, which is right only for a first contact
}

// Caller is the node at the other end of a connection. That it holds the secret is proved, its names are what it
// says: all holders of the secret are trusted alike.
type Caller struct{ Node, Incarnation string }

// Stream is one protocol: the connections that other nodes open for it, as a net.Listener, and a dialer. All methods
// may be called concurrently.
type Stream struct {
	peer     *Peer
	protocol string
	accepted chan net.Conn
	closed   chan struct{}
	close    func()
}

// Stream returns the stream of a protocol, one of the constants of this package or one's own; the same one each
// time, until it is closed. From the first call on, the node accepts connections for it, and a connection that no
// Accept takes within 5 s is closed.
func (p *Peer) Stream(protocol string) *Stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.streams[protocol]; s != nil {
		return s
	}
	s := &Stream{peer: p, protocol: protocol, accepted: make(chan net.Conn), closed: make(chan struct{})}
	s.close = sync.OnceFunc(func() { close(s.closed) })
	p.streams[protocol] = s
	return s
}

func (p *Peer) stream(protocol string) *Stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.streams[protocol]
}

func (p *Peer) protocols() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := make([]string, 0, len(p.streams))
	for name := range p.streams {
		names = append(names, name)
	}
	return names
}

// Accept returns the next connection that another node opened, after the hello. CallerOf says from whom it is.
//
// It returns net.ErrClosed once the stream is closed or Run has ended.
func (s *Stream) Accept() (net.Conn, error) {
	select {
	case conn := <-s.accepted:
		return conn, nil
	case <-s.closed:
	case <-s.peer.done:
	}
	return nil, fmt.Errorf("accept %s: %w", s.protocol, net.ErrClosed)
}

// Close ends Accept, and the node no longer accepts connections for the protocol. Connections that stand are not
// touched, and Dial goes on to work. It returns nil.
func (s *Stream) Close() error {
	s.peer.mu.Lock()
	if s.peer.streams[s.protocol] == s {
		delete(s.peer.streams, s.protocol)
	}
	s.peer.mu.Unlock()
	s.close()
	return nil
}

// Addr is the address of the peer's one listener.
func (s *Stream) Addr() net.Addr { return s.peer.Addr() }

// Dial opens a connection for this protocol and returns it after the hello, with no deadline set. It takes 10 s at
// most. ctx bounds the dialing only.
//
// Errors: a *RefusedError when one of the two nodes does not want to talk to the other; else whatever kept the
// connection from coming about, net.ErrClosed among it when Run has ended. Nothing of the caller's was sent then.
func (s *Stream) Dial(ctx context.Context, to Target) (net.Conn, error) {
	conn, err := s.peer.dial(ctx, s.protocol, to)
	if err != nil {
		return nil, fmt.Errorf("dial %s for %s: %w", to.Address, s.protocol, err)
	}
	return conn, nil
}

// CallerOf says who is at the other end of a connection that Accept or Dial returned.
func CallerOf(c net.Conn) (Caller, bool) {
	if c, ok := c.(*conn); ok {
		return c.other, true
	}
	return Caller{}, false
}

// conn is a connection after the hello.
type conn struct {
	*tls.Conn
	other   Caller
	release func()
}

func (c *conn) Close() error {
	c.release()
	return c.Conn.Close()
}

// hold makes a connection whose hello is done the user's: it has no deadline any more, and lives until he or Run
// closes it.
func (p *Peer) hold(raw net.Conn, session *tls.Conn, other Caller) (*conn, error) {
	if err := raw.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	// At the end the connection below is closed, not the session: that would wait for a peer that does not read.
	release, ok := p.conns.hold(func() { _ = raw.Close() })
	if !ok {
		return nil, net.ErrClosed
	}
	return &conn{Conn: session, other: other, release: release}, nil
}

func (p *Peer) dial(ctx context.Context, protocol string, to Target) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.bounds.dial)
	defer cancel()
	end, ok := p.conns.begin(cancel)
	if !ok {
		return nil, net.ErrClosed
	}
	defer end()
	raw, err := p.network.Dial(ctx, to.Address)
	if err != nil {
		return nil, err
	}
	conn, err := p.introduce(ctx, raw, protocol, to)
	if err != nil {
		farewell(raw, err)
		p.report("refused when dialing", to.Address, err)
		return nil, err
	}
	return conn, nil
}

// introduce does the dialer's part of TLS and hello. It leaves closing raw to its caller when it fails.
func (p *Peer) introduce(ctx context.Context, raw net.Conn, protocol string, to Target) (*conn, error) {
	if err := raw.SetDeadline(time.Now().Add(p.bounds.handshake)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) }) // ends what blocks below
	defer stop()
	session := tls.Client(raw, p.clientTLS(protocol))
	if err := session.HandshakeContext(ctx); err != nil {
		return nil, p.explain(err, to.Address)
	}
	state := session.ConnectionState()
	if state.NegotiatedProtocol != protocol {
		return nil, fmt.Errorf("the node at %s does not serve this protocol", to.Address)
	}
	keying, err := state.ExportKeyingMaterial(keyingLabel, nil, keyingSize)
	if err != nil {
		return nil, err
	}
	other, err := p.party().dial(session, keying, to.Incarnation)
	if err != nil {
		// In TLS 1.3 the dialer is done before the acceptor has seen its certificate, so that one's alert comes here.
		return nil, errors.Join(p.explain(err, to.Address), ctx.Err())
	}
	if !stop() {
		return nil, context.Cause(ctx)
	}
	return p.hold(raw, session, other)
}
