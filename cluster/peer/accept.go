package peer

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	maxPending    = 256 // connections whose hello is not done
	lingerTimeout = 500 * time.Millisecond
	lingerBytes   = 64 << 10
	minAcceptWait = 5 * time.Millisecond
	maxAcceptWait = time.Second
)

// accept takes connections until ctx ends. An error of the listener is waited out: a process that is out of file
// descriptors for a moment must not fall deaf for ever.
func (p *Peer) accept(ctx context.Context) error {
	wait := minAcceptWait
	for {
		raw, err := p.listener.Accept()
		if err == nil {
			wait = minAcceptWait
			p.receive(ctx, raw)
			continue
		}
		if ctx.Err() == nil && errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("peer: accept: %w", err)
		}
		if ctx.Err() == nil {
			p.logger.Warn("accept failed, trying again", "error", err, "wait_seconds", wait.Seconds())
		}
		if !pause(ctx, wait) {
			return nil
		}
		wait = min(2*wait, maxAcceptWait)
	}
}

func pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *Peer) receive(ctx context.Context, raw net.Conn) {
	end, ok := p.conns.begin(func() { _ = raw.Close() })
	if !ok {
		_ = raw.Close()
		return
	}
	leave := p.lobby.enter(raw)
	go func() { // Run waits for it in conns.wait
		defer end()
		conn, take, err := p.admit(ctx, raw)
		if err != nil {
			farewell(raw, err)
			p.report("refused when called", raw.RemoteAddr().String(), err)
		}
		leave()
		if err == nil {
			take(conn)
		}
	}()
}

// admit does the acceptor's part of TLS and hello, within handshakeTimeout, and says who takes the connection then.
// It leaves closing raw to its caller when it fails.
func (p *Peer) admit(ctx context.Context, raw net.Conn) (*conn, func(*conn), error) {
	if err := raw.SetDeadline(time.Now().Add(p.bounds.handshake)); err != nil {
		return nil, nil, err
	}
	session := tls.Server(raw, p.serverTLS())
	if err := session.HandshakeContext(ctx); err != nil {
		if session.ConnectionState().NegotiatedProtocol == JoinProtocol {
			return nil, nil, err // a machine whose token is another cluster's: nothing is wrong with a secretFile
		}
		return nil, nil, p.explain(err, raw.RemoteAddr().String())
	}
	state := session.ConnectionState()
	if state.NegotiatedProtocol == JoinProtocol {
		return p.meet(ctx, raw, session)
	}
	stream := p.stream(state.NegotiatedProtocol)
	if stream == nil {
		return nil, nil, fmt.Errorf("protocol %q is not served here", state.NegotiatedProtocol)
	}
	keying, err := state.ExportKeyingMaterial(keyingLabel, nil, keyingSize)
	if err != nil {
		return nil, nil, err
	}
	other, err := p.party().accept(session, keying)
	if err != nil {
		return nil, nil, p.explain(err, raw.RemoteAddr().String())
	}
	conn, err := p.hold(raw, session, other)
	return conn, stream.deliver, err
}

// deliver hands a connection to Accept. If nobody takes it the dialer must see a closed connection, not a silent one.
func (s *Stream) deliver(conn *conn) {
	timer := time.NewTimer(s.peer.bounds.handshake)
	defer timer.Stop()
	select {
	case s.accepted <- conn:
		return
	case <-s.closed:
	case <-s.peer.done:
	case <-timer.C:
		s.peer.logger.Warn("nobody accepts the connections of a protocol", "protocol", s.protocol)
	}
	_ = conn.Close() // never used
}

// farewell closes a connection whose handshake failed so that the other side can read why. Closing while bytes of
// his are unread makes the kernel answer with a reset, which may overtake the alert or verdict that says it. A side
// that was too slow has nothing to read.
func farewell(raw net.Conn, err error) {
	network, slow := errors.AsType[net.Error](err)
	slow = slow && network.Timeout()
	if half, ok := raw.(interface{ CloseWrite() error }); ok && !slow && half.CloseWrite() == nil {
		if raw.SetReadDeadline(time.Now().Add(lingerTimeout)) == nil {
			_, _ = io.CopyN(io.Discard, raw, lingerBytes)
		}
	}
	_ = raw.Close()
}

// report logs why a handshake failed: a refusal once a minute for each host and reason, as a person has to act;
// anything else only for those who debug, as strangers knock on every open port.
func (p *Peer) report(message, address string, err error) {
	refused, ok := errors.AsType[*RefusedError](err)
	if !ok {
		p.logger.Debug("handshake failed", "address", address, "error", err)
		return
	}
	host, _, splitErr := net.SplitHostPort(address)
	if splitErr != nil {
		host = address
	}
	if p.refusals.allow(message+"\x00"+host+"\x00"+string(refused.Reason), time.Now()) {
		p.logger.Warn(message, "address", address, "reason", string(refused.Reason), "detail", refused.Detail)
	}
}

// lobby holds the connections that have not proved anything yet. When it is full the one that has been there longest
// is closed: an honest node needs milliseconds, so strangers who sit there cannot keep it out.
type lobby struct {
	most int

	mu      sync.Mutex
	waiting *list.List // of net.Conn, the oldest in front
}

func newLobby(most int) *lobby { return &lobby{most: most, waiting: list.New()} }

func (l *lobby) enter(raw net.Conn) (leave func()) {
	l.mu.Lock()
	place := l.waiting.PushBack(raw)
	var oldest net.Conn
	if l.waiting.Len() > l.most {
		oldest, _ = l.waiting.Remove(l.waiting.Front()).(net.Conn)
	}
	l.mu.Unlock()
	if oldest != nil {
		_ = oldest.Close()
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.waiting.Remove(place) // does nothing for one that was closed to make room
	}
}

// limiter lets one of a kind through in a minute. When it knows too many kinds it lets no new one through: a log
// that strangers can fill is worth less than a line that is missing.
type limiter struct {
	mu   sync.Mutex
	last map[string]time.Time
}

const (
	limiterPeriod = time.Minute
	limiterKinds  = 1024
)

func newLimiter() *limiter { return &limiter{last: make(map[string]time.Time)} }

func (l *limiter) allow(kind string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, ok := l.last[kind]; ok && now.Sub(last) < limiterPeriod {
		return false
	}
	if len(l.last) >= limiterKinds {
		for k, last := range l.last {
			if now.Sub(last) >= limiterPeriod {
				delete(l.last, k)
			}
		}
	}
	if len(l.last) >= limiterKinds {
		return false
	}
	l.last[kind] = now
	return true
}
