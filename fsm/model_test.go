package fsm_test

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// The naive model of the state: Go maps of plain facts, no indexes and no counters. Whatever can be
// computed from the facts is, by going through all of them. It is written from the rules (GC.md,
// DESIGN 2), not from the code, and knows of the package only its commands and what its views return.

type model struct {
	index uint64
	term  uint64
	now   entry.Time
	date  int64

	cluster     []byte
	nodes       map[entry.Incarnation]entry.Node
	draining    map[entry.Incarnation]bool
	retirements uint64
	stores      map[string]*modelStore
	repos       map[string]*modelRepo
	blobs       map[fsm.BlobName]*modelBlob
	doomed      map[modelCopy]bool
	results     map[entry.RequestID]modelResult
	maxRepos    int64
	quotas      map[string]int64
	readOnly    *fsm.ReadOnly
	restoring   bool // a backup is being restored
	people
}

type modelStore struct {
	delay           time.Duration
	replicas, acks  int
	lowest, highest time.Duration // of the delays that still matter
	until           entry.Time    // ... until then
	place           fsm.Place
	moved           entry.Time // what was stamped until then was written elsewhere
}

type modelRepo struct {
	store     string
	manifests map[fsm.Digest]*modelManifest
	links     map[fsm.Digest]modelLink
	tags      map[string]modelTag
	past      map[string]*modelHistory
	pulls     map[fsm.Digest]modelPulls
}

type modelLink struct {
	store string
	since entry.Time // when its lease began, if it has no references
}

type modelManifest struct {
	put              fsm.PutManifest
	blobs            map[fsm.Digest]bool
	pushed, untagged int64
	touched          uint64 // index of the entry that pushed or untagged it last
}

type modelTag struct {
	digest        fsm.Digest
	named, pushed int64
	by            uint64 // index of the entry that pushed it last
}

type modelHistory struct {
	entries []fsm.TagHistoryEntry
	deleted uint64
}

type modelPulls struct {
	count  uint64
	newest int64
	by     uint64 // index of the entry that counted last
}

type modelBlob struct {
	size    int64
	copies  []modelLocation
	damaged bool
}

type modelLocation struct {
	fsm.Location
	vouched uint64
}

type modelCopy struct {
	at    entry.Incarnation
	store string
	id    fsm.CopyID
}

// modelResult is what an entry must give: what it returned, or the code of its refusal.
type modelResult struct {
	outcome entry.Outcome
	value   any
	code    string
}

func newModel() *model {
	return &model{
		nodes:    map[entry.Incarnation]entry.Node{},
		draining: map[entry.Incarnation]bool{},
		stores:   map[string]*modelStore{},
		repos:    map[string]*modelRepo{},
		blobs:    map[fsm.BlobName]*modelBlob{},
		doomed:   map[modelCopy]bool{},
		results:  map[entry.RequestID]modelResult{},
		people:   newPeople(),
	}
}

// apply is what one entry must do. Entries come in order, each once.
func (m *model) apply(e entry.Entry, op operation) modelResult {
	m.index = e.Index
	if e.Kind == entry.Configuration {
		return modelResult{outcome: entry.Applied}
	}
	if e.Envelope.Term != e.Term {
		return modelResult{outcome: entry.WrongTerm}
	}
	if t := min(e.Envelope.Time, m.now+2*m.tick()); t > m.now {
		m.now = t
	}
	m.date, m.term = e.Envelope.Date, e.Term
	id := e.Envelope.Request
	wait := modelResult{outcome: entry.Refused, code: fsm.ErrRestoring.Code}
	if id == (entry.RequestID{}) {
		if m.waits(op) {
			return wait
		}
		return m.run(op)
	}
	accept := 10 * time.Minute
	if op.leaseStore != "" {
		_, lowest := m.delays(op.leaseStore)
		accept = window(lowest)
	}
	if id.FirstTry > m.now || m.now.Sub(id.FirstTry) > accept {
		return modelResult{outcome: entry.Expired}
	}
	if r, known := m.results[id]; known {
		return r
	}
	if m.waits(op) {
		return wait
	}
	m.results[id] = m.run(op)
	return m.results[id]
}

