// Package sim runs whole nodes in one process: real Raft, real state files, real TLS between them, over
// a network in memory that delays, holds back and cuts what the test says.
//
// Start with Cluster. Network can be used alone. Nothing here asserts; the tests that use it do.
package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// maxQueued is how many bytes one direction of a connection holds before its writer waits.
const maxQueued = 1 << 20

// Network connects hosts in memory. Its methods may be called concurrently.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*listener
	links     map[link]fault
	down      map[string]bool
	changed   chan struct{} // closed and replaced at each change of faults; guarded by mu
	conns     map[*conn]bool
}

// link is one direction between two hosts.
type link struct{ from, to string }

// fault is what is wrong with a link.
type fault struct {
	held    bool            // nothing arrives until it is lifted, as with lost packets that TCP repeats
	delay   time.Duration   // everything arrives so much later
	stagger []time.Duration // what is sent next arrives so much later, one after the other; the last stays
	sent    int             // how many of stagger were used
}

// NewNetwork makes a network without faults.
func NewNetwork() *Network {
	return &Network{
		listeners: map[string]*listener{}, links: map[link]fault{}, down: map[string]bool{},
		changed: make(chan struct{}), conns: map[*conn]bool{},
	}
}

// Host is the network as seen by one host; it is a peer.Network.
func (n *Network) Host(name string) *Host { return &Host{n, name} }

// Hold keeps back whatever goes from one host to another, or lets it go.
func (n *Network) Hold(from, to string, hold bool) {
	n.change(func() {
		f := n.links[link{from, to}]
		f.held = hold
		n.links[link{from, to}] = f
	})
}

// Delay makes all that is sent from now on from one host to another arrive later.
func (n *Network) Delay(from, to string, d time.Duration) {
	n.change(func() {
		f := n.links[link{from, to}]
		f.delay = d
		n.links[link{from, to}] = f
	})
}

// Stagger makes what is sent next from one host to another arrive later, each piece by its own delay;
// the last delay stays.
func (n *Network) Stagger(from, to string, delays ...time.Duration) {
	n.change(func() { n.links[link{from, to}] = fault{stagger: delays} })
}

// Staggered is how many pieces were sent since Stagger.
func (n *Network) Staggered(from, to string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.links[link{from, to}].sent
}

// lateness is how late what is sent now is to arrive.
func (n *Network) lateness(l link) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.links[l]
	if len(f.stagger) == 0 {
		return f.delay
	}
	d := f.stagger[min(f.sent, len(f.stagger)-1)]
	f.sent++
	n.links[l] = f
	return d
}

// Heal ends all faults of links.
func (n *Network) Heal() { n.change(func() { clear(n.links) }) }

// Down cuts all connections of a host and refuses new ones, or ends that.
func (n *Network) Down(host string, down bool) {
	n.change(func() {
		n.down[host] = down
		if !down {
			return
		}
		for c := range n.conns {
			if c.local == host || c.remote == host {
				c.reset()
				delete(n.conns, c)
			}
		}
	})
}

func (n *Network) change(do func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	do()
	close(n.changed)
	n.changed = make(chan struct{})
}

// state is whether a link is held now, and what is closed when that changes.
func (n *Network) state(l link) (held bool, changed <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.links[l].held, n.changed
}

// Host is one host of a Network.
type Host struct {
	network *Network
	name    string
}

// Listen listens on an address of this host.
func (h *Host) Listen(address string) (net.Listener, error) {
	l := &listener{host: h, address: address, incoming: make(chan *conn), closed: make(chan struct{})}
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	if h.network.listeners[address] != nil {
		return nil, fmt.Errorf("listen %s: address in use", address)
	}
	h.network.listeners[address] = l
	return l, nil
}

// ListenPacket is not there: gossip is only a hint.
func (h *Host) ListenPacket(string) (net.PacketConn, error) {
	return nil, errors.New("this network has no packets")
}

