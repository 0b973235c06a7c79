package fsm

import "github.com/seed-16d79997/zot/cluster/entry"

// DropNode ends a retired node: it holds nothing from now on, and never comes back. Raft's
// RemoveServer follows. It changes nothing for a node that is dropped.
//
// In good order (Lost false) the node has no location left: DropCopies has dropped them all. With Lost,
// the disk is gone and nothing is asked, or with UnlessSole only that no blob has its one location
// there. Then all locations of the node end in this very entry, although their records are cleared by
// ClearNode, a bounded number at a time, after it. That is the same thing seen from outside, because
// every rule judges a location by the state of its node when it is applied:
//   - a location on a dropped node counts nowhere and is no source, so W, the replicas and GiveUpCopy
//     (R1, R2, R5, R18) see the blob as it will be when it is cleared (invariants 1 and 5);
//   - a blob that has locations on dropped nodes only is damaged for HEAD, Mount and PutManifest (R9)
//     before ClearNode marks it so (invariant 2);
//   - nothing is doomed on a dropped node, and its doomed entries, which nobody will confirm, are
//     cleared too (R18).
//
// A lost node need not be retired first: it is in the same entry, for if RetireNode were applied and this
// refused, the node would be leaving for good although its disk may come back.
//
// UnlessSole asks the index of sole copies, which counts recorded locations. It would take an uncleared
// location for a second copy, so it is refused while any dropped node has locations left.
//
// Refused with:
//   - ErrNodeUnknown
//   - ErrNodeNotRetired in good order, if RetireNode did not come first
//   - ErrLastMember if no member would be left
//   - ErrNodeHasCopies in good order, while a location is left
//   - ErrSoleCopies with UnlessSole, if an undamaged blob has its one location on the node
//   - ErrNotCleared with UnlessSole, while a dropped node has locations left
//
// GC R18, R19.
type DropNode struct {
	Incarnation entry.Incarnation `cbor:"1,keyasint"`
	Lost        bool              `cbor:"2,keyasint,omitempty"`
	UnlessSole  bool              `cbor:"3,keyasint,omitempty"` // only with Lost
}

func (DropNode) wire() kind { return kind{"drop-node", 1} }

func (c DropNode) check() error { return named(c.Incarnation) }

func (c DropNode) apply(t *tx) (None, error) {
	n, known := t.node(c.Incarnation)
	switch {
	case !known:
		return None{}, ErrNodeUnknown.with("%s", c.Incarnation)
	case n.State == entry.Dropped:
		return None{}, nil
	case n.State != entry.Retired && !c.Lost:
		return None{}, ErrNodeNotRetired.with("%s is %s", n.Name, n.State)
	case n.State == entry.Member && len(t.membership().Members) == 1:
		return None{}, ErrLastMember.with("%s", n.Name)
	}
	if err := c.judge(t, n); err != nil {
		return None{}, err
	}
	if n.State != entry.Retired {
		t.countRetirement()
	}
	n.State = entry.Dropped
	t.saveNode(n)
	return None{}, nil
}

// countRetirement makes all copies that are to be vouched for be written or hashed again (GC R18).
func (t *tx) countRetirement() {
	m := t.membership()
	m.Retirements++
	t.save(meta, keyMembership, m)
}

// judge says what speaks against the end of the node's locations.
func (c DropNode) judge(t *tx, n entry.Node) error {
	if !c.Lost {
		for key := range t.scan(on, c.Incarnation[:], nil) {
			store, d := splitStoreKey(key[len(c.Incarnation):])
			return ErrNodeHasCopies.with("%s has a copy of %s in store %s", n.Name, d, store)
		}
		return nil
	}
	if !c.UnlessSole {
		return nil
	}
	if i, left := t.uncleared(); left {
		return ErrNotCleared.with("node %s was dropped and still has locations", i)
	}
	for key := range t.scan(sole, c.Incarnation[:], nil) {
		store, d := splitStoreKey(key[len(c.Incarnation):])
		return ErrSoleCopies.with("%s has the only copy of %s in store %s", n.Name, d, store)
	}
	return nil
}

// uncleared returns a node that holds nothing any more and still has locations recorded.
func (r reader) uncleared() (entry.Incarnation, bool) {
	for i := range r.incarnationsOf(on) {
		if !r.membership().holds(i) {
			return i, true
		}
	}
	return entry.Incarnation{}, false
}
