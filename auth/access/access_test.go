package access_test

import (
	"fmt"
	"testing"

	"github.com/seed-16d79997/zot/auth/access"
)

func rules(t testing.TB, c access.Config) *access.Rules {
	t.Helper()
	r, err := access.Compile(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMay(t *testing.T) {
	const all = access.Read | access.Create | access.Update | access.Delete
	r := rules(t, access.Config{
		Repositories: map[string]access.Repository{
			"**":               {Default: access.Read, Anonymous: access.Read},
			"team/app":         {Policies: []access.Policy{{Users: []string{"alice"}, Actions: all}}},
			"team/*":           {Policies: []access.Policy{{Groups: []string{"devs"}, Actions: access.Read | access.Create}}, Default: access.Read},
			"team/app-longer*": {Policies: []access.Policy{{Groups: []string{"ldap"}, Actions: access.Read}}},
			"*/longest-glob":   {Policies: []access.Policy{{Users: []string{"*"}, Actions: all}}},
			"deep/**":          {Anonymous: access.Create},
			"deep/er":          {},
		},
		Admin:  access.Policy{Users: []string{"root"}, Groups: []string{"ops"}, Actions: access.Read | access.Delete},
		Groups: map[string][]string{"devs": {"bob"}, "ops": {"carol"}},
	})
	nobody := access.Identity{}
	named := func(name string, groups ...string) access.Identity {
		return access.Identity{Name: name, Groups: groups}
	}
	for _, c := range []struct {
		who        access.Identity
		do         access.Action
		repository string
		want       bool
	}{
		{nobody, access.Read, "other", true},
		{nobody, access.Read, "other/deep", true},
		{nobody, access.Create, "other", false},
		{named("alice"), access.Read, "other", true},
		{named("alice"), access.Create, "other", false},
		{named("alice"), all, "team/app", true},
		{named("bob"), access.Read, "team/app", false}, // the longest alone decides
		{nobody, access.Read, "team/app", false},
		{named("bob"), access.Create, "team/x", true},
		{named("bob"), access.Update, "team/x", false},
		{named("eve"), access.Read, "team/x", true},
		{named("eve", "devs"), access.Create, "team/x", true},
		{named("eve", "ldap"), access.Read, "team/app-longer1", true},
		{named("eve"), access.Read, "team/app-longer1", false},
		{named("alice"), access.Read, "team/x/y", true}, // * stays within a component
		{named("*"), access.Create, "x/longest-glob", true},
		{named("alice"), access.Read, "x/longest-glob", false}, // no wildcard among users
		{named("alice"), access.Create, "deep/x", false},       // what is for nobody is not for somebody
		{nobody, access.Create, "deep/x", true},
		{nobody, access.Read, "deep/x", false},
		{nobody, access.Create, "deep/er", false}, // of equal length the name comes first
		{named("root"), access.Delete, "deep/er", true},
		{named("root"), access.Create, "deep/er", false},
		{named("carol"), access.Read, "team/app", true},
		{named("dave", "ops"), access.Delete, "team/app", true},
		{named("dave", "ops"), access.Read | access.Create, "team/x", false},
		{access.Identity{Groups: []string{"ops"}}, access.Read, "team/app", false}, // groups of nobody
	} {
		t.Run(fmt.Sprintf("%s %v %d %s", c.who.Name, c.who.Groups, c.do, c.repository), func(t *testing.T) {
			if got := r.May(c.who, c.do, c.repository); got != c.want {
				t.Errorf("%v", got)
			}
		})
	}
	if !r.Open() {
		t.Error("the rules grant something to everybody")
	}
}

func TestNoPatternMatches(t *testing.T) {
	r := rules(t, access.Config{
		Repositories: map[string]access.Repository{"a": {Default: access.Read}},
		Admin:        access.Policy{Users: []string{"root"}, Actions: access.Read},
	})
	if r.May(access.Identity{Name: "alice"}, access.Read, "b") || !r.May(access.Identity{Name: "root"}, access.Read, "b") || r.Open() {
		t.Error("where nothing matches only an administrator may")
	}
}

func TestNothingConfigured(t *testing.T) {
	var r *access.Rules
	if !r.May(access.Identity{}, access.Delete, "a") || !r.Open() {
		t.Error("without access control everybody may do everything")
	}
}

// TestEqualLengths has two globs of one length, in other places of the index: the answer is the same each time.
func TestEqualLengths(t *testing.T) {
	for range 50 {
		r := rules(t, access.Config{Repositories: map[string]access.Repository{
			"a/b/*": {Anonymous: access.Read}, "a/*/c": {Anonymous: access.Create}, "*/b/c": {Anonymous: access.Delete},
		}})
		if !r.May(access.Identity{}, access.Delete, "a/b/c") {
			t.Fatal("*/b/c comes before a/*/c and a/b/*")
		}
	}
}

func TestBadPattern(t *testing.T) {
	if _, err := access.Compile(access.Config{Repositories: map[string]access.Repository{"a[": {}}}); err == nil {
		t.Error("taken")
	}
}

func TestParseAction(t *testing.T) {
	if a, known := access.ParseAction("detectManifestCollision"); !known || a != access.DetectCollision {
		t.Errorf("%d, %v", a, known)
	}
	if _, known := access.ParseAction("write"); known {
		t.Error("write is no action")
	}
}

// BenchmarkMay has 10,000 patterns, of each kind a half.
func BenchmarkMay(b *testing.B) {
	c := access.Config{Repositories: map[string]access.Repository{"**": {Default: access.Read}}}
	for i := range 5000 {
		p := access.Repository{Policies: []access.Policy{{Groups: []string{fmt.Sprint("g", i)}, Actions: access.Read}}}
		c.Repositories[fmt.Sprintf("team-%d/**", i)] = p
		c.Repositories[fmt.Sprintf("team-%d/app", i)] = p
	}
	r := rules(b, c)
	who := access.Identity{Name: "alice", Groups: []string{"g1", "g2", "g4999"}}
	b.ReportAllocs()
	for b.Loop() {
		if !r.May(who, access.Read, "team-4999/some/thing") || r.May(who, access.Read, "team-4998/app") {
			b.Fatal("wrong answer")
		}
	}
}
