package fsm

import (
	"fmt"
	"time"
)

// The bounds of SetStore.
const (
	maxStores    = 256
	maxStoreName = 255
	maxReplicas  = 64
	maxGCDelay   = 10 * 365 * 24 * time.Hour
)

// SetStore says by which numbers a store's leases, windows and copies are judged from now on (DESIGN 2,
// "Stores and numbers"). A ready leader proposes it when its configuration differs from the state.
//
// After a change of GCDelay, until the longer of the two leases has passed, stamps and first tries are
// judged by the smaller window, and leases, marks and kept results by the larger: nothing that was
// promised by the old number ends early, and nothing that the new one forgets can still be replayed.
//
// Place may change only while the store has no copies: they would be looked for where they are not. A copy that is on
// its way then is not recorded, whoever wrote it: its stamp is from before the change.
//
// Refused with:
//   - ErrTooMany for the 257th store
//   - ErrStoreElsewhere if the store has copies, doomed ones too, and they are not in Place
type SetStore struct {
	Name      string        `cbor:"1,keyasint"`
	GCDelay   time.Duration `cbor:"2,keyasint"` // the lease; under 5 s it counts as 5 s
	Replicas  int           `cbor:"3,keyasint"`
	WriteAcks int           `cbor:"4,keyasint"` // at most Replicas
	Place     Place         `cbor:"5,keyasint,omitzero"`
}

func (SetStore) wire() kind { return kind{"set-store", 1} }

func (c SetStore) check() error {
	switch {
	case c.Name == "" || len(c.Name) > maxStoreName:
		return fmt.Errorf("a store's name has 1 to %d bytes, not %d", maxStoreName, len(c.Name))
	case c.GCDelay < 0 || c.GCDelay > maxGCDelay:
		return fmt.Errorf("gcDelay %s is not between 0 and %s", c.GCDelay, maxGCDelay)
	case c.Replicas < 1 || c.Replicas > maxReplicas:
		return fmt.Errorf("%d replicas are not 1 to %d", c.Replicas, maxReplicas)
	case c.WriteAcks < 1 || c.WriteAcks > c.Replicas:
		return fmt.Errorf("writeAcks %d is not 1 to the %d replicas", c.WriteAcks, c.Replicas)
	}
	return c.Place.check()
}

func (c SetStore) apply(t *tx) (None, error) {
	if c.Name == "" || len(c.Name) > maxStoreName {
		return None{}, ErrInvalid
	}
	old, known := load[storeRecord](t.reader, stores, storeKey(c.Name))
	if !known {
		if n := t.countRecords(stores, maxStores); n == maxStores {
			return None{}, ErrTooMany.with("%d stores", n)
		}
		old.GCDelay, old.Place = c.GCDelay, c.Place // nothing was promised by another number, or is elsewhere
	}
	moves := c.Place != old.Place
	if moves && t.hasCopies(c.Name) {
		return None{}, ErrStoreElsewhere.with("copies of store %s are %s, not %s", c.Name, old.Place, c.Place)
	}
	next := old
	next.GCDelay, next.Replicas, next.WriteAcks, next.Place = c.GCDelay, c.Replicas, c.WriteAcks, c.Place
	if moves {
		next.Moved = t.now
	}
	if c.GCDelay != old.GCDelay {
		longest, shortest := old.delays(t.now)
		next.Longest, next.Shortest = max(longest, c.GCDelay), min(shortest, max(c.GCDelay, minLease))
		next.Until = t.now.Add(next.Longest)
	}
	t.save(stores, storeKey(c.Name), next)
	return None{}, nil
}