func (m *model) run(op operation) modelResult {
	if m.readOnly != nil && op.content {
		return modelResult{outcome: entry.Refused, code: fsm.ErrReadOnly.Code}
	}
	value, refusal := op.predict(m)
	if refusal != nil {
		return modelResult{outcome: entry.Refused, code: refusal.Code}
	}
	return modelResult{outcome: entry.Applied, value: value}
}

// Time and stores.

func window(lease time.Duration) time.Duration { return min(10*time.Minute, lease/4) }

// delays are the longest and the shortest lease that hold now.
func (m *model) delays(store string) (highest, lowest time.Duration) {
	s, set := m.stores[store]
	if !set {
		return time.Hour, time.Hour
	}
	highest, lowest = s.delay, s.delay
	if m.now < s.until {
		highest, lowest = s.highest, s.lowest
	}
	return max(highest, 5*time.Second), max(lowest, 5*time.Second)
}

func (m *model) tick() entry.Time {
	tick := time.Minute
	for name := range m.stores {
		_, lowest := m.delays(name)
		tick = min(tick, lowest/16)
	}
	return entry.Time(tick)
}

func (m *model) numbers(store string) (replicas, acks int) {
	if s, set := m.stores[store]; set {
		return s.replicas, s.acks
	}
	return 3, 2
}

// place is where the copies of a store are, and of what time on.
func (m *model) place(store string) (place fsm.Place, since entry.Time) {
	if s, set := m.stores[store]; set {
		return s.place, s.moved
	}
	return fsm.Place{}, 0
}

// takes reports whether a copy may be recorded that was stamped then.
func (m *model) takes(store string, l fsm.Location, stamp entry.Time) bool {
	place, since := m.place(store)
	inBucket := l.Incarnation == entry.Incarnation{}
	return inBucket == (place.Bucket != "") && (since == 0 || since < stamp)
}

// holdsOf reports whether there are copies of a store.
func (m *model) holdsOf(store string) bool {
	for name, b := range m.blobs {
		if name.Store == store && len(b.copies) > 0 {
			return true
		}
	}
	for c := range m.doomed {
		if c.store == store {
			return true
		}
	}
	return false
}

func (m *model) setStore(c fsm.SetStore) {
	s, set := m.stores[c.Name]
	if !set {
		m.stores[c.Name] = &modelStore{delay: c.GCDelay, replicas: c.Replicas, acks: c.WriteAcks, place: c.Place}
		return
	}
	if s.place != c.Place {
		s.place, s.moved = c.Place, m.now
	}
	if s.delay != c.GCDelay {
		highest, lowest := m.delays(c.Name)
		s.highest, s.lowest = max(highest, c.GCDelay), min(lowest, max(c.GCDelay, 5*time.Second))
		s.until = m.now.Add(s.highest)
	}
	s.delay, s.replicas, s.acks = c.GCDelay, c.Replicas, c.WriteAcks
}

// stretch has the leases of a store last as long as one of another, from which a link comes.
func (m *model) stretch(store string, lease time.Duration) {
	s := m.stores[store]
	if max(s.delay, 5*time.Second) >= lease {
		return
	}
	highest, lowest := m.delays(store)
	s.highest, s.lowest, s.until = max(highest, lease), lowest, max(s.until, m.now.Add(lease))
}

func (m *model) fresh(stamp entry.Time, store string) bool {
	_, lowest := m.delays(store)
	return stamp <= m.now && m.now.Sub(stamp) <= window(lowest)
}

// Nodes.

func (m *model) state(i entry.Incarnation) entry.NodeState { return m.nodes[i].State }

func (m *model) counts(i entry.Incarnation) bool {
	return i == entry.Incarnation{} || m.state(i) == entry.Member
}

func (m *model) holds(i entry.Incarnation) bool {
	return m.counts(i) || m.state(i) == entry.Retired
}

func (m *model) members() (n int) {
	for _, node := range m.nodes {
		if node.State == entry.Member {
			n++
		}
	}
	return n
}

func (m *model) need(store string) int {
	_, acks := m.numbers(store)
	return max(1, min(acks, m.members()))
}

// Repositories and links.

// repo returns a repository, which begins to exist in store if it does not.
func (m *model) repo(name, store string) *modelRepo {
	if m.repos[name] == nil {
		m.repos[name] = &modelRepo{
			store: store, manifests: map[fsm.Digest]*modelManifest{}, links: map[fsm.Digest]modelLink{},
			tags: map[string]modelTag{}, past: map[string]*modelHistory{}, pulls: map[fsm.Digest]modelPulls{},
		}
		if m.stores[store] == nil {
			m.setStore(fsm.SetStore{Name: store, GCDelay: time.Hour, Replicas: 3, WriteAcks: 2})
		}
	}
	return m.repos[name]
}

