package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cluster/peer"
)

const (
	pathJoin   = "/join"
	pathRemove = "/remove"

	codeDenied = "denied"
)

// self is how this node announces itself; its state is the replicated state's to say.
func (n *Node) self() entry.Node {
	c := n.config
	return entry.Node{
		Incarnation: c.Incarnation, Name: c.Node, Address: c.Advertise,
		Zone: c.Zone, Version: c.Version, Level: c.Level, State: entry.Joining,
	}
}

// announce tells the replicated state this node's name, address, zone and level, until it is told.
func (n *Node) announce(ctx context.Context) {
	for said := ""; ctx.Err() == nil; pause(ctx, enterPause, nil) {
		try, cancel := context.WithTimeout(ctx, announceTimeout)
		result, err := n.Propose(try, n.config.Roster.NodeStarted(n.self()))
		cancel()
		if err == nil {
			err = n.config.Roster.Explain(result)
		} else if errors.Is(err, ErrNoLeader) && n.config.Peer != nil {
			// The leader may not know where this node is now, or it was removed while it was away.
			err = errors.Join(err, n.seekLeader(ctx))
		}
		n.waiting.because(err)
		if err == nil {
			close(n.announced)
			return
		}
		if said != err.Error() {
			said = err.Error()
			n.log.Warn("node is not announced yet", "error", err)
		}
	}
}

// announceTimeout is how long a node waits for a leader's call before it looks for the leader itself.
const announceTimeout = 3 * time.Second

// seekLeader asks the nodes named in the configuration to take this one in, at its address of now. It
// returns what speaks against it.
func (n *Node) seekLeader(ctx context.Context) error {
	met, _ := n.hail(ctx)
	for _, other := range met {
		if other.HasState {
			return n.askToJoin(ctx, other)
		}
	}
	return nil
}

// Announced is closed when the replicated state knows this start of this node.
func (n *Node) Announced() <-chan struct{} { return n.announced }

// askToJoin asks a node that has state to take this one in.
func (n *Node) askToJoin(ctx context.Context, other hello) error {
	body, err := json.Marshal(n.self())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	if _, err := n.call(ctx, serverAddress(other.Incarnation, other.Address), pathJoin, body); err != nil {
		return fmt.Errorf("ask %s to join: %w", other.Name, err)
	}
	for !n.hasState() { // the leader's first entries bring the configuration
		if !pause(ctx, 50*time.Millisecond, nil) {
			return fmt.Errorf("%s took this node in, and its leader has not called yet", other.Name)
		}
	}
	return nil
}

// handleJoin takes a node in, on the leader; others pass it on, once.
func (n *Node) handleJoin(ctx context.Context, from peer.Caller, body []byte) ([]byte, error) {
	var node entry.Node
	if err := json.Unmarshal(body, &node); err != nil || node.Incarnation.IsZero() || node.Name == "" || node.Address == "" {
		return nil, &peer.RemoteError{Code: codeUnacceptble, Message: "not the announcement of a node"}
	}
	return n.onLeader(ctx, from, pathJoin, body, func(p termProposer) error { return n.admit(ctx, p, node) })
}

// onLeader runs do here if this node is a ready leader, else passes the call on, unless it was passed
// on already.
func (n *Node) onLeader(ctx context.Context, from peer.Caller, path string, body []byte, do func(termProposer) error) ([]byte, error) {
	if err := n.up(ctx); err != nil {
		return nil, coded(err)
	}
	if t := n.tenures.ready(); t != nil {
		if err := do(termProposer{n, t}); err != nil {
			return nil, denied(err)
		}
		n.kickReconcile()
		return nil, nil
	}
	leader, who := n.raft.LeaderWithID()
	if leader == "" || who == serverID(n.config.Incarnation) || string(who) == from.Incarnation {
		return nil, coded(ErrNoLeader)
	}
	return n.call(ctx, leader, path, body)
}

// denied is coded for what an operator asks: what is not about leadership is a plain no.
func denied(err error) error {
	if errors.Is(err, ErrNotLeader) || errors.Is(err, ErrUnknownOutcome) || errors.Is(err, ErrOverloaded) {
		return coded(err)
	}
	return &peer.RemoteError{Code: codeDenied, Message: err.Error()}
}

// admit lets a node announce itself. One that returns with an empty disk under the name of a node that
// is gone first takes that one's place.
func (n *Node) admit(ctx context.Context, p termProposer, node entry.Node) error {
	nodes, err := n.config.Roster.Nodes()
	if err != nil {
		return err
	}
	for _, old := range nodes {
		gone := old.State == entry.Dropped
		switch {
		case old.Incarnation == node.Incarnation && (gone || old.State == entry.Retired):
			return fmt.Errorf("node %s (%s) was removed: empty its directory to let it join anew", old.Name, old.Incarnation.Short())
		case old.Name == node.Name && old.Incarnation != node.Incarnation && !gone:
			if err := n.replace(ctx, p, old); err != nil {
				return fmt.Errorf("node %s cannot take the place of the one with that name: %w", node.Name, err)
			}
		}
	}
	if err := n.replaceUnknown(ctx, nodes, node); err != nil {
		return err
	}
	return n.carry(ctx, p, n.config.Roster.NodeStarted(node))
}

