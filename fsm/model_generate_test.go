package fsm_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"pgregory.net/rapid"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// universe is the few names of a run, so that commands meet.
type universe struct {
	nodes        []entry.Incarnation
	stores       []string
	repositories []string
	prefixes     []string // of repositories, in order
	tags         []string
	blobs        []fsm.Digest
	manifests    []fsm.PutManifest // without repository, store and tags
	digests      []fsm.Digest      // all of them
	delays       []time.Duration
}

// bucketStore is the store of the universe that is in a bucket to begin with: its copies have no incarnation.
const bucketStore = "s3"

var theBucket = fsm.Place{Bucket: "blobs", Endpoint: "s3:9000", Root: "zot"} //nolint:gochecknoglobals // a constant

func newUniverse(r *rand.Rand) *universe {
	u := &universe{
		stores:       []string{"default", "disk", bucketStore},
		repositories: []string{"a", "a-b", "a/b", "c"},
		prefixes:     []string{"", "a", "a-b", "a/b", "b", "c"},
		tags:         []string{"1", "1-a", "1.0", "latest"},
		delays:       []time.Duration{0, 4 * time.Second, 6 * time.Second, 20 * time.Second},
	}
	if between(r, 0, 3) == 0 {
		u.delays = []time.Duration{16 * time.Minute, time.Hour, 2 * time.Hour}
	}
	for n := byte(1); n <= 6; n++ {
		u.nodes = append(u.nodes, node(n))
	}
	for i := range 5 {
		u.blobs = append(u.blobs, dig(fmt.Sprint("blob ", i)))
	}
	if long, err := fsm.Pack(digest.SHA512.FromString("long")); err == nil {
		u.blobs = append(u.blobs, long)
	}
	for i := range 6 {
		u.addManifest(r, i)
	}
	slices.Sort(u.digests)
	return u
}

// addManifest makes up the i-th manifest: what it names follows from its digest, as in life.
func (u *universe) addManifest(r *rand.Rand, i int) {
	text := fmt.Sprint("manifest ", i)
	c := fsm.PutManifest{Digest: dig(text), Size: int64(len(text)), Body: []byte(text), MediaType: "m"}
	c.Blobs = some(r, u.blobs)
	c.Optional = some(r, u.blobs)
	for _, child := range some(r, u.manifests) {
		c.Manifests = append(c.Manifests, child.Digest)
	}
	c.ArtifactType = pick(r, []string{"", "k1", "k2"})
	if i > 0 && chance(r, 50) {
		c.Subject = dig(fmt.Sprint("manifest ", between(r, 0, 5)))
	}
	if chance(r, 25) {
		c.Body = nil // it is large
		u.blobs = append(u.blobs, c.Digest)
	}
	u.manifests = append(u.manifests, c)
	u.digests = []fsm.Digest{}
	for _, m := range u.manifests {
		u.digests = append(u.digests, m.Digest)
	}
	for _, b := range u.blobs {
		if !slices.Contains(u.digests, b) {
			u.digests = append(u.digests, b)
		}
	}
}

// drawn is a source of choices that rapid can repeat, and shrink by leaving out the steps that drew one.
// rapid's own integers are mostly small, so that some choices would hardly ever be made; three together
// are as good as even.
func drawn(t *rapid.T) *rand.Rand {
	word := rapid.Uint64()
	return rand.New(rand.NewPCG(word.Draw(t, "a"), word.Draw(t, "b")*0x9e3779b97f4a7c15^word.Draw(t, "c")))
}

func between(r *rand.Rand, low, high int) int { return low + r.IntN(high-low+1) }

func pick[T any](r *rand.Rand, all []T) T { return all[r.IntN(len(all))] }

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

// some is up to two of all.
func some[T any](r *rand.Rand, all []T) []T {
	var chosen []T
	for range r.IntN(3) {
		if len(all) > 0 {
			chosen = append(chosen, pick(r, all))
		}
	}
	return chosen
}

// generator makes up entries. It looks at the model so that many commands have an effect.
type generator struct {
	t      *rapid.T
	r      *rand.Rand // of the entry that is made up
	u      *universe
	m      *model
	serial uint64 // of copies and requests
	term   uint64
	clock  entry.Time
	date   int64
	past   []request
}

// request is an operation that was proposed under an id.
type request struct {
	op operation
	id entry.RequestID
}

