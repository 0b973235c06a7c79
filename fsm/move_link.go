package fsm

import (
	"errors"
	"fmt"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm/oci"
)

// MoveLink makes the link of a repository that is moving one to the blob of its store, and no longer to that of the
// store it was in. Count and lease go with it; the blob that it leaves is garbage when it was the last.
//
// Locations are copies that were made in the store of the bytes from the other, recorded like those of an upload
// (BlobStored): with a stamp, under one request id, ever. Without any, the store must have the blob already. A link whose
// lease has run out is not moved but removed, locations or not: nobody relies on it, and the move does not wait for the
// collector of a store that it leaves, where the blob is garbage.
//
// Refused with:
//   - ErrBlobUnknown if there is no such link, or there are no locations and the store does not have the blob
//   - ErrWrongStore if the link is not to the blob of From (it may have come over by a push), or the repository is not to be in To
//   - ErrTooFewCopies if fewer locations than BlobStored needs are left, or there are none and the store has fewer good copies than
//     that: those of the other store must not become garbage for them
//   - ErrStampTooOld: as BlobStored
//   - ErrBlobSize if the blob has another size in From than it is to have in To
//
// GC R1, R6, R7, R9. Invariants 1, 2, 3, 4 and 5.
type MoveLink struct {
	Repository string     `cbor:"1,keyasint"`
	Digest     Digest     `cbor:"2,keyasint"`
	From       string     `cbor:"3,keyasint"`
	To         string     `cbor:"4,keyasint"`
	Size       int64      `cbor:"5,keyasint,omitempty"` // of the blob, if there are locations
	Locations  []Location `cbor:"6,keyasint,omitempty"`
	Stamp      entry.Time `cbor:"7,keyasint,omitempty"`
}

func (MoveLink) wire() kind { return kind{"move-link", 1} }

func (c MoveLink) check() error {
	switch {
	case len(c.Locations) > maxLocations:
		return fmt.Errorf("%d locations are more than %d", len(c.Locations), maxLocations)
	case c.Size < 0:
		return fmt.Errorf("size %d", c.Size)
	case c.From == c.To:
		return fmt.Errorf("from store %s to the same", c.From)
	}
	return errors.Join(oci.ValidateRepository(c.Repository), inStore(c.From), inStore(c.To), digested(c.Digest))
}

// leaseStore makes retries count in the window of the store that has the copies, as those of BlobStored.
func (c MoveLink) leaseStore() string { return c.To }

func (c MoveLink) apply(t *tx) (None, error) {
	link, err := c.judge(t)
	if err != nil {
		return None{}, err
	}
	if n, _ := t.storeNumbers(link.Store); !link.exists(n, t.now) {
		t.saveLink(c.Repository, c.Digest, nil)
		return None{}, nil
	}
	b, _ := t.blob(c.From, c.Digest)
	if len(c.Locations) > 0 {
		if b.Size != c.Size {
			return None{}, ErrBlobSize.with("%s has %d bytes in store %s, not %d", c.Digest, b.Size, c.From, c.Size)
		}
		copies := BlobStored{Store: c.To, Digest: c.Digest, Size: c.Size, Locations: c.Locations, Stamp: c.Stamp}
		fresh, err := copies.judge(t)
		if err != nil {
			return None{}, err
		}
		copies.save(t, fresh)
	} else if err := c.judgeTarget(t, b.Size); err != nil {
		return None{}, err
	}
	t.moveLink(c.Repository, c.Digest, link, c.To)
	return None{}, nil
}

// judge returns the link that is to move.
func (c MoveLink) judge(t *tx) (linkRecord, error) {
	link, recorded := t.link(c.Repository, c.Digest)
	if !recorded {
		return linkRecord{}, ErrBlobUnknown.with("%s is not in repository %s", c.Digest, c.Repository)
	}
	if link.Store != c.From {
		return linkRecord{}, ErrWrongStore.with("%s of repository %s is in store %s, not in %s", c.Digest, c.Repository, link.Store, c.From)
	}
	if store := t.storeOf(c.Repository, ""); store != c.To {
		return linkRecord{}, ErrWrongStore.with("repository %s is in store %s, not in %s", c.Repository, store, c.To)
	}
	return link, nil
}

// judgeTarget refuses if the store has too few good copies of the blob.
func (c MoveLink) judgeTarget(t *tx, size int64) error {
	b, known := t.blob(c.To, c.Digest)
	switch {
	case !known:
		return ErrBlobUnknown.with("%s in store %s", c.Digest, c.To)
	case b.Size != size:
		return ErrBlobSize.with("%s has %d bytes in store %s, and %d in %s", c.Digest, size, c.From, b.Size, c.To)
	}
	n, _ := t.storeNumbers(c.To)
	m := t.membership()
	if have, need := b.counting(m), m.need(n); b.Damaged || have < need {
		return ErrTooFewCopies.with("store %s has %d copies of %s, damaged: %t; %d good ones are needed", c.To, have, c.Digest, b.Damaged, need)
	}
	return nil
}
