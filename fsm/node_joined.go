package fsm

import (
	"errors"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// errNoIncarnation is what check says of a command that must name a node and does not.
var errNoIncarnation = errors.New("no incarnation")

// NodeJoined makes a node a member: from now on it counts in W, and its locations count. The leader
// proposes it after Raft has made the node a voter. It changes nothing for one that is a member.
//
// Refused with:
//   - ErrNodeUnknown if the node never announced itself
//   - ErrNodeRetired or ErrNodeDropped if it is leaving or gone: neither returns
type NodeJoined struct {
	Incarnation entry.Incarnation `cbor:"1,keyasint"`
}

func (NodeJoined) wire() kind { return kind{"node-joined", 1} }

func (c NodeJoined) check() error { return named(c.Incarnation) }

// named is the check of a command that must name a node.
func named(i entry.Incarnation) error {
	if i.IsZero() {
		return errNoIncarnation
	}
	return nil
}

func (c NodeJoined) apply(t *tx) (None, error) {
	n, known := t.node(c.Incarnation)
	switch {
	case !known:
		return None{}, ErrNodeUnknown.with("%s", c.Incarnation)
	case n.State == entry.Retired:
		return None{}, ErrNodeRetired.with("%s", n.Name)
	case n.State == entry.Dropped:
		return None{}, ErrNodeDropped.with("%s", n.Name)
	}
	n.State = entry.Member
	t.saveNode(n)
	return None{}, nil
}
