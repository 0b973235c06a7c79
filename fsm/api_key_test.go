package fsm_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

// apiKey is a key that lasts for d, for ever if d is 0.
func (r *replica) apiKey(secret, owner string, d time.Duration) fsm.CreateAPIKey {
	hash := fsm.HashSecret(secret)
	c := fsm.CreateAPIKey{Hash: hash, ID: fsm.KeyID(hash[:16]), Owner: owner, Label: secret, Scopes: []string{"team/**"}, Creator: "curl"}
	if d != 0 {
		c.Expires = r.date.Add(d).UnixMilli()
	}
	return c
}

// expectKeys compares the labels of an owner's keys.
func (r *replica) expectKeys(owner string, want ...string) {
	r.t.Helper()
	r.view(func(v fsm.View) {
		have := map[string]bool{}
		for _, k := range v.APIKeys(owner) {
			have[k.Label] = true
		}
		for _, label := range want {
			if !have[label] {
				r.t.Errorf("%s has no key %s", owner, label)
			}
		}
		if len(have) != len(want) {
			r.t.Errorf("%s has keys %v, want %v", owner, have, want)
		}
	})
}

func TestAPIKeyEncodings(t *testing.T) {
	id := fsm.KeyID{1, 2, 3}
	golden(t, fsm.CreateAPIKey{Hash: fsm.HashSecret("k"), ID: id, Owner: "ann", Label: "ci", Scopes: []string{"team/**"}, Creator: "curl", Expires: 1_790_000_000_000, Groups: []string{"dev"}})
	golden(t, fsm.RevokeAPIKey{Owner: "ann", ID: id})
	golden(t, fsm.UseAPIKeys{Uses: []fsm.KeyUse{{Hash: fsm.HashSecret("k"), Date: 1_790_000_000_000}}})
	golden(t, fsm.ExpireAPIKeys{})
}

func TestAPIKeys(t *testing.T) {
	r := newReplica(t)
	created := do(r, r.apiKey("one", "ann", 0))
	if created.Created != r.date.UnixMilli() || created.Owner != "ann" {
		t.Errorf("created %+v", created)
	}
	do(r, r.apiKey("two", "ann", time.Hour))
	do(r, r.apiKey("three", "annika", 0))
	r.expectKeys("ann", "one", "two")
	refused(r, fsm.ErrAPIKeyExists, r.apiKey("one", "eve", 0))
	sameID := r.apiKey("four", "ann", 0)
	sameID.ID = created.ID
	refused(r, fsm.ErrAPIKeyExists, sameID)

	refused(r, fsm.ErrAPIKeyUnknown, fsm.RevokeAPIKey{Owner: "annika", ID: created.ID})
	do(r, fsm.RevokeAPIKey{Owner: "ann", ID: created.ID})
	refused(r, fsm.ErrAPIKeyUnknown, fsm.RevokeAPIKey{Owner: "ann", ID: created.ID})
	r.expectKeys("ann", "two")
	r.expectKeys("annika", "three")
	r.view(func(v fsm.View) {
		if _, known := v.APIKey(fsm.HashSecret("one")); known {
			t.Error("a revoked key is known")
		}
		k, known := v.APIKey(fsm.HashSecret("two"))
		if !known || k.Expired(r.date) || !k.Expired(r.date.Add(2*time.Hour)) {
			t.Errorf("key %+v", k)
		}
	})
	r.sound()
}

func TestUseOfAPIKeys(t *testing.T) {
	r := newReplica(t)
	do(r, r.apiKey("one", "ann", 0))
	hash := fsm.HashSecret("one")
	used := func(date time.Time, want time.Time) {
		t.Helper()
		do(r, fsm.UseAPIKeys{Uses: []fsm.KeyUse{{Hash: hash, Date: date.UnixMilli()}, {Hash: fsm.HashSecret("gone"), Date: 1}}})
		r.view(func(v fsm.View) {
			if k, _ := v.APIKey(hash); k.LastUsed != want.UnixMilli() {
				t.Errorf("last used at %d, want %d", k.LastUsed, want.UnixMilli())
			}
		})
	}
	noon := r.date
	used(noon, noon)
	used(noon.Add(-time.Hour), noon)
	r.date = noon.Add(time.Hour)
	used(noon.Add(100*time.Hour), noon.Add(time.Hour+time.Second)) // by a clock that is ahead: the entry's date
	r.sound()
}

func TestAPIKeysExpire(t *testing.T) {
	r := newReplica(t)
	do(r, r.apiKey("for ever", "ann", 0))
	var all []fsm.CreateAPIKey
	for i := range 310 {
		all = append(all, r.apiKey(fmt.Sprint(i), "robot", time.Hour))
	}
	doAll(r, all)
	r.date = r.date.Add(29 * 24 * time.Hour)
	if have := do(r, fsm.ExpireAPIKeys{}); have != (fsm.ExpiredRemoved{}) {
		t.Errorf("%+v within 30 days", have)
	}
	r.date = r.date.Add(2 * 24 * time.Hour)
	r.view(func(v fsm.View) {
		if !v.ExpiredAPIKeys(r.date) {
			t.Error("nothing is due")
		}
	})
	for _, want := range []fsm.ExpiredRemoved{{Removed: 300, More: true}, {Removed: 10}} {
		if have := do(r, fsm.ExpireAPIKeys{}); have != want {
			t.Errorf("%+v, want %+v", have, want)
		}
	}
	r.expectKeys("robot")
	r.expectKeys("ann", "for ever")
	r.sound()
}

func TestAPIKeysOfOneOwnerAreBounded(t *testing.T) {
	r := newReplica(t)
	var all []fsm.CreateAPIKey
	for i := range 1000 {
		all = append(all, r.apiKey(fmt.Sprint(i), "robot", 0))
	}
	doAll(r, all)
	refused(r, fsm.ErrTooMany, r.apiKey("one more", "robot", 0))
	do(r, r.apiKey("one", "ann", 0))
}

func TestAPIKeyChecks(t *testing.T) {
	for name, bad := range map[string]fsm.Command{
		"no owner":         fsm.CreateAPIKey{},
		"empty scope":      fsm.CreateAPIKey{Owner: "a", Scopes: []string{""}},
		"before 1970":      fsm.CreateAPIKey{Owner: "a", Expires: -1},
		"many scopes":      fsm.CreateAPIKey{Owner: "a", Scopes: make([]string, 257)},
		"many groups":      fsm.CreateAPIKey{Owner: "a", Groups: []string{strings.Repeat("g", 32<<10+1)}},
		"revoke of nobody": fsm.RevokeAPIKey{},
		"no use":           fsm.UseAPIKeys{},
		"many uses":        fsm.UseAPIKeys{Uses: make([]fsm.KeyUse, 301)},
	} {
		if _, err := fsm.Encode(bad); err == nil {
			t.Errorf("%s was encoded", name)
		}
	}
}
