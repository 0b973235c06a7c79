package fsm

import (
	"bytes"
	"slices"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// The bounds of one ClearNode: a location is up to seven keys, a doomed entry is one.
const (
	maxClearLocations = 140
	maxClearDoomed    = 900
)

// ClearNode removes what the state still records of a node that was dropped, or that it does not know: its locations
// first, then its doomed entries, which nobody will ever confirm. The leader repeats it until nothing is left. A blob without a location is damaged. What it
// removes counts nowhere since DropNode, which has the reasons.
//
// Refused with ErrNodeNotDropped for a node that is still something.
//
// GC R18, R19. Invariant 2.
type ClearNode struct {
	Incarnation entry.Incarnation `cbor:"1,keyasint"`
}

// NodeCleared is the result of ClearNode.
type NodeCleared struct {
	Locations int  `cbor:"1,keyasint,omitempty"`
	Doomed    int  `cbor:"2,keyasint,omitempty"`
	Left      bool `cbor:"3,keyasint,omitempty"` // there may be more
}

func (ClearNode) wire() kind { return kind{"clear-node", 1} }

func (c ClearNode) check() error { return named(c.Incarnation) }

func (c ClearNode) apply(t *tx) (NodeCleared, error) {
	if c.Incarnation.IsZero() {
		return NodeCleared{}, ErrInvalid
	}
	if n, known := t.node(c.Incarnation); known && n.State != entry.Dropped {
		return NodeCleared{}, ErrNodeNotDropped.with("%s is %s", n.Name, n.State)
	}
	var done NodeCleared
	for _, key := range t.first(on, c.Incarnation[:], maxClearLocations) {
		store, d := splitStoreKey(key[len(c.Incarnation):])
		b, _ := t.blob(store, d)
		if at := b.at(c.Incarnation); at >= 0 {
			b.Copies = slices.Delete(b.Copies, at, at+1)
			b.Damaged = b.Damaged || len(b.Copies) == 0
			t.saveBlob(store, d, &b)
		}
		done.Locations++
	}
	if done.Left = done.Locations == maxClearLocations; done.Left {
		return done, nil
	}
	for _, key := range t.first(doomed, c.Incarnation[:], maxClearDoomed) {
		t.del(doomed, key)
		done.Doomed++
	}
	done.Left = done.Doomed == maxClearDoomed
	return done, nil
}

// first returns copies of the first keys with a prefix, most at most: what a loop may change.
func (r reader) first(b bucket, prefix []byte, most int) [][]byte {
	var keys [][]byte
	for key := range r.scan(b, prefix, nil) {
		if len(keys) == most {
			break
		}
		keys = append(keys, bytes.Clone(key))
	}
	return keys
}
