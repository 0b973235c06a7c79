package fsm

import (
	"errors"
	"fmt"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// VouchCopies says that the holder of copies has hashed them again, and that they are good, after the
// retirement that it names: without that, a node could leave because of copies that have rotten unseen.
// Copies that are not recorded are passed over.
//
// Refused with:
//   - ErrRetirement if another node was retired since the hashing began: it has to be done again
//   - ErrNodeNoMember if the holder's copies do not count anyway
//
// GC R18.
type VouchCopies struct {
	Incarnation entry.Incarnation `cbor:"1,keyasint"`
	Store       string            `cbor:"2,keyasint"`
	Retirement  uint64            `cbor:"3,keyasint"` // the number of the newest, read before the hashing
	Copies      []BlobCopy        `cbor:"4,keyasint"`
}

// BlobCopy names a copy of a blob on a node that is known.
type BlobCopy struct {
	Digest Digest `cbor:"1,keyasint"`
	Copy   CopyID `cbor:"2,keyasint"`
}

// CopiesVouched is the result of VouchCopies.
type CopiesVouched struct {
	Copies int `cbor:"1,keyasint,omitempty"`
}

func (VouchCopies) wire() kind { return kind{"vouch-copies", 1} }

func (c VouchCopies) check() error {
	if len(c.Copies) == 0 || len(c.Copies) > maxCopiesAStep {
		return fmt.Errorf("%d copies are not 1 to %d", len(c.Copies), maxCopiesAStep)
	}
	return errors.Join(named(c.Incarnation), inStore(c.Store))
}

func (c VouchCopies) apply(t *tx) (CopiesVouched, error) {
	m := t.membership()
	switch {
	case c.Incarnation.IsZero() || !m.counts(c.Incarnation):
		return CopiesVouched{}, ErrNodeNoMember.with("%s", c.Incarnation)
	case c.Retirement != m.Retirements:
		return CopiesVouched{}, ErrRetirement.with("retirement %d, the newest is %d", c.Retirement, m.Retirements)
	}
	var done CopiesVouched
	for _, v := range c.Copies {
		b, _ := t.blob(c.Store, v.Digest)
		at := b.find(Location{c.Incarnation, v.Copy})
		if at < 0 {
			continue
		}
		b.Copies[at].Vouched = m.Retirements
		t.saveBlob(c.Store, v.Digest, &b)
		done.Copies++
	}
	return done, nil
}
