package fsm

import (
	"fmt"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// The longest strings of a node's record, in bytes.
const (
	maxNodeName    = 255
	maxNodeAddress = 300
	maxNodeWord    = 128 // zone, version
)

// NodeStarted announces a node: its name, address, zone, version and highest feature level. A node
// proposes it at each start, and when one of these changes.
//
// A node that the state does not know becomes joining, or a replica if that is what Node.State says; one
// that is neither member nor retired changes between the two. Members and retired nodes stay what they
// are: their state changes by commands of its own.
//
// Refused with:
//   - ErrNodeDropped if the node was dropped: it never comes back under this incarnation
//   - ErrLevelTooLow if it does not know the feature level of the cluster
//   - ErrNotCleared if the state does not know it and yet records copies on it: nobody looked after
//     them, so ClearNode comes first
type NodeStarted struct {
	Node entry.Node `cbor:"1,keyasint"`
}

func (NodeStarted) wire() kind { return kind{"node-started", 1} }

func (c NodeStarted) check() error {
	n := c.Node
	switch {
	case n.Incarnation.IsZero():
		return fmt.Errorf("a node without an incarnation")
	case n.Name == "" || len(n.Name) > maxNodeName:
		return fmt.Errorf("a node's name has 1 to %d bytes, not %d", maxNodeName, len(n.Name))
	case len(n.Address) > maxNodeAddress || len(n.Zone) > maxNodeWord || len(n.Version) > maxNodeWord:
		return fmt.Errorf("address, zone or version of node %q is too long", n.Name)
	}
	return nil
}

func (c NodeStarted) apply(t *tx) (None, error) {
	if c.Node.Incarnation.IsZero() {
		return None{}, ErrInvalid
	}
	if level := t.level(); c.Node.Level < level {
		return None{}, ErrLevelTooLow.with("node %s knows level %d, the cluster has %d", c.Node.Name, c.Node.Level, level)
	}
	old, known := t.node(c.Node.Incarnation)
	if !known && (len(t.first(on, c.Node.Incarnation[:], 1)) > 0 || len(t.first(doomed, c.Node.Incarnation[:], 1)) > 0) {
		return None{}, ErrNotCleared.with("%s", c.Node.Incarnation)
	}
	next := c.Node
	switch old.State {
	case entry.Dropped:
		return None{}, ErrNodeDropped.with("%s", c.Node.Incarnation)
	case entry.Member, entry.Retired:
		next.State = old.State
	default:
		if next.State != entry.Replica {
			next.State = entry.Joining
		}
	}
	t.saveNode(next)
	return None{}, nil
}
