package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cluster/peer"
)

const (
	reconcileEvery = time.Second
	configTimeout  = 10 * time.Second
	caughtUpLag    = 250 // entries that a node may be behind and still count as caught up
)

// caughtUp is since when each non-voter has kept up. Only the leader's reconcile loop uses it.
type caughtUp struct {
	since map[entry.Incarnation]time.Time
}

// kickReconcile has the loop look at once.
func (n *Node) kickReconcile() {
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// reconcileUntil makes Raft's configuration follow what the replicated state says of the nodes, until
// ctx ends. Every step can be repeated, so a new leader simply goes on.
func (n *Node) reconcileUntil(ctx context.Context, p termProposer) {
	clear(n.caught.since)
	for said := ""; ctx.Err() == nil; {
		err := n.reconcile(ctx, p)
		if err != nil && ctx.Err() == nil && said != err.Error() {
			said = err.Error()
			n.log.Warn("membership is not yet as it should be", "error", err)
		}
		pause(ctx, reconcileEvery, n.kick)
	}
}

func (n *Node) reconcile(ctx context.Context, p termProposer) error {
	if n.config.Roster.ClusterID() == nil {
		if err := n.carry(ctx, p, n.config.Roster.ClusterFormed(n.config.Cluster, clusterID(n.servers()))); err != nil {
			return err
		}
	}
	nodes, err := n.config.Roster.Nodes()
	if err != nil {
		return err
	}
	servers := map[raft.ServerID]raft.Server{}
	for _, s := range n.servers() {
		servers[s.ID] = s
	}
	var errs []error
	for _, node := range nodes {
		server, in := servers[serverID(node.Incarnation)]
		errs = append(errs, n.settle(ctx, p, node, server, in))
	}
	return errors.Join(errs...)
}

// settle takes one node one step towards where the state wants it.
func (n *Node) settle(ctx context.Context, p termProposer, node entry.Node, server raft.Server, in bool) error {
	switch node.State {
	case entry.Dropped:
		if !in {
			return nil
		}
		if err := n.quorumWithout(ctx, node.Incarnation); err != nil && server.Suffrage == raft.Voter {
			return fmt.Errorf("node %s stays a voter for now: %w", node.Name, err)
		}
		return n.removeServer(ctx, node.Incarnation)
	case entry.Retired:
		// Refused as long as copies are recorded there, which is as it should be.
		return n.carry(ctx, p, n.config.Roster.DropNode(node.Incarnation, false, false))
	case entry.Joining, entry.Member, entry.Replica:
	}
	address := serverAddress(node.Incarnation, node.Address)
	switch {
	case !in:
		return n.change(n.raft.AddNonvoter(serverID(node.Incarnation), address, 0, configTimeout))
	case server.Address != address && server.Suffrage == raft.Voter:
		return n.change(n.raft.AddVoter(server.ID, address, 0, configTimeout))
	case server.Address != address:
		return n.change(n.raft.AddNonvoter(server.ID, address, 0, configTimeout))
	case node.State == entry.Joining && server.Suffrage == raft.Voter:
		return n.carry(ctx, p, n.config.Roster.NodeJoined(node.Incarnation))
	case node.State != entry.Replica && server.Suffrage != raft.Voter && n.keepsUp(ctx, server):
		n.log.Info("node has caught up and becomes a voter", "node", node.Name, "incarnation", node.Incarnation.Short())
		defer n.kickReconcile()
		return n.change(n.raft.AddVoter(server.ID, server.Address, 0, configTimeout))
	}
	return nil
}

// keepsUp reports whether a non-voter has kept up for long enough to vote: one that votes and lags
// costs the cluster its tolerance of a failure.
func (n *Node) keepsUp(ctx context.Context, s raft.Server) bool {
	i, err := entry.ParseIncarnation(string(s.ID))
	if err != nil {
		return false
	}
	status, err := n.statusOf(ctx, s)
	if err != nil || status.Fenced != "" || status.Applied+caughtUpLag < n.raft.CommitIndex() {
		delete(n.caught.since, i)
		return false
	}
	since, before := n.caught.since[i]
	if !before {
		n.caught.since[i] = time.Now()
		return false
	}
	return time.Since(since) >= n.config.Timing.Stable
}

// removeServer takes a node out of Raft's configuration. A leader that is to go hands over first.
func (n *Node) removeServer(_ context.Context, i entry.Incarnation) error {
	if i == n.config.Incarnation {
		return n.raft.LeadershipTransfer().Error()
	}
	return n.change(n.raft.RemoveServer(serverID(i), 0, configTimeout))
}

func (n *Node) change(f raft.IndexFuture) error { return f.Error() }

const pathStatus = "/status"

// NodeStatus is what a node says of itself.
type NodeStatus struct {
	Name        string            `json:"name"`
	Incarnation entry.Incarnation `json:"incarnation"`
	Applied     uint64            `json:"applied"`
	Term        uint64            `json:"term"`
	Version     string            `json:"version"`
	Level       uint32            `json:"level"`
	Fenced      string            `json:"fenced,omitempty"`
	Leader      entry.Incarnation `json:"leader"` // whom it takes for the leader; zero if nobody
}

func (n *Node) status() NodeStatus {
	s := NodeStatus{
		Name: n.config.Node, Incarnation: n.config.Incarnation, Applied: n.applied.get(), Term: n.raft.CurrentTerm(),
		Version: n.config.Version, Level: n.config.Level, Fenced: n.config.State.Fenced(),
	}
	if leader, _ := n.raft.LeaderWithID(); leader != "" {
		s.Leader, _, _ = parseAddress(leader) // zero means that nobody is known
	}
	return s
}

func (n *Node) handleStatus(ctx context.Context, _ peer.Caller, _ []byte) ([]byte, error) {
	if err := n.up(ctx); err != nil {
		return nil, coded(err)
	}
	return json.Marshal(n.status())
}

// statusOf asks a node what it says of itself.
func (n *Node) statusOf(ctx context.Context, s raft.Server) (NodeStatus, error) {
	if s.ID == serverID(n.config.Incarnation) {
		return n.status(), nil
	}
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	var status NodeStatus
	answer, err := n.call(ctx, s.Address, pathStatus, nil)
	if err == nil {
		err = json.Unmarshal(answer, &status)
	}
	return status, err
}
