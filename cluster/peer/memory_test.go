package peer_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-16d79997/zot/cluster/peer"
)

// memory is a network of hosts in memory, for tests that put faults beneath the peers or that run in a bubble of
// testing/synctest. A host's connections can be broken, and the host cut off.
type memory struct {
	mu        sync.Mutex
	listeners map[string]*memoryListener
	packets   map[string]*memoryPackets
	conns     map[*memoryConn]bool
	cut       map[string]bool // hosts that reach nobody
	dials     map[string]int  // by address

	losePackets bool         // set before the first node
	sniff       func([]byte) // is shown each packet; set before the first node
}

func newMemory() *memory {
	return &memory{
		listeners: make(map[string]*memoryListener),
		packets:   make(map[string]*memoryPackets),
		conns:     make(map[*memoryConn]bool),
		cut:       make(map[string]bool),
		dials:     make(map[string]int),
	}
}

// bubble runs a test with a clock of its own, on a network in memory, until no goroutine is left. It does so on one
// processor: timers of a bubble that fire on two at once crash the race detector (golang/go#78156).
func bubble(t *testing.T, test func(*testing.T, *memory)) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // memberlist's own goroutines sit in a probe for a second more
		test(t, newMemory())
	})
}

// startIn starts a node as start does, on the host that has the node's name.
func (m *memory) startIn(t *testing.T, name string, prepare ...func(*peer.Peer)) *node {
	t.Helper()
	c := config(name)
	c.Listen = name + ":7373"
	c.Network = m.host(name)
	return start(t, c, prepare...)
}

func (m *memory) host(name string) memoryHost { return memoryHost{memory: m, name: name} }

// isolate cuts a host off: connections break, dials hang, packets are lost.
func (m *memory) isolate(host string) {
	m.mu.Lock()
	m.cut[host] = true
	m.mu.Unlock()
	m.breakConns(host)
}

func (m *memory) heal(host string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.cut, host)
}

func (m *memory) breakConns(host string) {
	m.mu.Lock()
	var broken []*memoryConn
	for c := range m.conns {
		if c.local.host == host {
			broken = append(broken, c)
		}
	}
	m.mu.Unlock()
	for _, c := range broken {
		_ = c.Close()
	}
}

func (m *memory) dialed(address string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dials[address]
}

type memoryHost struct {
	memory *memory
	name   string
}

type memoryAddr struct{ host, port string }

func (memoryAddr) Network() string  { return "memory" }
func (a memoryAddr) String() string { return net.JoinHostPort(a.host, a.port) }

func parse(address string) (memoryAddr, error) {
	host, port, err := net.SplitHostPort(address)
	return memoryAddr{host: host, port: port}, err
}

func (h memoryHost) Listen(address string) (net.Listener, error) {
	bound, err := parse(address)
	if err != nil {
		return nil, err
	}
	h.memory.mu.Lock()
	defer h.memory.mu.Unlock()
	if h.memory.listeners[address] != nil {
		return nil, errors.New("address in use")
	}
	l := &memoryListener{memory: h.memory, addr: bound, backlog: make(chan net.Conn, 1024), closed: make(chan struct{})}
	h.memory.listeners[address] = l
	return l, nil
}

func (h memoryHost) Dial(ctx context.Context, address string) (net.Conn, error) {
	to, err := parse(address)
	if err != nil {
		return nil, err
	}
	m := h.memory
	m.mu.Lock()
	m.dials[address]++
	l, cut := m.listeners[address], m.cut[h.name] || m.cut[to.host]
	m.mu.Unlock()
	if cut {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if l == nil {
		return nil, errors.New("connection refused")
	}
	ours, theirs := newPipe(), newPipe()
	client := &memoryConn{memory: m, local: memoryAddr{h.name, "1"}, remote: to, in: ours, out: theirs}
	server := &memoryConn{memory: m, local: to, remote: client.local, in: theirs, out: ours}
	m.mu.Lock()
	m.conns[client], m.conns[server] = true, true
	m.mu.Unlock()
	select {
	case l.backlog <- server:
		return client, nil
	case <-l.closed:
		return nil, errors.New("connection refused")
	}
}

func (h memoryHost) ListenPacket(address string) (net.PacketConn, error) {
	bound, err := parse(address)
	if err != nil {
		return nil, err
	}
	p := &memoryPackets{memory: h.memory, addr: bound, in: make(chan memoryPacket, 64), closed: make(chan struct{})}
	h.memory.mu.Lock()
	defer h.memory.mu.Unlock()
	h.memory.packets[address] = p
	return p, nil
}

type memoryListener struct {
	memory  *memory
	addr    memoryAddr
	backlog chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() {
		l.memory.mu.Lock()
		delete(l.memory.listeners, l.addr.String())
		l.memory.mu.Unlock()
		close(l.closed)
	})
	return nil
}

