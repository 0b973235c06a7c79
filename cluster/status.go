package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cluster/peer"
)

const (
	pathClusterStatus = "/cluster-status"
	statusTimeout     = time.Second // for one node's answer; who takes longer counts as not answering
)

// Status is the cluster as its leader sees it; as this node sees it, while there is no leader.
type Status struct {
	Leader           string         `json:"leader"` // name; "" if there is none
	Term             uint64         `json:"term"`
	FailureTolerance int            `json:"failureTolerance"` // how many of the voters that are alive may still fail
	Members          []MemberStatus `json:"members"`
}

// MemberStatus is one node of a Status. What only the node itself or the leader could tell is nil if
// they did not.
type MemberStatus struct {
	Name               string            `json:"name"`
	Incarnation        entry.Incarnation `json:"incarnation"`
	Address            string            `json:"address"`
	Zone               string            `json:"zone"`
	State              string            `json:"state"`
	Voter              bool              `json:"voter"`
	Applied            *uint64           `json:"applied"`
	Lag                *uint64           `json:"lag"` // entries that are committed and not applied there
	LastContactSeconds *float64          `json:"lastContactSeconds"`
	Version            string            `json:"version"`
	Level              uint32            `json:"level"`
}

// Status says how the cluster is, from any node: it asks the leader if there is one, and looks for
// itself if not.
//
// It fails if the node is starting or closed, and if the replicated state cannot be read.
func (n *Node) Status(ctx context.Context) (Status, error) {
	if err := n.up(ctx); err != nil {
		return Status{}, err
	}
	leader, who := n.raft.LeaderWithID()
	if leader != "" && who != serverID(n.config.Incarnation) && n.config.Peer != nil {
		ask, cancel := context.WithTimeout(ctx, 2*statusTimeout)
		defer cancel()
		var s Status
		if answer, err := n.call(ask, leader, pathClusterStatus, nil); err == nil && json.Unmarshal(answer, &s) == nil {
			return s, nil
		}
	}
	return n.look(ctx)
}

func (n *Node) handleClusterStatus(ctx context.Context, _ peer.Caller, _ []byte) ([]byte, error) {
	if err := n.up(ctx); err != nil {
		return nil, coded(err)
	}
	if n.raft.State() != raft.Leader {
		return nil, coded(ErrNotLeader)
	}
	s, err := n.look(ctx)
	if err != nil {
		return nil, err
	}
	return json.Marshal(s)
}

// look asks every node of the configuration, and joins what they say with what the state says of them.
func (n *Node) look(ctx context.Context) (Status, error) {
	known, err := n.config.Roster.Nodes()
	if err != nil {
		return Status{}, err
	}
	servers := n.servers()
	answers := n.askAll(ctx, servers)
	s := Status{Term: n.raft.CurrentTerm(), Members: []MemberStatus{}}
	_, leader := n.raft.LeaderWithID()
	voters, alive := 0, 0
	for _, node := range everyone(known, servers) {
		server, in := serverOf(servers, node.Incarnation)
		m := n.member(node, in && server.Suffrage == raft.Voter, answers[node.Incarnation])
		if serverID(node.Incarnation) == leader {
			s.Leader = m.Name
		}
		if m.Voter {
			voters++
			if m.Applied != nil && m.LastContactSeconds != nil && *m.LastContactSeconds < n.config.Timing.Live.Seconds() {
				alive++
			}
		}
		s.Members = append(s.Members, m)
	}
	s.FailureTolerance = max(alive-(voters/2+1), 0)
	slices.SortFunc(s.Members, func(a, b MemberStatus) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Incarnation.String(), b.Incarnation.String()))
	})
	return s, nil
}

// everyone is who the state says belongs to the cluster, and whom only Raft knows yet.
func everyone(known []entry.Node, servers []raft.Server) []entry.Node {
	var all []entry.Node
	seen := map[entry.Incarnation]bool{}
	for _, node := range known {
		if _, in := serverOf(servers, node.Incarnation); in || node.State != entry.Dropped {
			all = append(all, node)
		}
		seen[node.Incarnation] = true
	}
	for _, server := range servers {
		if i, address, err := parseAddress(server.Address); err == nil && !seen[i] {
			all = append(all, entry.Node{Incarnation: i, Address: address, State: entry.Joining})
		}
	}
	return all
}

func serverOf(servers []raft.Server, i entry.Incarnation) (raft.Server, bool) {
	at := slices.IndexFunc(servers, func(s raft.Server) bool { return s.ID == serverID(i) })
	if at < 0 {
		return raft.Server{}, false
	}
	return servers[at], true
}

// member is one line of a Status; answer is nil if the node gave none.
func (n *Node) member(node entry.Node, voter bool, answer *NodeStatus) MemberStatus {
	m := MemberStatus{
		Name: node.Name, Incarnation: node.Incarnation, Address: node.Address, Zone: node.Zone,
		State: node.State.String(), Voter: voter, Version: node.Version, Level: node.Level,
	}
	if answer != nil {
		if m.Name == "" {
			m.Name, m.Version, m.Level = answer.Name, answer.Version, answer.Level
		}
		lag := uint64(0)
		if commit := n.raft.CommitIndex(); commit > answer.Applied {
			lag = commit - answer.Applied
		}
		m.Applied, m.Lag = &answer.Applied, &lag
	}
	if ago, ok := n.lastContact(node.Incarnation); ok && (n.raft.State() == raft.Leader || ago == 0) {
		seconds := ago.Seconds()
		m.LastContactSeconds = &seconds
	}
	return m
}

// askAll asks all servers at once what they say of themselves; those that do not answer are left out.
func (n *Node) askAll(ctx context.Context, servers []raft.Server) map[entry.Incarnation]*NodeStatus {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	answers := make(chan *NodeStatus, len(servers))
	for _, server := range servers {
		n.spawn(func() { answers <- n.statusIfAny(ctx, server) }, func() { answers <- nil })
	}
	all := map[entry.Incarnation]*NodeStatus{}
	for range servers {
		if answer := <-answers; answer != nil {
			all[answer.Incarnation] = answer
		}
	}
	return all
}

func (n *Node) statusIfAny(ctx context.Context, server raft.Server) *NodeStatus {
	if n.config.Peer == nil && server.ID != serverID(n.config.Incarnation) {
		return nil // a cluster of one that once was more has no way to ask
	}
	status, err := n.statusOf(ctx, server)
	if err != nil {
		return nil
	}
	return &status
}

// waiting is why this node is not part of a cluster yet.
type waiting struct {
	mu     sync.Mutex
	reason string
}

// because notes why; nil if nothing is waited for.
func (w *waiting) because(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reason = ""
	if err != nil {
		w.reason = err.Error()
	}
}

// Waiting is what kept this node from becoming part of a cluster, or from announcing its start there,
// when it tried last; "" if nothing did.
func (n *Node) Waiting() string {
	n.waiting.mu.Lock()
	defer n.waiting.mu.Unlock()
	return n.waiting.reason
}
