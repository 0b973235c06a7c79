// Package storetest is the suite that every blob store passes. Each rule of blobstore.Store is a test with a
// name; a store that cannot do what a rule needs of the test (restart, rot, a full disk) leaves that hook of
// its Subject nil, and the rule is skipped in sight.
//
// A store's own test file is a constructor and a call of Run. Start reading at Run.
package storetest

import (
	"testing"

	"github.com/seed-16d79997/zot/blobstore"
)

// Subject is a store on trial, and what a test may do to it behind its back. A nil hook is what the store has
// no way to suffer.
type Subject struct {
	Store blobstore.Store
	// Reopen opens what the store kept, as the next process would after this one was killed: the store on
	// trial was not closed, and is not used again.
	Reopen func(t *testing.T) blobstore.Store
	// Damage flips a bit of a copy, and of all others that would be read in its place.
	Damage func(t *testing.T, id blobstore.CopyID, offset int64)
	// Full makes the next bytes find no room, or room again.
	Full func(t *testing.T, full bool)
	// Lose takes the marker away.
	Lose func(t *testing.T)
}

// rule is one promise of the contract.
type rule struct {
	name  string
	check func(t *testing.T, s *Subject)
}

// Run checks the store that newStore makes, a new and empty one for each rule. It closes the stores.
func Run(t *testing.T, newStore func(t *testing.T) Subject) {
	t.Helper()
	groups := []struct {
		name  string
		rules []rule
	}{
		{"append", appending()},
		{"finish", finishing()},
		{"publish", publishing()},
		{"end", ending()},
		{"uploads", listingUploads()},
		{"restart", restarting()},
		{"read", reading()},
		{"damage", damaging()},
		{"copies", copies()},
		{"full", filling()},
		{"offline", offline()},
		{"together", together()},
	}
	for _, g := range groups {
		for _, r := range g.rules {
			t.Run(g.name+"/"+r.name, func(t *testing.T) {
				t.Parallel()
				s := newStore(t)
				t.Cleanup(func() { ok(t, s.Store.Close()) })
				r.check(t, &s)
			})
		}
	}
}
