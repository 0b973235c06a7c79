package fsm

import (
	"errors"
	"fmt"
	"slices"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// maxDrop is how many locations one DropCopies may drop: each is up to six keys.
const maxDrop = 150

// DropCopies drops the locations of a retired node, a step at a time. It passes over a blob that would
// keep fewer than min(writeAcks, members) copies that count and are vouched for: such a copy was written
// or hashed again since the last RetireNode. Files are not doomed: the node goes with them.
//
// Refused with ErrNodeNotRetired.
//
// GC R18. Invariants 1 and 5.
type DropCopies struct {
	Incarnation entry.Incarnation `cbor:"1,keyasint"`
	Store       string            `cbor:"2,keyasint"`
	Digests     []Digest          `cbor:"3,keyasint"`
}

// CopiesDropped is the result of DropCopies.
type CopiesDropped struct {
	Copies int `cbor:"1,keyasint,omitempty"` // the rest was passed over
}

func (DropCopies) wire() kind { return kind{"drop-copies", 1} }

func (c DropCopies) check() error {
	if len(c.Digests) == 0 || len(c.Digests) > maxDrop {
		return fmt.Errorf("%d digests are not 1 to %d", len(c.Digests), maxDrop)
	}
	return errors.Join(named(c.Incarnation), inStore(c.Store))
}

func (c DropCopies) apply(t *tx) (CopiesDropped, error) {
	m := t.membership()
	if !includes(m.Retired, c.Incarnation) {
		return CopiesDropped{}, ErrNodeNotRetired.with("%s", c.Incarnation)
	}
	n, _ := t.storeNumbers(c.Store)
	var done CopiesDropped
	for _, d := range c.Digests {
		b, _ := t.blob(c.Store, d)
		at := b.at(c.Incarnation)
		if at < 0 || b.vouched(m) < m.need(n) {
			continue
		}
		b.Copies = slices.Delete(b.Copies, at, at+1)
		t.saveBlob(c.Store, d, &b)
		done.Copies++
	}
	return done, nil
}
