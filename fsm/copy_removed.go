package fsm

import (
	"fmt"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// CopyRemoved confirms that the files of doomed copies are gone from a store, which had its marker. Their
// entries are deleted; a copy that is not doomed is passed over.
//
// It is never refused. GC R4, R12.
type CopyRemoved struct {
	Incarnation entry.Incarnation `cbor:"1,keyasint"` // zero: of a bucket
	Store       string            `cbor:"2,keyasint"`
	Copies      []CopyID          `cbor:"3,keyasint"`
}

func (CopyRemoved) wire() kind { return kind{"copy-removed", 1} }

func (c CopyRemoved) check() error {
	if len(c.Copies) == 0 || len(c.Copies) > maxCopiesAStep {
		return fmt.Errorf("%d copies are not 1 to %d", len(c.Copies), maxCopiesAStep)
	}
	return inStore(c.Store)
}

func (c CopyRemoved) apply(t *tx) (None, error) {
	for _, id := range c.Copies {
		t.del(doomed, onNode(c.Incarnation, c.Store, string(id[:])))
	}
	return None{}, nil
}
