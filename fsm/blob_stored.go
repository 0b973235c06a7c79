package fsm

import (
	"errors"
	"fmt"
	"slices"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm/oci"
)

// BlobStored records the durable copies of a blob that was uploaded to a store, and makes it visible in its
// repository: the link's lease starts, and the link is one to the blob of this store from now on. All locations on members are recorded, in place of older ones on
// the same node; while more than the replicas count then, an older one is doomed, never one of these, so
// that a push heals.
//
// Stamp is the state time that the uploading node knew, after an index round, before any holder was asked
// to rename its file. A set of copy ids is proposed under one request id, ever (GC R6).
//
// Store is where the bytes are. It becomes the store of a repository that does not exist yet. One that has been moved
// to another while the bytes came takes the blob all the same, and moves it like those that it had before.
//
// Unsummed says that nobody has hashed the copies yet: they are files of an operator's that were linked into a
// store (docs/import.md). This is the one exception to DESIGN 4: one location is enough, for the source beside it
// has the same bytes, and to make W copies first would cost the reading that the link saves. What was not hashed
// must not take anything away from what was: such a copy is recorded only for a blob that has none, else it is
// doomed itself and the repository gets the blob that there is; it does not count as vouched for (GC R18); and it
// does not heal.
//
// Refused with:
//   - ErrStampTooOld if the stamp is older than the window: the files may be swept
//   - ErrTooFewCopies if fewer than min(writeAcks, members) locations on members, or in the store's bucket, are left
//   - ErrBlobSize if the blob is there with another size: one of the two is no size of this digest
//   - ErrQuotaExceeded or ErrTooManyRepositories, unless the repository has the blob already: a push heals, whatever
//     is full
//   - ErrBlobDamaged if the blob is damaged and the copies are unsummed: a push heals it
//
// GC R1, R6. Invariants 1, 2, 4 and 5.
type BlobStored struct {
	Repository string     `cbor:"1,keyasint"`
	Store      string     `cbor:"2,keyasint"`
	Digest     Digest     `cbor:"3,keyasint"`
	Size       int64      `cbor:"4,keyasint"`
	Locations  []Location `cbor:"5,keyasint"`
	Stamp      entry.Time `cbor:"6,keyasint"`
	Unsummed   bool       `cbor:"7,keyasint,omitempty"`
}

func (BlobStored) wire() kind { return kind{"blob-stored", 1} }

func (c BlobStored) check() error {
	switch {
	case len(c.Locations) == 0 || len(c.Locations) > maxLocations:
		return fmt.Errorf("%d locations are not 1 to %d", len(c.Locations), maxLocations)
	case c.Size < 0:
		return fmt.Errorf("size %d", c.Size)
	}
	return errors.Join(oci.ValidateRepository(c.Repository), inStore(c.Store), digested(c.Digest))
}

// inStore is the check of a command that names a store.
func inStore(name string) error {
	if name == "" || len(name) > maxStoreName {
		return fmt.Errorf("a store's name has 1 to %d bytes, not %d", maxStoreName, len(name))
	}
	return nil
}

// digested is the check of a command that names a blob or manifest.
func digested(d Digest) error {
	if d == "" {
		return errNoDigest
	}
	return nil
}

// leaseStore makes retries count in the window of the store: a kept 201 must not outlive the lease.
func (c BlobStored) leaseStore() string { return c.Store }

func (c BlobStored) apply(t *tx) (None, error) {
	if c.Repository == "" || c.Store == "" || c.Digest == "" {
		return None{}, ErrInvalid
	}
	fresh, err := c.judge(t)
	if err != nil {
		return None{}, err
	}
	if err := t.judgeLink(c.Repository, c.Digest, c.Size); err != nil {
		return None{}, err
	}
	if b, known := t.blob(c.Store, c.Digest); c.Unsummed && known {
		if !b.usable(t.membership()) {
			return None{}, ErrBlobDamaged.with("%s has no good copy, and bytes that nobody has hashed do not heal it", c.Digest)
		}
		for _, f := range fresh {
			if b.find(f.Location) < 0 {
				t.doom(c.Store, f.Location)
			}
		}
	} else {
		c.save(t, fresh)
	}
	t.startLease(c.Store, c.Repository, c.Digest)
	return None{}, nil
}

// need is how many copies must be left.
func (c BlobStored) need(m membership, n Numbers) int {
	if c.Unsummed {
		return 1
	}
	return m.need(n)
}

// judge returns the copies that can be recorded, enough of them.
func (c BlobStored) judge(t *tx) ([]copyRecord, error) {
	n, _ := t.storeNumbers(c.Store)
	if err := t.fresh(c.Stamp, n); err != nil {
		return nil, err
	}
	m := t.membership()
	fresh := c.recordable(t, m)
	if need := c.need(m, n); len(fresh) < need {
		return nil, ErrTooFewCopies.with("%d of %d locations are on members, or in the bucket of the store, %d are needed", len(fresh), len(c.Locations), need)
	}
	if b, known := t.blob(c.Store, c.Digest); known && b.Size != c.Size { // what nodes and repositories have was counted by it
		return nil, ErrBlobSize.with("%s has %d bytes, not %d", c.Digest, b.Size, c.Size)
	}
	return fresh, nil
}

// save records what judge returned.
func (c BlobStored) save(t *tx, fresh []copyRecord) {
	n, _ := t.storeNumbers(c.Store)
	b, _ := t.blob(c.Store, c.Digest)
	b.Size, b.Damaged = c.Size, false
	t.record(c.Store, &b, fresh, n.Replicas, t.membership())
	t.saveBlob(c.Store, c.Digest, &b)
}

// fresh refuses a stamp that is older than the window. One in the future was taken before a backup was
// restored: nothing is known of its files.
func (t *tx) fresh(stamp entry.Time, n Numbers) error {
	if age := t.now.Sub(stamp); age < 0 || age > n.Window {
		return ErrStampTooOld.with("%s old, the window is %s", age, n.Window)
	}
	return nil
}

// recordable is what is left of the locations: on members, one each, or in the store's bucket, and never a copy that was
// doomed.
func (c BlobStored) recordable(t *tx, m membership) []copyRecord {
	var fresh []copyRecord
	s, _ := t.store(c.Store)
	vouched := m.Retirements
	if c.Unsummed && vouched > 0 {
		vouched-- // their holder has yet to hash them
	}
	for _, l := range c.Locations {
		twice := slices.ContainsFunc(fresh, func(f copyRecord) bool { return f.Incarnation == l.Incarnation })
		if !twice && m.counts(l.Incarnation) && s.takes(l, c.Stamp) && !t.isSpent(c.Store, l, c.Digest) {
			fresh = append(fresh, copyRecord{l, vouched})
		}
	}
	return fresh
}

// record adds fresh copies to b and dooms what they replace. The caller saves b.
func (t *tx) record(store string, b *blobRecord, fresh []copyRecord, replicas int, m membership) {
	for _, f := range fresh {
		if at := b.at(f.Incarnation); at >= 0 {
			if b.Copies[at].Location == f.Location {
				b.Copies = slices.Delete(b.Copies, at, at+1) // the same copy: it counts as fresh
				continue
			}
			t.doomAt(store, b, at)
		}
	}
	for surplus := b.counting(m) + len(fresh) - replicas; surplus > 0; surplus-- {
		at := slices.IndexFunc(b.Copies, func(c copyRecord) bool { return m.counts(c.Incarnation) })
		if at < 0 {
			break
		}
		t.doomAt(store, b, at)
	}
	b.Copies = append(b.Copies, fresh...)
}
