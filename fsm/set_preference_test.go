package fsm_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/seed-16d79997/zot/fsm"
)

// withRepositories is a cluster of one in which these repositories exist.
func withRepositories(t *testing.T, names ...string) *replica {
	t.Helper()
	r := newCluster(t, 1)
	do(r, fsm.SetStore{Name: "default", GCDelay: 1 << 40, Replicas: 1, WriteAcks: 1})
	var all []fsm.BlobStored
	for i, name := range names {
		all = append(all, r.upload(name, fmt.Sprint("in ", name), fsm.Location{Incarnation: node(1), Copy: fsm.CopyID{byte(i), byte(i >> 8), 1}}))
	}
	for part := range slices.Chunk(all, 100) { // a stamp is good for some minutes
		for i := range part {
			part[i].Stamp = r.time
		}
		doAll(r, part)
	}
	return r
}

func TestSetPreference(t *testing.T) {
	golden(t, fsm.SetPreference{User: "ann", Repository: "app", Mark: fsm.Star, Change: fsm.ToggleMark})
	r := withRepositories(t, "app", "app/x", "other")
	tests := []struct {
		user, repository string
		mark             fsm.Mark
		change           fsm.MarkChange
		want             fsm.PreferenceSet
	}{
		{"ann", "app", fsm.Star, fsm.ToggleMark, fsm.PreferenceSet{Marked: true, Stars: 1}},
		{"bob", "app", fsm.Star, fsm.SetMark, fsm.PreferenceSet{Marked: true, Stars: 2}},
		{"bob", "app", fsm.Star, fsm.SetMark, fsm.PreferenceSet{Marked: true, Stars: 2}},
		{"bob", "app", fsm.Bookmark, fsm.ToggleMark, fsm.PreferenceSet{Marked: true, Stars: 2}},
		{"bob", "app/x", fsm.Star, fsm.SetMark, fsm.PreferenceSet{Marked: true, Stars: 1}},
		{"ann", "app", fsm.Star, fsm.ToggleMark, fsm.PreferenceSet{Stars: 1}},
		{"ann", "app", fsm.Star, fsm.RemoveMark, fsm.PreferenceSet{Stars: 1}},
		{"bob", "app", fsm.Star, fsm.RemoveMark, fsm.PreferenceSet{}},
		{"ann", "other", fsm.Bookmark, fsm.SetMark, fsm.PreferenceSet{Marked: true}},
	}
	for i, c := range tests {
		have := do(r, fsm.SetPreference{User: c.user, Repository: c.repository, Mark: c.mark, Change: c.change})
		if have != c.want {
			t.Errorf("step %d: %+v, want %+v", i, have, c.want)
		}
	}
	r.view(func(v fsm.View) {
		if s, b := v.Marked("bob", "app"); s || !b {
			t.Errorf("bob's app: star %t, bookmark %t", s, b)
		}
		if all := v.MarkedBy("bob", fsm.Star); !slices.Equal(all, []string{"app/x"}) {
			t.Errorf("bob's stars: %q", all)
		}
		if all := v.MarkedBy("ann", fsm.Bookmark); !slices.Equal(all, []string{"other"}) || v.Stars("app/x") != 1 {
			t.Errorf("ann's bookmarks: %q, stars of app/x: %d", all, v.Stars("app/x"))
		}
	})
	refused(r, fsm.ErrRepositoryUnknown, fsm.SetPreference{User: "ann", Repository: "none", Mark: fsm.Star, Change: fsm.SetMark})
	r.sound()
}

func TestPreferencesOfOneUserAreBounded(t *testing.T) {
	names := make([]string, 1001)
	for i := range names {
		names[i] = fmt.Sprintf("r%04d", i)
	}
	r := withRepositories(t, names...)
	set := func(name string, change fsm.MarkChange) fsm.SetPreference {
		return fsm.SetPreference{User: "ann", Repository: name, Mark: fsm.Bookmark, Change: change}
	}
	var all []fsm.SetPreference
	for _, name := range names[:1000] {
		all = append(all, set(name, fsm.SetMark))
	}
	doAll(r, all)
	refused(r, fsm.ErrTooMany, set(names[1000], fsm.ToggleMark))
	do(r, set(names[1000], fsm.RemoveMark))
	do(r, set(names[0], fsm.RemoveMark))
	do(r, set(names[1000], fsm.ToggleMark))
}

func TestSetPreferenceChecks(t *testing.T) {
	for _, bad := range []fsm.SetPreference{
		{User: "", Mark: fsm.Star, Change: fsm.SetMark}, {User: "a", Change: fsm.SetMark}, {User: "a", Mark: 3, Change: 1}, {User: "a", Mark: 1, Change: 4},
	} {
		if _, err := fsm.Encode(bad); err == nil {
			t.Errorf("%+v was encoded", bad)
		}
	}
}
