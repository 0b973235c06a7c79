package fsm

import (
	"bytes"
	"slices"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// membership is what every command about copies asks of the nodes, in one record, so that its cost
// does not grow with the nodes that ever were. saveNode keeps it.
type membership struct {
	Members []entry.Incarnation `cbor:"1,keyasint,omitempty"` // in order
	Retired []entry.Incarnation `cbor:"2,keyasint,omitempty"` // in order

	// Retirements counts the RetireNode that were applied. A copy is vouched for while it was written
	// or hashed again since the last one (GC R18).
	Retirements uint64 `cbor:"3,keyasint,omitempty"`

	Draining []entry.Incarnation `cbor:"4,keyasint,omitempty"` // members that are to be emptied, in order
}

// keyMembership is where the membership lies in meta.
var keyMembership = []byte("membership") //nolint:gochecknoglobals // a constant

func (r reader) membership() membership {
	m, _ := load[membership](r, meta, keyMembership)
	return m
}

// counts reports whether a location on i counts in W and as one of the replicas. What lies in a
// bucket (no incarnation) always does (GC R20).
func (m membership) counts(i entry.Incarnation) bool { return i.IsZero() || includes(m.Members, i) }

// holds reports whether what lies on i can still be read and given up: it counts, or i is leaving.
func (m membership) holds(i entry.Incarnation) bool { return m.counts(i) || includes(m.Retired, i) }

// need is W: how many counting copies a blob of a store must have to be acknowledged.
func (m membership) need(n Numbers) int { return max(1, min(n.WriteAcks, len(m.Members))) }

func compareIncarnations(a, b entry.Incarnation) int { return bytes.Compare(a[:], b[:]) }

func includes(sorted []entry.Incarnation, i entry.Incarnation) bool {
	_, found := slices.BinarySearchFunc(sorted, i, compareIncarnations)
	return found
}

// with returns sorted with or without i.
func with(sorted []entry.Incarnation, i entry.Incarnation, present bool) []entry.Incarnation {
	at, found := slices.BinarySearchFunc(sorted, i, compareIncarnations)
	switch {
	case found && !present:
		return slices.Delete(slices.Clone(sorted), at, at+1)
	case !found && present:
		return slices.Insert(slices.Clone(sorted), at, i)
	default:
		return sorted
	}
}

// node returns the record of a node, and whether there is one.
func (r reader) node(i entry.Incarnation) (entry.Node, bool) {
	return load[entry.Node](r, nodes, i[:])
}

// saveNode sets the record of a node and its place in the membership. Locations are not touched:
// whether one counts is judged by the node's state when it is asked, so that a change of membership
// costs the same however many blobs there are.
func (t *tx) saveNode(n entry.Node) {
	t.save(nodes, n.Incarnation[:], n)
	t.noteLevels()
	t.place(n.Incarnation, n.State)
}

func (t *tx) place(i entry.Incarnation, state entry.NodeState) {
	m := t.membership()
	m.Members = with(m.Members, i, state == entry.Member)
	m.Retired = with(m.Retired, i, state == entry.Retired)
	m.Draining = with(m.Draining, i, state == entry.Member && includes(m.Draining, i))
	t.save(meta, keyMembership, m)
}
