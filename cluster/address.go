package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cluster/peer"
)

// serverID is a node's Raft id. It is the incarnation, so a node that lost its disk is another server
// and can neither vote nor be counted as the one that it was.
func serverID(i entry.Incarnation) raft.ServerID { return raft.ServerID(i.String()) }

// serverAddress is a node's Raft address. Raft remembers votes by address, so it names the incarnation.
func serverAddress(i entry.Incarnation, address string) raft.ServerAddress {
	return raft.ServerAddress(i.String() + "@" + address)
}

// parseAddress is the inverse of serverAddress.
func parseAddress(a raft.ServerAddress) (entry.Incarnation, string, error) {
	who, where, ok := strings.Cut(string(a), "@")
	if !ok {
		return entry.Incarnation{}, "", fmt.Errorf("server address %q names no incarnation", a)
	}
	i, err := entry.ParseIncarnation(who)
	return i, where, err
}

// targets lists where the node behind a server address may be found: where Raft says, and where gossip
// has seen it. Who answers proves its incarnation, so a wrong hint costs an attempt and nothing else.
func (n *Node) targets(a raft.ServerAddress) ([]peer.Target, error) {
	i, where, err := parseAddress(a)
	if err != nil {
		return nil, err
	}
	all := []peer.Target{{Address: where, Incarnation: i.String()}}
	if n.config.Hints != nil {
		if hint := n.config.Hints()[i.String()]; hint != "" && hint != where {
			all = append(all, peer.Target{Address: hint, Incarnation: i.String()})
		}
	}
	return all, nil
}

// call asks the node behind a server address.
func (n *Node) call(ctx context.Context, a raft.ServerAddress, path string, body []byte) ([]byte, error) {
	targets, err := n.targets(a)
	if err != nil {
		return nil, err
	}
	var answer []byte
	for _, target := range targets {
		if answer, err = n.config.Peer.Call(ctx, target, path, body); !isNotSent(err) {
			break
		}
	}
	return answer, err
}

// streams is the Raft stream between nodes, as the Raft library wants it. It can end all that was
// dialed: the library waits for its calls when it shuts down, and a call to a silent node lasts as long
// as its timeout.
type streams struct {
	*peer.Stream
	node *Node

	mu     sync.Mutex
	dialed map[net.Conn]bool // open ones; nil once all were ended; guarded by mu
	ended  chan struct{}     // closed when no more may be dialed
}

func newStreams(n *Node) *streams {
	return &streams{
		Stream: n.config.Peer.Stream(peer.RaftProtocol), node: n,
		dialed: map[net.Conn]bool{}, ended: make(chan struct{}),
	}
}

// Addr is the address that others know this node by.
func (s *streams) Addr() net.Addr { return advertised(s.node.local) }

// Dial connects to another node.
func (s *streams) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	targets, err := s.node.targets(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout) // Raft has no context to give
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() { // ends with this call
		select {
		case <-s.ended:
			cancel()
		case <-stop:
		}
	}()
	var conn net.Conn
	for i, target := range targets {
		each, done := context.WithTimeout(ctx, timeout/time.Duration(len(targets)-i))
		conn, err = s.Stream.Dial(each, target)
		done()
		if err == nil {
			return s.keep(conn)
		}
	}
	return nil, err
}

func (s *streams) keep(conn net.Conn) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dialed == nil {
		return nil, errors.Join(errStopping, conn.Close())
	}
	s.dialed[conn] = true
	return &kept{conn, s}, nil
}

// endAll closes what was dialed and lets nothing more be.
func (s *streams) endAll() {
	s.mu.Lock()
	all := s.dialed
	s.dialed = nil
	s.mu.Unlock()
	if all == nil {
		return
	}
	close(s.ended)
	for conn := range all {
		conn.Close() //nolint:errcheck // nobody listens any more
	}
}

// kept is a dialed connection that its streams know of.
type kept struct {
	net.Conn
	streams *streams
}

// Close closes the connection.
func (k *kept) Close() error {
	k.streams.mu.Lock()
	delete(k.streams.dialed, k.Conn)
	k.streams.mu.Unlock()
	return k.Conn.Close()
}

type advertised raft.ServerAddress

// Network is for net.Addr.
func (advertised) Network() string { return "tcp" }

// String is for net.Addr.
func (a advertised) String() string { return string(a) }

// transportBeneath is the network, or for a cluster of one a transport that leads nowhere; and what
// ends the calls that are under way.
func (n *Node) transportBeneath() (beneath under, endCalls func()) {
	if n.config.Peer == nil {
		_, t := raft.NewInmemTransport(n.local)
		return t, func() {}
	}
	s := newStreams(n)
	t := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:  s,
		MaxPool: 3,
		// No pipelining: a pipeline that is full when a newer term is heard of blocks its sender for ever
		// (nobody reads answers any more, and only the sender would close it), so the old leader's
		// heartbeats go on and a shutdown never ends. Batches make up for it.
		MaxRPCsInFlight: 1,
		Timeout:         10 * time.Second,
		Logger:          n.log.Named("raft-net"),
	})
	t.TimeoutScale = 64 << 20 // a snapshot may take a second per 6 MiB, not per 25 KiB
	return t, s.endAll
}
