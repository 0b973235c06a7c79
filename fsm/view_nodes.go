package fsm

import "github.com/seed-16d79997/zot/cluster/entry"

// Nodes returns all nodes that the state knows, dropped ones too, by incarnation.
func (v View) Nodes() []entry.Node {
	var all []entry.Node
	for _, value := range v.scan(nodes, nil, nil) {
		all = append(all, mustDecode[entry.Node](value))
	}
	return all
}

// Node returns one node, and whether the state knows it.
func (v View) Node(i entry.Incarnation) (entry.Node, bool) { return v.node(i) }

// Members is how many members there are: nodes whose copies count.
func (v View) Members() int { return len(v.membership().Members) }

// Retirement numbers the newest RetireNode. Whoever hashes copies again to vouch for them reads it first.
func (v View) Retirement() uint64 { return v.membership().Retirements }

// Need is W of a store: how many durable copies on members a blob must have to be acknowledged.
func (v View) Need(store string) int {
	n, _ := v.storeNumbersAt(store, v.Time())
	return v.membership().need(n)
}

// Uncleared returns the nodes that are gone and still have locations or doomed copies recorded: ClearNode
// is due for each.
func (v View) Uncleared() []entry.Incarnation {
	var all []entry.Incarnation
	m := v.membership()
	for _, b := range []bucket{on, doomed} {
		for i := range v.incarnationsOf(b) {
			if !m.holds(i) {
				all = append(all, i)
			}
		}
	}
	return distinctIncarnations(all)
}

// Held returns what is recorded on a node, in all stores.
func (v View) Held(i entry.Incarnation) (all Held) {
	for _, value := range v.scan(held, i[:], nil) {
		h := mustDecode[Held](value)
		all.Copies += h.Copies
		all.Bytes += h.Bytes
	}
	return all
}

// HeldIn returns what is recorded of a store on a node, or, for the zero incarnation, in its bucket.
func (v View) HeldIn(i entry.Incarnation, store string) Held { return v.held(i, store) }

// On returns blobs that have a location on a node, from the one behind after on, n at most.
func (v View) On(i entry.Incarnation, after BlobName, n int) []BlobName {
	return v.blobsOf(on, i, after, n)
}

// BlobsOn returns blobs of a store that have a location on a node (zero: in a bucket), from the one behind after on, n at
// most. In a bucket a blob has one location, ever, and a store is in a bucket or is not (GC R20): so that its blobs are
// those with one.
func (v View) BlobsOn(store string, i entry.Incarnation, after Digest, n int) []Digest {
	if i.IsZero() {
		return v.WithCopies(store, 1, after, n)
	}
	var all []Digest
	for _, name := range v.On(i, BlobName{store, after}, n) {
		if name.Store != store {
			break // they come store by store
		}
		all = append(all, name.Digest)
	}
	return all
}

// Sole returns the undamaged blobs whose one recorded location is on a node. While a dropped node is not
// cleared, its locations count here too.
func (v View) Sole(i entry.Incarnation, after BlobName, n int) []BlobName {
	return v.blobsOf(sole, i, after, n)
}

func (v View) blobsOf(b bucket, i entry.Incarnation, from BlobName, n int) []BlobName {
	var all []BlobName
	start := i[:]
	if from != (BlobName{}) {
		start = beyond(onNode(i, from.Store, string(from.Digest)))
	}
	for key := range v.scan(b, i[:], start) {
		if len(all) == n {
			break
		}
		store, d := splitStoreKey(key[len(i):])
		all = append(all, BlobName{store, d})
	}
	return all
}

// DoomedCopy is a copy whose file its holder, or in a bucket anybody, removes and confirms.
type DoomedCopy struct {
	Store string
	Copy  CopyID
}

// Doomed returns the doomed copies on a node (zero: in buckets), from the one behind after on, n at most.
func (v View) Doomed(i entry.Incarnation, after DoomedCopy, n int) []DoomedCopy {
	var all []DoomedCopy
	start := i[:]
	if after != (DoomedCopy{}) {
		start = beyond(onNode(i, after.Store, string(after.Copy[:])))
	}
	for key := range v.scan(doomed, i[:], start) {
		if len(all) == n {
			break
		}
		store, id := cutName(key[len(i):])
		all = append(all, DoomedCopy{store, CopyID(id)})
	}
	return all
}
