package fsm

import (
	"errors"
	"slices"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// AddCopy records the copy of a blob that repair has made, and says what became of it. On a full record,
// or if the node has a copy already, the new one is doomed instead; on a full record Instead may name a
// counting location, on a node that is away or to be emptied, which is then doomed in its place: the new
// copy has just been verified, so there are never fewer true ones than before. A copy that is recorded
// heals a damaged blob. Stamp is as in BlobStored.
//
// Refused with:
//   - ErrStampTooOld: the file may be swept
//   - ErrNodeNoMember if the location is not on a member
//   - ErrStoreElsewhere if copies of the store are elsewhere, or were when it was made
//   - ErrBlobUnknown if the blob has no record: it may have been collected meanwhile
//   - ErrCopySpent if this very copy is doomed, or is another blob's
//
// GC R2. Invariants 4 and 5.
type AddCopy struct {
	Store    string     `cbor:"1,keyasint"`
	Digest   Digest     `cbor:"2,keyasint"`
	Location Location   `cbor:"3,keyasint"`
	Stamp    entry.Time `cbor:"4,keyasint"`
	Instead  *Location  `cbor:"5,keyasint,omitempty"`
}

// CopyAdded is the result of AddCopy.
type CopyAdded struct {
	Recorded bool `cbor:"1,keyasint,omitempty"` // else the new copy is doomed
}

func (AddCopy) wire() kind { return kind{"add-copy", 1} }

func (c AddCopy) check() error { return errors.Join(inStore(c.Store), digested(c.Digest)) }

func (c AddCopy) apply(t *tx) (CopyAdded, error) {
	n, _ := t.storeNumbers(c.Store)
	m := t.membership()
	b, known := t.blob(c.Store, c.Digest)
	if err := c.judge(t, n, m, known); err != nil {
		return CopyAdded{}, err
	}
	if b.find(c.Location) >= 0 {
		return CopyAdded{Recorded: true}, nil
	}
	full := b.counting(m) >= n.Replicas
	if b.at(c.Location.Incarnation) >= 0 || full && !c.replace(t, &b, m) {
		t.doom(c.Store, c.Location)
		return CopyAdded{}, nil
	}
	b.Damaged = false
	b.Copies = append(b.Copies, copyRecord{c.Location, m.Retirements})
	t.saveBlob(c.Store, c.Digest, &b)
	return CopyAdded{Recorded: true}, nil
}

func (c AddCopy) judge(t *tx, n Numbers, m membership, known bool) error {
	if err := t.fresh(c.Stamp, n); err != nil {
		return err
	}
	s, _ := t.store(c.Store)
	switch {
	case !m.counts(c.Location.Incarnation):
		return ErrNodeNoMember.with("%s", c.Location.Incarnation)
	case !s.takes(c.Location, c.Stamp):
		return ErrStoreElsewhere.with("copies of store %s are %s", c.Store, s.Place)
	case !known:
		return ErrBlobUnknown.with("%s in store %s", c.Digest, c.Store)
	case t.isSpent(c.Store, c.Location, c.Digest):
		return ErrCopySpent.with("%s on %s", c.Location.Copy, c.Location.Incarnation)
	}
	return nil
}

// replace dooms the counting location that the new copy is there for, if there is such a one.
func (c AddCopy) replace(t *tx, b *blobRecord, m membership) bool {
	if c.Instead == nil {
		return false
	}
	at := slices.IndexFunc(b.Copies, func(r copyRecord) bool { return r.Location == *c.Instead && m.counts(r.Incarnation) })
	if at >= 0 {
		t.doomAt(c.Store, b, at)
	}
	return at >= 0
}
