package main

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cluster/peer"
	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// seekEvery is how often gossip is told anew whom to look for: names lead elsewhere when nodes move.
const seekEvery = 30 * time.Second

// network is how this node reaches the others.
type network struct {
	peer    *peer.Peer
	gossip  *peer.Gossip
	address string // under which the others reach this node
	seeds   seeds
	hints   atomic.Pointer[map[string]string] // incarnation to address; replaced when gossip changes
}

// openNetwork binds the port between nodes. Others are members beside those of the configuration. The caller runs peer
// and gossip, or calls giveBack.
func openNetwork(ctx context.Context, c config.Cluster, incarnation string, lines [][]byte, log hclog.Logger, others ...string) (*network, error) {
	peerConfig := peer.Config{
		Cluster: c.Name, Node: c.Node, Incarnation: incarnation, Listen: c.Listen,
		Secrets: lines, Logger: log.Named("peer"),
	}
	if c.TLS.Cert != "" {
		cert, pool, err := c.TLS.Load()
		if err != nil {
			return nil, err
		}
		peerConfig.Certificate, peerConfig.CA = cert, pool
	}
	p, err := peer.New(peerConfig)
	if err != nil {
		return nil, err
	}
	g, err := p.NewGossip(peer.GossipConfig{Advertise: c.Advertise, Logger: log.Named("gossip")})
	n := &network{peer: p, gossip: g, address: c.Advertise, seeds: seeds(slices.Concat(c.Members, others))}
	n.hints.Store(&map[string]string{})
	if err != nil {
		return nil, errors.Join(err, n.giveBack(ctx))
	}
	return n, nil
}

// giveBack frees the port of a network that was not run.
func (n *network) giveBack(ctx context.Context) error {
	over, end := context.WithCancel(ctx)
	end()
	var err error
	if n.gossip != nil {
		err = n.gossip.Run(over)
	}
	return errors.Join(err, n.peer.Run(over))
}

// suggest keeps gossip looking for the configured members, and keeps at hand where it has seen nodes.
func (n *network) suggest(ctx context.Context) error {
	seek := time.NewTicker(seekEvery)
	defer seek.Stop()
	n.seek(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-seek.C:
			n.seek(ctx)
		case <-n.gossip.Changed():
			hints := map[string]string{}
			for _, m := range n.gossip.Members() {
				hints[m.Incarnation] = m.Address
			}
			n.hints.Store(&hints)
		}
	}
}

// seek has gossip look for the members. A name that leads nowhere is looked up again the next time.
func (n *network) seek(ctx context.Context) {
	addresses, _ := n.seeds.find(ctx)
	n.gossip.Join(addresses)
}

// seen is where gossip has seen which incarnation; for cluster.Config.Hints.
func (n *network) seen() map[string]string { return *n.hints.Load() }

// seeds are the members of the configuration, and whom else to look for.
type seeds []string

// find returns addresses to ask, and the names that lead nowhere now. Names to look up are looked up
// each time: what they lead to changes.
func (s seeds) find(ctx context.Context) (all, unknown []string) {
	for _, m := range s {
		name, lookUp := strings.CutPrefix(m, config.DNSPrefix)
		if !lookUp {
			all = append(all, m)
			continue
		}
		host, port, err := net.SplitHostPort(name)
		if err != nil {
			continue // the configuration was checked
		}
		found, err := net.DefaultResolver.LookupHost(ctx, host)
		if err != nil {
			unknown = append(unknown, m)
			continue // the next ask looks again
		}
		for _, address := range found {
			all = append(all, net.JoinHostPort(address, port))
		}
	}
	return all, unknown
}