// referencesTo is how many manifests of the repository name a blob.
func (r *modelRepo) referencesTo(d fsm.Digest) (n uint64) {
	for _, man := range r.manifests {
		if man.blobs[d] {
			n++
		}
	}
	return n
}

// linkExists reports whether a repository may see a blob now.
func (m *model) linkExists(name string, d fsm.Digest) bool {
	r := m.repos[name]
	if r == nil {
		return false
	}
	l, recorded := r.links[d]
	highest, _ := m.delays(l.store)
	return r.referencesTo(d) > 0 || recorded && m.now < l.since.Add(highest)
}

// linksTo is the links of a repository to blobs of a store, its own if it is "".
func (m *model) linksTo(name, store string) fsm.LinksIn {
	r := m.repos[name]
	in := fsm.LinksIn{Store: cmp.Or(store, r.store)}
	for d, l := range r.links {
		if l.store == in.Store {
			in.Links++
			in.Bytes += m.blobOf(name, d).size
		}
	}
	return in
}

// elsewhere is those to blobs of other stores.
func (m *model) elsewhere(name string) (all []fsm.LinksIn) {
	for _, store := range sorted(m.stores) {
		if in := m.linksTo(name, store); store != m.repos[name].store && in.Links > 0 {
			all = append(all, in)
		}
	}
	return all
}

// linksOf is the repositories of a store with a link record, expired ones too.
func (m *model) linksOf(b fsm.BlobName) []string {
	var names []string
	for name, r := range m.repos {
		if l, recorded := r.links[b.Digest]; recorded && l.store == b.Store {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (m *model) blobOf(name string, d fsm.Digest) *modelBlob {
	return m.blobs[fsm.BlobName{Store: m.repos[name].links[d].store, Digest: d}]
}

// usable is nil if a repository may rely on a blob.
func (m *model) usable(name string, d fsm.Digest) *fsm.Refusal {
	if !m.linkExists(name, d) {
		return fsm.ErrBlobUnknown
	}
	if m.broken(m.blobOf(name, d)) {
		return fsm.ErrBlobDamaged
	}
	return nil
}

// broken reports whether nobody is known to have a good copy.
func (m *model) broken(b *modelBlob) bool {
	held := slices.ContainsFunc(b.copies, func(l modelLocation) bool { return m.holds(l.Incarnation) })
	return b.damaged || !held
}

// Copies.

func (m *model) doom(store string, l fsm.Location) {
	if m.holds(l.Incarnation) {
		m.doomed[modelCopy{l.Incarnation, store, l.Copy}] = true
	}
}

// spent reports whether a copy id was doomed, or is another blob's.
func (m *model) spent(store string, l fsm.Location, d fsm.Digest) bool {
	if m.doomed[modelCopy{l.Incarnation, store, l.Copy}] {
		return true
	}
	for name, b := range m.blobs {
		if name.Store == store && name.Digest != d && b.find(l) >= 0 {
			return true
		}
	}
	return false
}

func (b *modelBlob) find(l fsm.Location) int {
	return slices.IndexFunc(b.copies, func(have modelLocation) bool { return have.Location == l })
}

func (b *modelBlob) on(i entry.Incarnation) int {
	return slices.IndexFunc(b.copies, func(have modelLocation) bool { return have.Incarnation == i })
}

func (b *modelBlob) remove(at int) fsm.Location {
	l := b.copies[at].Location
	b.copies = append(slices.Clone(b.copies[:at]), b.copies[at+1:]...)
	return l
}

func (m *model) counting(b *modelBlob) (n int) {
	for _, l := range b.copies {
		if m.counts(l.Incarnation) {
			n++
		}
	}
	return n
}

func (m *model) vouched(b *modelBlob) (n int) {
	for _, l := range b.copies {
		if m.counts(l.Incarnation) && l.vouched == m.retirements {
			n++
		}
	}
	return n
}

// sorted is the keys of a map in order.
func sorted[K interface{ ~string }, V any](all map[K]V) []K { return slices.Sorted(maps.Keys(all)) }
