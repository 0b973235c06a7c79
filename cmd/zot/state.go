package main

import (
	"cmp"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// machine is the replicated state as the cluster drives it.
type machine struct{ *fsm.State }

var (
	_ cluster.StateMachine = machine{}
	_ cluster.Roster       = machine{}
)

// OpenSnapshot opens the whole state for another node. The caller closes the stream.
func (m machine) OpenSnapshot() (entry.Position, int64, cluster.Stream, error) {
	s, err := m.State.OpenSnapshot()
	if err != nil {
		return entry.Position{}, 0, nil, err
	}
	return s.Position(), s.Size(), s, nil
}

// self is what the replicated state says of this node.
type self struct {
	*fsm.State
	incarnation entry.Incarnation
	places      places // of copies, as its configuration has it
}

// Placed returns nil if this node has all stores of the state, and the state has copies go where this node's configuration
// has them.
func (s self) Placed() error {
	return s.View(func(v fsm.View) error { return cmp.Or(s.places.complete(v), s.places.placed(v)) })
}

// Record is this node's record, and whether the state has one: whether the node was ever admitted, and
// has caught up to that moment.
func (s self) Record() (node entry.Node, known bool, err error) {
	err = s.View(func(v fsm.View) error {
		node, known = v.Node(s.incarnation)
		return nil
	})
	return node, known, err
}

// Writable returns nil unless the registry is read-only.
func (s self) Writable() error { return s.View(fsm.View.Writable) }

// Need is how many durable copies a blob of a store must have to be acknowledged.
func (s self) Need(store string) (need int, err error) {
	err = s.View(func(v fsm.View) error {
		need = v.Need(store)
		return nil
	})
	return need, err
}
