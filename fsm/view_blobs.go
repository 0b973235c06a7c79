package fsm

import (
	"slices"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// BlobName names a blob: stores do not share them.
type BlobName struct {
	Store  string
	Digest Digest
}

// Blob is a blob of a store, as far as where it is.
type Blob struct {
	BlobName
	Size     int64
	Damaged  bool   // no good copy is known: HEAD says 404, so that a push heals it
	Links    uint64 // records, expired ones too
	Copies   []Copy // as recorded, oldest first
	Counting int    // how many of them count
	Vouched  int    // how many of these were written or hashed again since the last RetireNode
}

// Copy is a recorded location.
type Copy struct {
	Location
	Counts  bool // it is on a member, or in a bucket
	Held    bool // it counts, or its node is leaving: it can still be read
	Vouched bool // it was written or hashed again since the last RetireNode
}

// Blob returns what is recorded of a blob, and whether anything is.
func (v View) Blob(store string, d Digest) (Blob, bool) {
	r, known := v.blob(store, d)
	if !known {
		return Blob{}, false
	}
	m := v.membership()
	b := Blob{
		BlobName: BlobName{store, d}, Size: r.Size, Damaged: !r.usable(m), Links: r.Links,
		Counting: r.counting(m), Vouched: r.vouched(m),
	}
	for _, c := range r.Copies {
		b.Copies = append(b.Copies, Copy{c.Location, m.counts(c.Incarnation), m.holds(c.Incarnation), c.Vouched == m.Retirements})
	}
	return b, true
}

// CopyState says what the state knows of a copy.
type CopyState uint8

// The states of a copy.
const (
	CopyUnknown  CopyState = iota // never recorded, or forgotten: the sweeper's
	CopyRecorded                  // a location of a blob
	CopyDoomed                    // to be removed
)

// Copy returns what the state knows of the copy id in a store of a node, and the digest of one that is
// recorded.
func (v View) Copy(store string, l Location) (CopyState, Digest) {
	key := onNode(l.Incarnation, store, string(l.Copy[:]))
	if d := v.get(recorded, key); d != nil {
		return CopyRecorded, Digest(slices.Clone(d))
	}
	if v.has(doomed, key) {
		return CopyDoomed, ""
	}
	return CopyUnknown, ""
}

// Link is what a repository may know of a blob that it may see.
type Link struct {
	Store      string // where the blob is: not always that of the repository, which may be moving
	Size       int64
	Damaged    bool          // as in Blob
	References uint64        // manifests of the repository that name it
	Left       time.Duration // of the lease, by the state time of the view; 0 if there are references
	Renew      bool          // so little is left that HEAD must renew it before it says 200 (GC R16)
}

// Link returns the link of a repository to a blob.
//
// It fails with ErrBlobUnknown if there is none now.
func (v View) Link(repository string, d Digest) (Link, error) {
	link, recorded := v.link(repository, d)
	now := v.Time()
	n, _ := v.storeNumbersAt(link.Store, now)
	if !recorded || !link.exists(n, now) {
		return Link{}, ErrBlobUnknown.with("%s is not in repository %s", d, repository)
	}
	b, _ := v.blob(link.Store, d)
	// By the shorter delay, if it has been changed: what the longer one leaves ends when that is forgotten.
	certain := time.Duration(link.Since.Add(n.ShortLease) - now)
	return Link{
		Store: link.Store, Size: b.Size, Damaged: !b.usable(v.membership()), References: link.Count,
		Left:  time.Duration(link.left(n, now)),
		Renew: link.Count == 0 && certain < n.ShortLease/2+time.Duration(v.tickAt(now)),
	}, nil
}

// LinkedIn returns repositories that have, or had until lately, a link to a blob, from the one behind
// after on, n at most: for a mount that does not say from where, and to name what a damaged blob breaks.
func (v View) LinkedIn(store string, d Digest, after string, n int) []string {
	prefix := within(store, string(d))
	return v.rest(linked, prefix, after, n)
}

// Expired returns links of a store whose lease has run out, those that began first, n at most.
func (v View) Expired(store string, n int) []LinkName {
	var all []LinkName
	now := v.Time()
	numbers, _ := v.storeNumbersAt(store, now)
	for key := range v.scan(idle, within(store), nil) {
		since, repository, d := cutIdleKey(key)
		if len(all) == n || (linkRecord{Since: since}).exists(numbers, now) {
			break
		}
		all = append(all, LinkName{repository, d})
	}
	return all
}

// Unlinked returns blobs of a store that have no link record, from the one behind after on, n at most.
func (v View) Unlinked(store string, after Digest, n int) []Digest {
	return v.digests(unlinked, within(store), after, n)
}

// Damaged returns blobs of a store that are marked damaged, from the one behind after on, n at most.
func (v View) Damaged(store string, after Digest, n int) []Digest {
	return v.digests(damaged, within(store), after, n)
}

// WithCopies returns blobs of a store that have so many recorded locations, from the one behind after on,
// n at most. Those with fewer than the replicas are below them; others may be, because of locations on
// nodes that do not count: On has these, node by node. Nothing is rewritten when a node's state changes.
func (v View) WithCopies(store string, locations int, after Digest, n int) []Digest {
	return v.digests(copies, copiesKey(store, locations, ""), after, n)
}

// digests lists an index of digests with a prefix.
func (v View) digests(b bucket, prefix []byte, from Digest, n int) []Digest {
	var all []Digest
	for _, d := range v.rest(b, prefix, string(from), n) {
		all = append(all, Digest(d))
	}
	return all
}

// rest lists what follows a prefix in the keys of an index, from the one behind after on, n at most.
func (v View) rest(b bucket, prefix []byte, from string, n int) []string {
	var all []string
	start := prefix
	if from != "" {
		start = beyond(append(slices.Clone(prefix), from...))
	}
	for key := range v.scan(b, prefix, start) {
		if len(all) == n {
			break
		}
		all = append(all, string(key[len(prefix):]))
	}
	return all
}

// distinctIncarnations sorts incarnations and keeps each once.
func distinctIncarnations(all []entry.Incarnation) []entry.Incarnation {
	slices.SortFunc(all, compareIncarnations)
	return slices.Compact(all)
}
