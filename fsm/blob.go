package fsm

import (
	"encoding/hex"
	"slices"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// CopyID names one copy of a blob's bytes for ever: random, drawn by the node that writes it, in the
// file's name or the S3 key. New bytes of the same digest have another.
type CopyID [16]byte

// String is 32 hexadecimal digits.
func (c CopyID) String() string { return hex.EncodeToString(c[:]) }

// Location is where a copy lies: the incarnation is zero for one in a bucket.
type Location struct {
	Incarnation entry.Incarnation `cbor:"1,keyasint"`
	Copy        CopyID            `cbor:"2,keyasint"`
}

// The bounds of what commands carry about copies.
const (
	maxLocations   = 64  // of one upload
	maxCopiesAStep = 300 // vouched for, dropped or confirmed by one command
)

// blobRecord is a blob of a store.
type blobRecord struct {
	Size    int64        `cbor:"1,keyasint"`
	Copies  []copyRecord `cbor:"2,keyasint,omitempty"` // at most one an incarnation, oldest first
	Damaged bool         `cbor:"3,keyasint,omitempty"` // its last copy was found bad, or there is none
	Links   uint64       `cbor:"4,keyasint,omitempty"` // link records that name it, expired ones too
}

// copyRecord is a recorded location.
type copyRecord struct {
	Location
	// Vouched is how many RetireNode there had been when the copy was recorded, or last hashed again.
	Vouched uint64 `cbor:"3,keyasint,omitempty"`
}

func (r reader) blob(store string, d Digest) (blobRecord, bool) {
	return load[blobRecord](r, blobs, within(store, string(d)))
}

// saveBlob sets the record of a blob, or removes it (nil), with its places in the indexes.
func (t *tx) saveBlob(store string, d Digest, b *blobRecord) {
	key := within(store, string(d))
	var before, after []indexKey
	var now blobRecord
	old, had := t.blob(store, d)
	if had {
		before = old.indexes(store, d)
	}
	if b == nil {
		t.del(blobs, key)
	} else {
		t.save(blobs, key, *b)
		now, after = *b, b.indexes(store, d)
	}
	t.reindex(before, after)
	t.recountHeld(store, old, now)
}

// recountHeld counts what a changed record has put on nodes, or taken from them.
func (t *tx) recountHeld(store string, before, after blobRecord) {
	for _, c := range before.Copies {
		if after.at(c.Incarnation) < 0 {
			h := t.held(c.Incarnation, store)
			t.saveHeld(c.Incarnation, store, Held{h.Copies - 1, h.Bytes - before.Size})
		}
	}
	for _, c := range after.Copies {
		if before.at(c.Incarnation) < 0 {
			h := t.held(c.Incarnation, store)
			t.saveHeld(c.Incarnation, store, Held{h.Copies + 1, h.Bytes + after.Size})
		}
	}
}

// Held is how many copies are recorded on a node, or in a bucket, and how many bytes they have.
type Held struct {
	Copies int64 `cbor:"1,keyasint" json:"copies"`
	Bytes  int64 `cbor:"2,keyasint" json:"bytes"`
}

func (r reader) held(i entry.Incarnation, store string) Held {
	h, _ := load[Held](r, held, onNode(i, store, ""))
	return h
}

func (t *tx) saveHeld(i entry.Incarnation, store string, h Held) {
	if h == (Held{}) {
		t.del(held, onNode(i, store, ""))
	} else {
		t.save(held, onNode(i, store, ""), h)
	}
}

// indexes lists where a blob stands beside its own record.
func (b blobRecord) indexes(store string, d Digest) []indexKey {
	key := string(within(store, string(d)))
	n := len(b.Copies)
	all := []indexKey{{bucket: copies, key: string(copiesKey(store, n, d))}}
	for _, c := range b.Copies {
		all = append(all, indexKey{recorded, string(onNode(c.Incarnation, store, string(c.Copy[:]))), string(d)})
		if c.Incarnation.IsZero() {
			continue
		}
		place := string(onNode(c.Incarnation, store, string(d)))
		all = append(all, indexKey{bucket: on, key: place})
		if n == 1 && !b.Damaged {
			all = append(all, indexKey{bucket: sole, key: place})
		}
	}
	if b.Damaged {
		all = append(all, indexKey{bucket: damaged, key: key})
	}
	if b.Links == 0 {
		all = append(all, indexKey{bucket: unlinked, key: key})
	}
	return all
}

// copiesKey is where a blob with n recorded locations stands.
func copiesKey(store string, n int, d Digest) []byte {
	n = min(n, 1<<16-1)
	return within(store, string([]byte{byte(n >> 8), byte(n)}), string(d)) //nolint:gosec // two bytes
}

// at returns the place of the copy on an incarnation, -1 if there is none.
func (b blobRecord) at(i entry.Incarnation) int {
	return slices.IndexFunc(b.Copies, func(c copyRecord) bool { return c.Incarnation == i })
}

// find returns the place of a location, -1 if it is not recorded.
func (b blobRecord) find(l Location) int {
	return slices.IndexFunc(b.Copies, func(c copyRecord) bool { return c.Location == l })
}

// counting is how many copies count.
func (b blobRecord) counting(m membership) (n int) {
	for _, c := range b.Copies {
		if m.counts(c.Incarnation) {
			n++
		}
	}
	return n
}

// vouched is how many copies count and were written or hashed again since the last RetireNode.
func (b blobRecord) vouched(m membership) (n int) {
	for _, c := range b.Copies {
		if m.counts(c.Incarnation) && c.Vouched == m.Retirements {
			n++
		}
	}
	return n
}

// usable reports whether the blob may be relied upon: not damaged, and somebody holds it (GC R9). A
// node may have been dropped whose locations are not cleared yet.
func (b blobRecord) usable(m membership) bool {
	return !b.Damaged && slices.ContainsFunc(b.Copies, func(c copyRecord) bool { return m.holds(c.Incarnation) })
}

// doom makes a copy one that its holder, or in a bucket anybody, removes. Nobody removes what is on a
// node that is gone.
func (t *tx) doom(store string, l Location) {
	if t.membership().holds(l.Incarnation) {
		t.put(doomed, onNode(l.Incarnation, store, string(l.Copy[:])), nil)
	}
}

// isSpent reports whether a copy may not be recorded for a blob: it is doomed and may be gone, or it is
// another blob's.
func (r reader) isSpent(store string, l Location, d Digest) bool {
	key := onNode(l.Incarnation, store, string(l.Copy[:]))
	other := r.get(recorded, key)
	return r.has(doomed, key) || other != nil && Digest(other) != d
}

// doomAt takes the copy at a place out of b and dooms it. The caller saves b.
func (t *tx) doomAt(store string, b *blobRecord, at int) {
	t.doom(store, b.Copies[at].Location)
	b.Copies = slices.Delete(b.Copies, at, at+1)
}
