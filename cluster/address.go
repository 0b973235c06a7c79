package cluster

import (
	"context"
	"fmt"
	"net"
	"strings"
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

// streams is the Raft stream between nodes, as the Raft library wants it.
type streams struct {
	*peer.Stream
	node *Node
}

// Addr is the address that others know this node by.
func (s streams) Addr() net.Addr { return advertised(s.node.local) }

// Dial connects to another node.
func (s streams) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	targets, err := s.node.targets(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout) // Raft has no context to give
	defer cancel()
	var conn net.Conn
	for i, target := range targets {
		each, done := context.WithTimeout(ctx, timeout/time.Duration(len(targets)-i))
		conn, err = s.Stream.Dial(each, target)
		done()
		if err == nil {
			return conn, nil
		}
	}
	return nil, err
}

type advertised raft.ServerAddress

// Network is for net.Addr.
func (advertised) Network() string { return "tcp" }

// String is for net.Addr.
func (a advertised) String() string { return string(a) }

// transportBeneath is the network, or for a cluster of one a transport that leads nowhere.
func (n *Node) transportBeneath() (under, error) {
	if n.config.Peer == nil {
		_, t := raft.NewInmemTransport(n.local)
		return t, nil
	}
	t := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:  streams{n.config.Peer.Stream(peer.RaftProtocol), n},
		MaxPool: 3,
		Timeout: 10 * time.Second,
		Logger:  n.log.Named("raft-net"),
	})
	t.TimeoutScale = 64 << 20 // a snapshot may take a second per 6 MiB, not per 25 KiB
	return t, nil
}