// replaceUnknown removes a voter that stood at the new node's address and was lost before it had ever
// announced itself: nothing is recorded of it, so only Raft knows it.
func (n *Node) replaceUnknown(ctx context.Context, known []entry.Node, node entry.Node) error {
	for _, s := range n.servers() {
		i, address, err := parseAddress(s.Address)
		recorded := slices.ContainsFunc(known, func(k entry.Node) bool { return k.Incarnation == i })
		if err != nil || recorded || i == node.Incarnation || address != node.Address {
			continue
		}
		lost := entry.Node{Incarnation: i, Name: node.Name}
		if err := errors.Join(n.gone(lost), n.quorumWithout(ctx, i)); err != nil {
			return fmt.Errorf("a node that never announced itself has the address %s: %w", address, err)
		}
		if err := n.removeServer(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// replace removes a node whose disk is gone. Each step is judged again where it is applied, and a
// crash between two is gone on with when the node asks again.
func (n *Node) replace(ctx context.Context, p termProposer, old entry.Node) error {
	if err := n.gone(old); err != nil {
		return err
	}
	if err := n.quorumWithout(ctx, old.Incarnation); err != nil {
		return err
	}
	if err := n.carry(ctx, p, n.config.Roster.DropNode(old.Incarnation, true, true)); err != nil {
		return fmt.Errorf("%w; bring its disk back, or give it up with 'zot cluster remove %s --lost'", err, old.Name)
	}
	return n.removeServer(ctx, old.Incarnation)
}

// carry proposes a command of the roster in the tenure's term; a refusal is an error.
func (n *Node) carry(ctx context.Context, p termProposer, payload []byte) error {
	result, err := p.Propose(ctx, payload)
	if err != nil {
		return err
	}
	return n.config.Roster.Explain(result)
}

// removal is what an operator asks for.
type removal struct {
	Name string `json:"name"` // or the beginning of an incarnation
	Lost bool   `json:"lost"` // its disk is gone: nothing can be copied from it
}

// Remove takes the named node out of the cluster, from any node: its copies no longer count, and when
// none is recorded on it any more it is no member. With lost nothing is waited for.
//
// It fails if a quorum would not remain, if the node is alive and lost was said, and if the replicated
// state refuses.
func (n *Node) Remove(ctx context.Context, name string, lost bool) error {
	ctx, cancel := withDeadline(ctx, proposeTimeout)
	defer cancel()
	body, err := json.Marshal(removal{name, lost})
	if err != nil {
		return err
	}
	return untilLed(ctx, func() error {
		_, err := n.handleRemove(ctx, peer.Caller{}, body)
		return err
	})
}

// untilLed repeats what an operator asks for while no leader is found, until ctx ends: somebody who
// types a command does not care that an election is on.
func untilLed(ctx context.Context, do func() error) error {
	for {
		err := do()
		var r *peer.RemoteError
		missing := errors.Is(err, ErrNoLeader) || isNotSent(err) || errors.As(err, &r) && r.Code == codeNotLeader
		if !missing || !pause(ctx, 50*time.Millisecond, nil) {
			return err
		}
	}
}

func (n *Node) handleRemove(ctx context.Context, from peer.Caller, body []byte) ([]byte, error) {
	var r removal
	if err := json.Unmarshal(body, &r); err != nil || r.Name == "" {
		return nil, &peer.RemoteError{Code: codeUnacceptble, Message: "not a request to remove a node"}
	}
	return n.onLeader(ctx, from, pathRemove, body, func(p termProposer) error { return n.retire(ctx, p, r) })
}

func (n *Node) retire(ctx context.Context, p termProposer, r removal) error {
	node, err := n.find(r.Name)
	if err != nil {
		return err
	}
	if r.Lost {
		if err := n.gone(node); err != nil {
			return fmt.Errorf("%w: stop it first, or remove it without --lost", err)
		}
	}
	if err := n.quorumWithout(ctx, node.Incarnation); err != nil {
		return err
	}
	switch {
	case node.State == 0: // it never announced itself: there is nothing to retire
		if err := n.gone(node); err != nil {
			return err
		}
		return n.removeServer(ctx, node.Incarnation)
	case !r.Lost:
		return n.carry(ctx, p, n.config.Roster.RetireNode(node.Incarnation))
	}
	return n.carry(ctx, p, n.config.Roster.DropNode(node.Incarnation, true, false))
}

// unannounced is a server of Raft's, by the beginning of its incarnation, that the state knows nothing of.
func (n *Node) unannounced(known []entry.Node, prefix string) (entry.Incarnation, bool) {
	for _, s := range n.servers() {
		i, err := entry.ParseIncarnation(string(s.ID))
		recorded := slices.ContainsFunc(known, func(k entry.Node) bool { return k.Incarnation == i })
		if err == nil && !recorded && len(prefix) >= 8 && strings.HasPrefix(string(s.ID), prefix) {
			return i, true
		}
	}
	return entry.Incarnation{}, false
}

// find returns the one node with that name, or whose incarnation begins so, that is not gone.
func (n *Node) find(name string) (entry.Node, error) {
	nodes, err := n.config.Roster.Nodes()
	if err != nil {
		return entry.Node{}, err
	}
	var found []entry.Node
	for _, node := range nodes {
		if node.State != entry.Dropped && (node.Name == name || len(name) >= 8 && strings.HasPrefix(node.Incarnation.String(), name)) {
			found = append(found, node)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		if i, ok := n.unannounced(nodes, name); ok {
			return entry.Node{Incarnation: i, Name: name}, nil
		}
		return entry.Node{}, fmt.Errorf("no node is named %q", name)
	default:
		return entry.Node{}, fmt.Errorf("%d nodes are named %q: name one by the first 8 digits of its incarnation", len(found), name)
	}
}