// Dial connects to an address of another host.
func (h *Host) Dial(ctx context.Context, address string) (net.Conn, error) {
	for {
		near, far, l, changed := h.connect(address)
		switch {
		case l != nil:
			select {
			case l.incoming <- far:
				return near, nil
			case <-l.closed:
				return nil, fmt.Errorf("dial %s: connection refused", address)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		case changed == nil:
			return nil, fmt.Errorf("dial %s: connection refused", address)
		}
		select { // a held link: the first packet is lost until it is lifted
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (h *Host) connect(address string) (near, far *conn, l *listener, changed <-chan struct{}) {
	n := h.network
	n.mu.Lock()
	defer n.mu.Unlock()
	l = n.listeners[address]
	if l == nil || n.down[h.name] || n.down[l.host.name] {
		return nil, nil, nil, nil
	}
	there, back := link{h.name, l.host.name}, link{l.host.name, h.name}
	if n.links[there].held || n.links[back].held {
		return nil, nil, nil, n.changed
	}
	out, in := newHalf(n, there), newHalf(n, back)
	near = &conn{local: h.name, remote: l.host.name, in: in, out: out, network: n}
	far = &conn{local: l.host.name, remote: h.name, in: out, out: in, network: n}
	n.conns[near], n.conns[far] = true, true
	return near, far, l, nil
}

type listener struct {
	host     *Host
	address  string
	incoming chan *conn
	closed   chan struct{}
	once     sync.Once
}

// Accept waits for a connection.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.incoming:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close frees the address.
func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.host.network.mu.Lock()
		delete(l.host.network.listeners, l.address)
		l.host.network.mu.Unlock()
	})
	return nil
}

// Addr is the address.
func (l *listener) Addr() net.Addr { return address(l.address) }

type address string

// Network is for net.Addr.
func (address) Network() string { return "sim" }

// String is for net.Addr.
func (a address) String() string { return string(a) }

// conn is one end of a connection.
type conn struct {
	local, remote string
	in, out       *half
	network       *Network
}

// Read reads what has arrived.
func (c *conn) Read(b []byte) (int, error) { return c.in.read(b) }

// Write sends.
func (c *conn) Write(b []byte) (int, error) { return c.out.write(b) }

// Close ends both directions; what was sent before still arrives.
func (c *conn) Close() error {
	c.out.finish(false)
	c.in.finish(true)
	c.network.mu.Lock()
	delete(c.network.conns, c)
	c.network.mu.Unlock()
	return nil
}

func (c *conn) reset() {
	c.out.finish(true)
	c.in.finish(true)
}

// LocalAddr names this host.
func (c *conn) LocalAddr() net.Addr { return address(c.local) }

// RemoteAddr names the other.
func (c *conn) RemoteAddr() net.Addr { return address(c.remote) }

// SetDeadline bounds reads and writes.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline bounds reads.
func (c *conn) SetReadDeadline(t time.Time) error { c.in.deadline(&c.in.readBy, t); return nil }

// SetWriteDeadline bounds writes.
func (c *conn) SetWriteDeadline(t time.Time) error { c.out.deadline(&c.out.writeBy, t); return nil }

// half is one direction of a connection.
type half struct {
	network *Network
	link    link

	mu      sync.Mutex
	wake    chan struct{} // closed and replaced at each change; guarded by mu
	queue   []segment
	queued  int
	ended   bool // nothing more will be sent
	broken  bool // nothing more can be sent or read
	readBy  time.Time
	writeBy time.Time
}

type segment struct {
	data []byte
	due  time.Time
}

func newHalf(n *Network, l link) *half { return &half{network: n, link: l, wake: make(chan struct{})} }

func (h *half) changed() {
	close(h.wake)
	h.wake = make(chan struct{})
}

func (h *half) finish(broken bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended, h.broken = true, h.broken || broken
	h.changed()
}

func (h *half) deadline(which *time.Time, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*which = t
	h.changed()
}

func (h *half) write(b []byte) (int, error) {
	late := h.network.lateness(h.link)
	for {
		h.mu.Lock()
		switch {
		case h.ended:
			h.mu.Unlock()
			return 0, net.ErrClosed
		case passed(h.writeBy):
			h.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case h.queued < maxQueued:
			h.queue = append(h.queue, segment{append([]byte(nil), b...), time.Now().Add(late)})
			h.queued += len(b)
			h.changed()
			h.mu.Unlock()
			return len(b), nil
		}
		wake, by := h.wake, h.writeBy
		h.mu.Unlock()
		await(by, wake, nil)
	}
}

func (h *half) read(b []byte) (int, error) {
	for {
		held, faults := h.network.state(h.link)
		h.mu.Lock()
		switch {
		case h.broken:
			h.mu.Unlock()
			return 0, net.ErrClosed
		case passed(h.readBy):
			h.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case len(h.queue) > 0 && !held && passed(h.queue[0].due):
			n := h.take(b)
			h.mu.Unlock()
			return n, nil
		case len(h.queue) == 0 && h.ended:
			h.mu.Unlock()
			return 0, io.EOF
		}
		wake, by := h.wake, h.readBy
		if len(h.queue) > 0 && !held && (by.IsZero() || h.queue[0].due.Before(by)) {
			by = h.queue[0].due
		}
		h.mu.Unlock()
		await(by, wake, faults)
	}
}

func (h *half) take(b []byte) int {
	s := &h.queue[0]
	n := copy(b, s.data)
	s.data = s.data[n:]
	h.queued -= n
	if len(s.data) == 0 {
		h.queue = h.queue[1:]
	}
	h.changed()
	return n
}

func passed(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

// await waits until a channel is closed or the time has come; a zero time never comes.
func await(by time.Time, a, b <-chan struct{}) {
	var timer <-chan time.Time
	if !by.IsZero() {
		t := time.NewTimer(time.Until(by))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-a:
	case <-b:
	case <-timer:
	}
}
