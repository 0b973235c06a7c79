package fsm

import (
	"slices"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// DrainNode marks a member as one to be emptied, or with Undo as one like the others: it goes on to be a
// member and counts as before, and so do its copies, until the leader has moved each to another node. It
// changes nothing for one that is marked so already.
//
// The mark binds no other command: who places copies passes the node over as long as others can take them,
// so that a push does not fail for it.
//
// Refused with:
//   - ErrNodeUnknown
//   - ErrNodeNoMember if it is no member: one that is leaving is emptied anyway
//   - ErrTooFewNodes if so few members are left that some store has more replicas: their copies could
//     not go anywhere
type DrainNode struct {
	Incarnation entry.Incarnation `cbor:"1,keyasint"`
	Undo        bool              `cbor:"2,keyasint,omitempty"`
}

func (DrainNode) wire() kind { return kind{"drain-node", 1} }

func (c DrainNode) check() error { return named(c.Incarnation) }

func (c DrainNode) apply(t *tx) (None, error) {
	n, known := t.node(c.Incarnation)
	m := t.membership()
	switch {
	case !known:
		return None{}, ErrNodeUnknown.with("%s", c.Incarnation)
	case n.State != entry.Member:
		return None{}, ErrNodeNoMember.with("%s is %s", n.Name, n.State)
	case includes(m.Draining, c.Incarnation) != c.Undo:
		return None{}, nil
	}
	if left := len(m.Members) - len(m.Draining) - 1; !c.Undo {
		for name, value := range t.scan(stores, nil, nil) {
			if r := mustDecode[storeRecord](value).Replicas; r > left {
				return None{}, ErrTooFewNodes.with("nodes left for copies: %d, replicas of store %s: %d", left, name, r)
			}
		}
	}
	m.Draining = with(m.Draining, c.Incarnation, !c.Undo)
	t.save(meta, keyMembership, m)
	return None{}, nil
}

// Draining returns the members that are to be emptied, in order.
func (v View) Draining() []entry.Incarnation { return slices.Clone(v.membership().Draining) }
