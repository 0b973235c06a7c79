package fsm

import (
	"crypto/sha256"
	"fmt"
)

// HashCheck makes every node note the hash of its state as it is when this command begins to be
// applied, and carries the hash that a majority had noted at an earlier check. A node that had noted
// another one is fenced (invariant 7). It is also the entry by which state time moves when nobody
// writes (GC T2).
//
// It is never refused.
type HashCheck struct {
	Index uint64 `cbor:"1,keyasint,omitempty"` // of an earlier HashCheck; 0: nothing to compare
	Sum   []byte `cbor:"2,keyasint,omitempty"` // what a majority noted there
}

func (HashCheck) wire() kind { return kind{"hash-check", 1} }

func (c HashCheck) check() error {
	if (c.Index == 0) != (len(c.Sum) == 0) || len(c.Sum) > sha256.Size {
		return fmt.Errorf("a hash check has both an index and a hash of %d bytes, or neither", sha256.Size)
	}
	return nil
}

func (HashCheck) apply(*tx) (None, error) { return None{}, nil }

// compare does what differs from node to node, beside the replicated state: it notes this node's own
// hash, and fences it if it was another than the majority's.
func (b *batch) compare(c HashCheck) {
	if c.Index != 0 {
		if own, ok := b.tx.noted(c.Index); ok && string(own) != string(c.Sum) {
			b.fence(fmt.Sprintf("state hash at entry %d is %x, but %x on a majority", c.Index, own, c.Sum))
		}
	}
	b.tx.note(b.tx.index)
}