// next makes up the next entry, and what it must do.
func (g *generator) next(index uint64) (entry.Entry, operation) {
	g.r = drawn(g.t)
	if chance(g.r, 2) {
		g.term++
	}
	e := entry.Entry{Index: index, Term: g.term, Kind: entry.Command}
	if chance(g.r, 2) {
		e.Kind, e.Payload = entry.Configuration, []byte(fmt.Sprint("configuration ", index))
		return e, operation{name: "configuration"}
	}
	e.Envelope = g.envelope()
	var op operation
	if len(g.past) > 0 && chance(g.r, 12) { // a retry
		again := g.past[max(0, len(g.past)-1-between(g.r, 0, 40))]
		op, e.Envelope.Request = again.op, again.id
	} else {
		op, e.Envelope.Request = g.command(), g.request()
		g.past = append(g.past, request{op, e.Envelope.Request})
	}
	e.Payload = op.payload
	return e, op
}

func (g *generator) envelope() entry.Envelope {
	tick := g.m.tick()
	steps := []entry.Time{0, 0, 0, 0, 1, entry.Time(time.Millisecond), tick / 4, tick / 2, tick, 10 * tick, -tick}
	g.clock = max(g.m.now, g.clock) + pick(g.r, steps)
	g.date += int64(between(g.r, -1000, 5000))
	e := entry.Envelope{Term: g.term, Time: g.clock, Date: g.date}
	g.clock = min(g.clock, g.m.now+2*tick)
	if chance(g.r, 3) {
		e.Term--
	}
	return e
}

// request is a new request id, now and then one whose first try was long ago, or one that nobody asks for.
func (g *generator) request() entry.RequestID {
	if chance(g.r, 10) {
		return entry.RequestID{}
	}
	g.serial++
	ago := []entry.Time{0, 0, 0, 0, 0, 0, 0, 0, g.m.tick(), -1, entry.Time(time.Second), entry.Time(10 * time.Minute), entry.Time(10*time.Minute) + 1}
	return entry.RequestID{Incarnation: pick(g.r, g.u.nodes), Random: 7, Sequence: g.serial, FirstTry: g.m.now - pick(g.r, ago)}
}

// must unwraps an operation whose command is never more than its check allows.
func (g *generator) must(op operation, err error) operation {
	if err != nil {
		g.t.Fatal(err)
	}
	return op
}

func (g *generator) copyID() fsm.CopyID {
	g.serial++
	var id fsm.CopyID
	binary.BigEndian.PutUint64(id[8:], g.serial)
	return id
}

// location is a fresh copy in a store, now and then one that is recorded or doomed already.
func (g *generator) location(store string, b *modelBlob) fsm.Location {
	if b != nil && len(b.copies) > 0 && chance(g.r, 8) {
		return pick(g.r, b.copies).Location
	}
	i := pick(g.r, g.u.nodes)
	if all := (modelFacts{g.m}).doomedOn(i); len(all) > 0 && chance(g.r, 5) {
		return fsm.Location{Incarnation: i, Copy: pick(g.r, all).Copy}
	}
	if place, _ := g.m.place(store); place.IsBucket() != chance(g.r, 3) {
		return fsm.Location{Copy: g.copyID()}
	}
	return fsm.Location{Incarnation: i, Copy: g.copyID()}
}

func (g *generator) stamp() entry.Time {
	w := entry.Time(window(g.u.delays[0]))
	return g.m.now - pick(g.r, []entry.Time{0, 0, 0, 0, 0, 0, g.m.tick(), w, w + 1, -1})
}

// home is the store of a repository, or one that it could have; seldom a wrong one.
func (g *generator) home(name string) string {
	if r := g.m.repos[name]; r != nil && !chance(g.r, 3) {
		return r.store
	}
	return pick(g.r, g.u.stores)
}

// blobName is a blob that is there, if one is.
func (g *generator) blobName() fsm.BlobName {
	if len(g.m.blobs) == 0 || chance(g.r, 5) {
		return fsm.BlobName{Store: pick(g.r, g.u.stores), Digest: pick(g.r, g.u.digests)}
	}
	var all []fsm.BlobName
	for name := range g.m.blobs {
		all = append(all, name)
	}
	sortBlobs(all)
	return pick(g.r, all)
}

func (g *generator) condition(name, tag string) fsm.TagCondition {
	switch between(g.r, 0, 5) {
	case 0:
		return fsm.TagCondition{Absent: true}
	case 1:
		return fsm.TagCondition{Is: pick(g.r, g.u.manifests).Digest}
	case 2:
		if r := g.m.repos[name]; r != nil {
			return fsm.TagCondition{Is: r.tags[tag].digest}
		}
	}
	return fsm.TagCondition{}
}
