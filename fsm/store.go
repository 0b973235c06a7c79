package fsm

import (
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// DefaultStore is the name of the store of a configuration's root directory; those of its sub-paths
// have names of their own.
const DefaultStore = "default"

// storeRecord is what SetStore said of a store, and what it had said before, for as long as that
// still matters.
type storeRecord struct {
	GCDelay   time.Duration `cbor:"1,keyasint"`
	Replicas  int           `cbor:"2,keyasint"`
	WriteAcks int           `cbor:"3,keyasint"`

	// Until then the delays of before count too: the longest for what a lease protects, the shortest
	// for what may still be accepted (DESIGN 2, "Stores and numbers").
	Longest  time.Duration `cbor:"4,keyasint,omitempty"`
	Shortest time.Duration `cbor:"5,keyasint,omitempty"`
	Until    entry.Time    `cbor:"6,keyasint,omitempty"`

	Place Place      `cbor:"7,keyasint,omitzero"`
	Moved entry.Time `cbor:"8,keyasint,omitempty"` // when Place changed last
}

// takes reports whether a copy that was stamped then may be recorded: it is where those of the store are. One that
// was written before they were to be there is not.
func (r storeRecord) takes(l Location, stamp entry.Time) bool {
	return l.Incarnation.IsZero() == r.Place.IsBucket() && (r.Moved == 0 || stamp > r.Moved)
}

// defaultStoreRecord is the record of a store that was never set.
func defaultStoreRecord() storeRecord {
	return storeRecord{GCDelay: time.Hour, Replicas: 3, WriteAcks: 2}
}

// delays returns the longest and the shortest gcDelay that hold at state time now.
func (r storeRecord) delays(now entry.Time) (longest, shortest time.Duration) {
	longest, shortest = r.GCDelay, r.GCDelay
	if now < r.Until {
		longest, shortest = max(longest, r.Longest), min(shortest, r.Shortest)
	}
	return max(longest, minLease), max(shortest, minLease)
}

// The bounds of GC.md, "Numbers".
const (
	minLease  = 5 * time.Second
	maxWindow = 10 * time.Minute
	maxTick   = time.Minute
)

// Numbers are a store's numbers at one state time, all durations of state time. Those that come in
// pairs differ only while a change of the store's gcDelay is under way.
type Numbers struct {
	// Lease is how long a link without references exists after its lease started.
	Lease time.Duration
	// ShortLease is the lease by which HEAD judges whether to renew: one that has less than half of
	// it and a tick left is renewed (GC R16). It is never longer than Lease, so that a promise made
	// late in a change still holds after it.
	ShortLease time.Duration
	// Window is how old a stamp, and the first try of a command that starts a lease, may be.
	Window time.Duration
	// KeepWindow is how long such a command's result is kept.
	KeepWindow time.Duration
	// Unknown is how long after a mark an unknown file may be removed (GC R11): three of the longer
	// windows.
	Unknown time.Duration
	// Replicas is how many counting copies a blob should have.
	Replicas int
	// WriteAcks is W before it is capped by the number of members.
	WriteAcks int
}

// numbersAt is the meaning of a record at a state time.
func (r storeRecord) numbersAt(now entry.Time) Numbers {
	longest, shortest := r.delays(now)
	keep := windowOf(longest)
	return Numbers{
		Lease:      longest,
		ShortLease: shortest,
		Window:     windowOf(shortest),
		KeepWindow: keep,
		Unknown:    3 * keep,
		Replicas:   r.Replicas,
		WriteAcks:  r.WriteAcks,
	}
}

func windowOf(lease time.Duration) time.Duration { return min(maxWindow, lease/4) }

// storeNumbersAt returns the numbers of a store at a state time, and whether it has a record. One that
// has none has the defaults, so the numbers hold either way.
func (r reader) storeNumbersAt(name string, now entry.Time) (Numbers, bool) {
	record, known := r.store(name)
	return record.numbersAt(now), known
}

// store returns the record of a store, and whether it has one; else that is the one with the defaults.
func (r reader) store(name string) (storeRecord, bool) {
	record, known := load[storeRecord](r, stores, storeKey(name))
	if !known {
		record = defaultStoreRecord()
	}
	return record, known
}

// storeNumbers is storeNumbersAt the entry's time.
func (t *tx) storeNumbers(name string) (Numbers, bool) { return t.storeNumbersAt(name, t.now) }

// useStore gives a store its record, with the defaults, if it has none. Whatever starts the first
// lease in a store calls it: a SetStore that finds no record takes effect at once, because nothing was
// promised by other numbers.
func (t *tx) useStore(name string) {
	if key := storeKey(name); !t.has(stores, key) {
		t.save(stores, key, defaultStoreRecord())
	}
}

// stretchLeases has the leases of a store, for the time of one of another, last as long as that at least: a link with
// such a lease comes over. It is as if the store's own gcDelay had been the longer one until now (DESIGN 2, "Stores and
// numbers"), and holds for what was promised of a link that is referred to, too: its count may fall to zero.
func (t *tx) stretchLeases(name string, lease time.Duration) {
	s, _ := t.store(name)
	if max(s.GCDelay, minLease) >= lease {
		return
	}
	longest, shortest := s.delays(t.now)
	s.Longest, s.Shortest, s.Until = max(longest, lease), shortest, max(s.Until, t.now.Add(lease))
	t.save(stores, storeKey(name), s)
}

func storeKey(name string) []byte { return []byte(name) }

// tickAt is how long a leader may append nothing, at a state time: that of the store with the
// shortest lease.
func (r reader) tickAt(now entry.Time) entry.Time {
	tick := maxTick
	for _, value := range r.scan(stores, nil, nil) {
		_, shortest := mustDecode[storeRecord](value).delays(now)
		tick = min(tick, shortest/16)
	}
	return entry.Time(tick)
}

// tick is tickAt the entry's time.
func (t *tx) tick() entry.Time { return t.tickAt(t.now) }

// window is how old the first try of a command that starts a lease in a store may be, and how long
// its result is kept. It is false for the name of no store.
func (t *tx) window(store string) (span, bool) {
	if store == "" {
		return span{}, false
	}
	n, _ := t.storeNumbers(store)
	return span{accept: n.Window, keep: n.KeepWindow}, true
}

// Store is a store as the state knows it.
type Store struct {
	Name    string
	GCDelay time.Duration // as SetStore said; Numbers has what follows from it
	Numbers Numbers       // at the state time of the view
	Place   Place         // where its copies are
}

// Store returns a store by name, and whether the state has a record of it. Its numbers hold either way.
func (v View) Store(name string) (Store, bool) {
	record, known := v.store(name)
	return record.describe(name, v.Time()), known
}

// Stores returns all stores that the state has a record of, by name.
func (v View) Stores() []Store {
	var all []Store
	now := v.Time()
	for name, value := range v.scan(stores, nil, nil) {
		all = append(all, mustDecode[storeRecord](value).describe(string(name), now))
	}
	return all
}

func (r storeRecord) describe(name string, now entry.Time) Store {
	return Store{Name: name, GCDelay: r.GCDelay, Numbers: r.numbersAt(now), Place: r.Place}
}

// HasCopies reports whether the state has copies of a store anywhere, doomed ones too.
func (v View) HasCopies(store string) bool { return v.hasCopies(store) }

// hasCopies costs a look or two for each node that has some.
func (r reader) hasCopies(store string) bool {
	for _, b := range []bucket{held, doomed} {
		for i := range r.incarnationsOf(b) {
			for range r.scan(b, onNode(i, store, ""), nil) {
				return true
			}
		}
	}
	return false
}
