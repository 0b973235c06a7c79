package peer

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Network is what the package needs of the operating system; tests put faults beneath it. All methods may be called
// concurrently.
type Network interface {
	// Listen binds a stream listener. Its Accept returns an error that is net.ErrClosed only after Close.
	Listen(address string) (net.Listener, error)
	// ListenPacket binds a packet connection, at the same address and port as a stream listener. Its WriteTo takes
	// any net.Addr whose String is host:port, where the host may be a name: nodes are known by names that last, and
	// it is the network that knows where a name leads today.
	ListenPacket(address string) (net.PacketConn, error)
	// Dial opens a stream to host:port, where the host may be a name. ctx bounds the dialing only.
	Dial(ctx context.Context, address string) (net.Conn, error)
}

// SystemNetwork is TCP and UDP of the operating system. Dead peers of idle TCP connections are noticed by keep-alive
// within half a minute.
func SystemNetwork() Network { return systemNetwork{} }

type systemNetwork struct{}

func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}
}

func (systemNetwork) Listen(address string) (net.Listener, error) {
	config := net.ListenConfig{KeepAliveConfig: keepAlive()}
	return config.Listen(context.Background(), "tcp", address) // binding does not wait for anybody
}

func (systemNetwork) Dial(ctx context.Context, address string) (net.Conn, error) {
	config := net.Dialer{KeepAliveConfig: keepAlive()}
	return config.DialContext(ctx, "tcp", address)
}

func (systemNetwork) ListenPacket(address string) (net.PacketConn, error) {
	var config net.ListenConfig
	packets, err := config.ListenPacket(context.Background(), "udp", address)
	if err != nil {
		return nil, err
	}
	return &namedPackets{PacketConn: packets, lookup: lookup, known: make(map[string]resolved)}, nil
}

const (
	resolveTimeout = time.Second      // a packet that has to wait longer is as good as lost
	resolveAge     = 10 * time.Second // for so long a name is not asked for again, also when it was not found
)

// namedPackets sends to host names. It remembers where they lead for a while, as a lookup for each packet would be a
// load on the name server, and keeps to the old address while a name cannot be found.
type namedPackets struct {
	net.PacketConn
	lookup func(address string) (net.Addr, error)

	mu    sync.Mutex
	known map[string]resolved
}

type resolved struct {
	address net.Addr // nil: never found
	err     error    // of the last lookup
	until   time.Time
}

func (n *namedPackets) WriteTo(packet []byte, to net.Addr) (int, error) {
	if _, ok := to.(*net.UDPAddr); !ok {
		var err error
		if to, err = n.resolve(to.String()); err != nil {
			return 0, err
		}
	}
	return n.PacketConn.WriteTo(packet, to)
}

func (n *namedPackets) resolve(address string) (net.Addr, error) {
	if literal, err := netip.ParseAddrPort(address); err == nil {
		return net.UDPAddrFromAddrPort(literal), nil
	}
	n.mu.Lock()
	entry := n.known[address]
	n.mu.Unlock()
	if now := time.Now(); now.After(entry.until) {
		found, err := n.lookup(address)
		if err == nil {
			entry.address = found
		}
		entry.err, entry.until = err, now.Add(resolveAge)
		n.mu.Lock()
		n.known[address] = entry
		n.mu.Unlock()
	}
	if entry.address == nil {
		return nil, fmt.Errorf("resolve %s: %w", address, entry.err)
	}
	return entry.address, nil
}

// lookup prefers IPv4, as net.ResolveUDPAddr does: a socket on 0.0.0.0 cannot send to anything else.
func lookup(address string) (net.Addr, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return nil, err
	}
	best := addresses[0]
	for _, a := range addresses {
		if a.Unmap().Is4() {
			best = a.Unmap()
			break
		}
	}
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(best, uint16(number))), nil //nolint:gosec // a port
}

// packetAddress is a host:port to send packets to.
type packetAddress string

func (packetAddress) Network() string  { return "udp" }
func (a packetAddress) String() string { return string(a) }
