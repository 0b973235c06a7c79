package fsm

import (
	"errors"
	"fmt"
)

// The bounds of one CollectBlobs.
const (
	maxCollect  = 100
	collectKeys = 900 // what is over them is passed over, and collected another time
)

// CollectBlobs removes garbage: links whose lease has run out, and blobs without any link. The collector
// finds the former in the order in which leases started, the latter in an index of their own. Everything
// is judged again now: a link that was renewed stays, and with it the blob. The copies of a blob that goes
// are doomed; new bytes of its digest have other copy ids, so an upload need not wait.
//
// A blob counts its link records, and each record of an expired link is removed here, by name. So it is
// known without a search that a blob has no link, however many repositories had one.
//
// It is never refused: what is no garbage is passed over.
//
// GC R3. Invariants 2 and 4.
type CollectBlobs struct {
	Store   string     `cbor:"1,keyasint"`
	Links   []LinkName `cbor:"2,keyasint,omitempty"` // whose lease seems to have run out; their blobs go with the last
	Digests []Digest   `cbor:"3,keyasint,omitempty"` // of blobs that seem to have no link
}

// LinkName names a link.
type LinkName struct {
	Repository string `cbor:"1,keyasint"`
	Digest     Digest `cbor:"2,keyasint"`
}

// BlobsCollected is the result of CollectBlobs.
type BlobsCollected struct {
	Links  int   `cbor:"1,keyasint,omitempty"` // removed
	Blobs  int   `cbor:"2,keyasint,omitempty"` // removed
	Copies int   `cbor:"3,keyasint,omitempty"` // that these had
	Bytes  int64 `cbor:"4,keyasint,omitempty"` // of all these copies
}

func (CollectBlobs) wire() kind { return kind{"collect-blobs", 1} }

func (c CollectBlobs) check() error {
	if n := len(c.Links) + len(c.Digests); n == 0 || n > maxCollect {
		return fmt.Errorf("%d links and digests are not 1 to %d", n, maxCollect)
	}
	errs := []error{inStore(c.Store)}
	for _, l := range c.Links {
		errs = append(errs, digested(l.Digest))
	}
	for _, d := range c.Digests {
		errs = append(errs, digested(d))
	}
	return errors.Join(errs...)
}

func (c CollectBlobs) apply(t *tx) (BlobsCollected, error) {
	var done BlobsCollected
	n, _ := t.storeNumbers(c.Store)
	left := collectKeys
	for _, l := range c.Links {
		if t.expired(c.Store, l, n) && t.afford(&left, c.Store, l.Digest) {
			t.saveLink(l.Repository, l.Digest, nil)
			done.Links++
			t.collect(c.Store, l.Digest, &done)
		}
	}
	for _, d := range c.Digests {
		if t.afford(&left, c.Store, d) {
			t.collect(c.Store, d, &done)
		}
	}
	return done, nil
}

// expired reports whether there is the record of a link in a store that does not exist any more.
func (t *tx) expired(store string, l LinkName, n Numbers) bool {
	link, recorded := t.link(l.Repository, l.Digest)
	return recorded && link.Store == store && !link.exists(n, t.now)
}

// afford takes what the end of a blob may touch off what is left, if it is enough.
func (t *tx) afford(left *int, store string, d Digest) bool {
	b, _ := t.blob(store, d)
	cost := 9 + 4*len(b.Copies)
	if cost > *left {
		return false
	}
	*left -= cost
	return true
}

// collect removes a blob that has no link record, and dooms its copies.
func (t *tx) collect(store string, d Digest, done *BlobsCollected) {
	b, known := t.blob(store, d)
	if !known || b.Links > 0 {
		return
	}
	t.saveBlob(store, d, nil)
	for _, c := range b.Copies {
		t.doom(store, c.Location)
	}
	done.Blobs++
	done.Copies += len(b.Copies)
	done.Bytes += int64(len(b.Copies)) * b.Size
}
