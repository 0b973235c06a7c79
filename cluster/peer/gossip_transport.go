package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const maxPacket = 64 << 10

var errUnknownNode = errors.New("no address known of this node")

// gossipTransport is memberlist's network: packets over UDP, streams of GossipProtocol. It implements
// memberlist.NodeAwareTransport and sends by name, never by the addresses that memberlist believes in.
type gossipTransport struct {
	gossip  *Gossip
	packets net.PacketConn
	stream  *Stream
	dials   *tracker

	packetsIn chan *memberlist.Packet
	streamsIn chan net.Conn
	done      chan struct{}
	shut      func()
	readers   sync.WaitGroup
}

func newGossipTransport(g *Gossip, packets net.PacketConn) *gossipTransport {
	t := &gossipTransport{
		gossip:    g,
		packets:   packets,
		stream:    g.peer.Stream(GossipProtocol),
		dials:     newTracker(),
		packetsIn: make(chan *memberlist.Packet),
		streamsIn: make(chan net.Conn),
		done:      make(chan struct{}),
	}
	t.shut = sync.OnceFunc(func() {
		close(t.done)
		_ = t.packets.Close()
		_ = t.stream.Close()
	})
	return t
}

// start begins to read; Shutdown waits.
func (t *gossipTransport) start() {
	t.readers.Go(t.readPackets)
	t.readers.Go(t.readStreams)
}

func (t *gossipTransport) readPackets() {
	buffer := make([]byte, maxPacket)
	for {
		n, from, err := t.packets.ReadFrom(buffer)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// An ICMP answer to an earlier packet, or no memory for a moment.
			t.gossip.logger.Debug("gossip packet not read", "error", err)
			if !t.pause(10 * time.Millisecond) {
				return
			}
			continue
		}
		packet := &memberlist.Packet{Buf: append([]byte(nil), buffer[:n]...), From: from, Timestamp: time.Now()}
		select {
		case t.packetsIn <- packet:
		case <-t.done:
			return
		}
	}
}

func (t *gossipTransport) pause(wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.done:
		return false
	}
}

func (t *gossipTransport) readStreams() {
	for {
		accepted, err := t.stream.Accept()
		if err != nil {
			return // closed
		}
		held, ok := t.hold(accepted)
		if !ok {
			return
		}
		select {
		case t.streamsIn <- held:
		case <-t.done:
			_ = held.Close() // nobody reads it
			return
		}
	}
}

// gossipConn is a stream that is closed when the transport is cut.
type gossipConn struct {
	net.Conn
	release func()
}

func (c *gossipConn) Close() error {
	c.release()
	return c.Conn.Close()
}

func (t *gossipTransport) hold(c net.Conn) (net.Conn, bool) {
	release, ok := t.dials.hold(func() { _ = c.Close() })
	if !ok {
		_ = c.Close() // never used
		return nil, false
	}
	return &gossipConn{Conn: c, release: release}, true
}

// cut ends all streams, and dials in progress, so that nothing of memberlist waits for another node.
func (t *gossipTransport) cut() { t.dials.close() }

// FinalAdvertiseAddr is the same for all nodes, see sameAddress.
func (t *gossipTransport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return net.IPv4zero.To4(), 1, nil
}

// WriteToAddress sends a packet to the node of that name. One that is not known yet misses a packet, no more.
func (t *gossipTransport) WriteToAddress(packet []byte, to memberlist.Address) (time.Time, error) {
	address, ok := t.gossip.addressOf(to.Name)
	if !ok {
		return time.Time{}, fmt.Errorf("gossip to %q: %w", to.Name, errUnknownNode)
	}
	_, err := t.packets.WriteTo(packet, packetAddress(address))
	return time.Now(), err
}

// DialAddressTimeout opens a stream to the node of that name, or to an address that missing has put there.
func (t *gossipTransport) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	target := Target{Address: to.Name}
	if address, ok := t.gossip.addressOf(to.Name); ok {
		target = Target{Address: address, Incarnation: to.Name}
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	end, ok := t.dials.begin(cancel)
	if !ok {
		return nil, net.ErrClosed
	}
	defer end()
	dialed, err := t.stream.Dial(ctx, target)
	if err != nil {
		return nil, err
	}
	held, ok := t.hold(dialed)
	if !ok {
		return nil, net.ErrClosed
	}
	return held, nil
}

// WriteTo would need an address that means something; memberlist uses it only for nodes without a name.
func (t *gossipTransport) WriteTo([]byte, string) (time.Time, error) {
	return time.Time{}, errUnknownNode
}

// DialTimeout is not used either, see WriteTo.
func (t *gossipTransport) DialTimeout(string, time.Duration) (net.Conn, error) {
	return nil, errUnknownNode
}

// PacketCh implements memberlist.Transport.
func (t *gossipTransport) PacketCh() <-chan *memberlist.Packet { return t.packetsIn }

// StreamCh implements memberlist.Transport.
func (t *gossipTransport) StreamCh() <-chan net.Conn { return t.streamsIn }

// Shutdown implements memberlist.Transport: when it returns, nothing of the transport runs any more.
func (t *gossipTransport) Shutdown() error {
	t.shut()
	t.cut()
	t.readers.Wait()
	t.dials.wait()
	return nil
}
