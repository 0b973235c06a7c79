package fsm

import (
	"errors"
	"slices"
)

// GiveUpCopy says that a copy was found bad or gone. Only its holder proposes it, after hashing it again.
// The location is doomed if another is left that somebody still holds; the last is never given up: it
// stays, and the blob is damaged until a push or a repair brings good bytes.
//
// Refused with ErrCopyUnknown if the location is not recorded.
//
// GC R5. Invariants 2 and 5.
type GiveUpCopy struct {
	Store    string   `cbor:"1,keyasint"`
	Digest   Digest   `cbor:"2,keyasint"`
	Location Location `cbor:"3,keyasint"`
}

// CopyGivenUp is the result of GiveUpCopy.
type CopyGivenUp struct {
	Damaged bool `cbor:"1,keyasint,omitempty"` // it was the last: the blob is damaged
}

func (GiveUpCopy) wire() kind { return kind{"give-up-copy", 1} }

func (c GiveUpCopy) check() error { return errors.Join(inStore(c.Store), digested(c.Digest)) }

func (c GiveUpCopy) apply(t *tx) (CopyGivenUp, error) {
	b, _ := t.blob(c.Store, c.Digest)
	at := b.find(c.Location)
	if at < 0 {
		return CopyGivenUp{}, ErrCopyUnknown.with("%s of %s on %s", c.Location.Copy, c.Digest, c.Location.Incarnation)
	}
	m := t.membership()
	others := slices.ContainsFunc(b.Copies, func(r copyRecord) bool { return r.Location != c.Location && m.holds(r.Incarnation) })
	if others {
		t.doomAt(c.Store, &b, at)
	} else {
		b.Damaged = true
	}
	t.saveBlob(c.Store, c.Digest, &b)
	return CopyGivenUp{Damaged: !others}, nil
}
