package fsm

import "github.com/seed-16d79997/zot/cluster/entry"

// RetireNode takes a node out of placement for good: its locations no longer count, so repair copies
// them away, and no new ones are recorded on it (GC R17). From here on a copy is vouched for only if
// it is written or hashed again. It changes nothing for a node that is retired.
//
// Refused with:
//   - ErrNodeUnknown, ErrNodeDropped
//   - ErrLastMember if no member would be left. Sole copies are no reason: then nobody would ever
//     make the second copy
type RetireNode struct {
	Incarnation entry.Incarnation `cbor:"1,keyasint"`
}

func (RetireNode) wire() kind { return kind{"retire-node", 1} }

func (c RetireNode) check() error { return named(c.Incarnation) }

func (c RetireNode) apply(t *tx) (None, error) {
	n, known := t.node(c.Incarnation)
	m := t.membership()
	switch {
	case !known:
		return None{}, ErrNodeUnknown.with("%s", c.Incarnation)
	case n.State == entry.Dropped:
		return None{}, ErrNodeDropped.with("%s", n.Name)
	case n.State == entry.Retired:
		return None{}, nil
	case n.State == entry.Member && len(m.Members) == 1:
		return None{}, ErrLastMember.with("%s", n.Name)
	}
	t.countRetirement()
	n.State = entry.Retired
	t.saveNode(n)
	return None{}, nil
}