func (l *memoryListener) Addr() net.Addr { return l.addr }

type memoryConn struct {
	memory        *memory
	local, remote memoryAddr
	in, out       *pipe
}

func (c *memoryConn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *memoryConn) Write(p []byte) (int, error) { return c.out.write(p) }
func (c *memoryConn) LocalAddr() net.Addr         { return c.local }
func (c *memoryConn) RemoteAddr() net.Addr        { return c.remote }

func (c *memoryConn) CloseWrite() error {
	c.out.update(func() { c.out.ended = true })
	return nil
}

func (c *memoryConn) Close() error {
	c.memory.mu.Lock()
	delete(c.memory.conns, c)
	c.memory.mu.Unlock()
	c.in.update(func() { c.in.closed = true })
	return c.CloseWrite()
}

func (c *memoryConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

func (c *memoryConn) SetReadDeadline(t time.Time) error {
	c.in.update(func() { c.in.deadline = t })
	return nil
}

func (c *memoryConn) SetWriteDeadline(time.Time) error { return nil } // a write never waits

// pipe is one direction of a connection, with room for any number of bytes.
type pipe struct {
	mu       sync.Mutex
	changed  chan struct{}
	data     []byte
	ended    bool // by the writer
	closed   bool // by the reader
	deadline time.Time
}

func newPipe() *pipe { return &pipe{changed: make(chan struct{})} }

func (p *pipe) update(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *pipe) write(b []byte) (n int, err error) {
	p.update(func() {
		if p.closed || p.ended {
			err = io.ErrClosedPipe
			return
		}
		p.data = append(p.data, b...)
		n = len(b)
	})
	return n, err
}

func (p *pipe) read(b []byte) (int, error) {
	for {
		p.mu.Lock()
		changed, deadline := p.changed, p.deadline
		n, err := p.take(b)
		p.mu.Unlock()
		if n > 0 || err != nil {
			return n, err
		}
		if deadline.IsZero() {
			<-changed
			continue
		}
		timer := time.NewTimer(time.Until(deadline))
		select {
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (p *pipe) take(b []byte) (int, error) {
	switch {
	case p.closed:
		return 0, net.ErrClosed
	case !p.deadline.IsZero() && !time.Now().Before(p.deadline):
		return 0, os.ErrDeadlineExceeded
	case len(p.data) > 0:
		n := copy(b, p.data)
		p.data = p.data[n:]
		return n, nil
	case p.ended:
		return 0, io.EOF
	default:
		return 0, nil
	}
}

type memoryPacket struct {
	data []byte
	from net.Addr
}

type memoryPackets struct {
	memory *memory
	addr   memoryAddr
	in     chan memoryPacket
	once   sync.Once
	closed chan struct{}
}

func (p *memoryPackets) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case packet := <-p.in:
		return copy(b, packet.data), packet.from, nil
	case <-p.closed:
		return 0, nil, net.ErrClosed
	}
}

func (p *memoryPackets) WriteTo(b []byte, to net.Addr) (int, error) {
	address, err := parse(to.String())
	if err != nil {
		return 0, err
	}
	p.memory.mu.Lock()
	other := p.memory.packets[to.String()]
	cut := p.memory.cut[p.addr.host] || p.memory.cut[address.host]
	p.memory.mu.Unlock()
	if p.memory.sniff != nil {
		p.memory.sniff(b)
	}
	if other == nil || cut || p.memory.losePackets {
		return len(b), nil // lost
	}
	select {
	case other.in <- memoryPacket{data: append([]byte(nil), b...), from: p.addr}:
	default: // lost
	}
	return len(b), nil
}

func (p *memoryPackets) Close() error {
	p.once.Do(func() {
		p.memory.mu.Lock()
		if p.memory.packets[p.addr.String()] == p {
			delete(p.memory.packets, p.addr.String())
		}
		p.memory.mu.Unlock()
		close(p.closed)
	})
	return nil
}

func (p *memoryPackets) LocalAddr() net.Addr              { return p.addr }
func (p *memoryPackets) SetDeadline(time.Time) error      { return nil }
func (p *memoryPackets) SetReadDeadline(time.Time) error  { return nil }
func (p *memoryPackets) SetWriteDeadline(time.Time) error { return nil }
