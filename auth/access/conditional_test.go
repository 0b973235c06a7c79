package access_test

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/auth/condition"
)

// conditional has a policy of each kind with conditions and without.
func conditional() access.Config {
	if1 := func(expression, message string) []access.Condition {
		return []access.Condition{{Expression: expression, Message: message}}
	}
	return access.Config{
		Repositories: map[string]access.Repository{
			"a": {
				Policies: []access.Policy{
					{Users: []string{"alice"}, Actions: access.Read | access.Create, Conditions: if1(`req.tag.startsWith("dev-")`, "dev tags only")},
					{Groups: []string{"ops"}, Actions: access.Delete, Conditions: []access.Condition{
						{Expression: `req.tls.enabled`, Message: "with TLS only"}, {Expression: `req.action == "delete" && req.repository == "a"`},
					}},
					{Users: []string{"eve"}, Actions: access.Read, Conditions: if1(`req.claims.none == "x"`, "claims")},
					{Users: []string{"dan"}, Actions: access.Delete},
					{Users: []string{"dan"}, Actions: access.DetectCollision, Conditions: if1(`req.tls.enabled`, "")},
					{Users: []string{"fay"}, Actions: access.Delete},
					{Users: []string{"fay"}, Actions: access.DetectCollision, Conditions: if1(`req.claims.none == "x"`, "")},
				},
				Default: access.Read,
			},
			"b": {Policies: []access.Policy{{Users: []string{"alice"}, Actions: access.Read, Conditions: if1(`true`, "")}}},
			"c": {Policies: []access.Policy{{Users: []string{"alice", ""}, Actions: access.Read, Conditions: if1(`true`, "")}}},
		},
		Admin:  access.Policy{Users: []string{"root"}, Actions: access.Update, Conditions: if1(`req.auth.admin && req.user.groups == ["wheel"]`, "not in wheel")},
		Groups: map[string][]string{"ops": {"bob"}, "wheel": {"root"}},
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	r := rules(t, conditional())
	if !r.Asks() || rules(t, access.Config{}).Asks() || (*access.Rules)(nil).Asks() {
		t.Error("which rules have conditions is not known")
	}
	with := func(tag string, tls bool) *condition.Request {
		return &condition.Request{Time: time.Now(), Tag: tag, TLS: tls}
	}
	for _, c := range []struct {
		name       string
		about      *condition.Request
		do         access.Action
		repository string
		may, might bool
		why        string
	}{
		{"alice", with("dev-1", false), access.Create, "a", true, true, ""},
		{"alice", with("dev-1", false), access.Read | access.Create, "a", true, true, ""},
		{"alice", with("v1", false), access.Create, "a", false, true, "dev tags only"},
		{"alice", with("v1", false), access.Read, "a", true, true, "dev tags only"}, // by default
		{"alice", with("dev-1", false), access.Update, "a", false, false, ""},
		{"alice", nil, access.Create, "a", false, true, ""}, // nothing is known of the request
		{"bob", with("", true), access.Delete, "a", true, true, ""},
		{"bob", with("", false), access.Delete, "a", false, true, "with TLS only"},
		{"eve", with("", true), access.Read, "b", false, false, ""},
		{"eve", with("", true), access.Read, "a", true, true, ""},
		{"alice", with("", true), access.Read, "b", true, true, ""},
		{"", with("", true), access.Read, "c", false, false, ""}, // no policy is for who has no name
		{"root", with("", true), access.Update, "a", true, true, ""},
		{"root", with("", true), access.Update, "nowhere", true, true, ""},
		{"root", with("", true), access.Delete, "a", false, false, ""},
		{"dan", with("", true), access.DetectCollision, "a", true, true, ""},
		{"dan", with("", false), access.DetectCollision, "a", false, true, ""},
		{"fay", with("", true), access.DetectCollision, "a", true, true, ""}, // what cannot be judged takes no duty away
	} {
		who := access.Identity{Name: c.name, Request: c.about}
		if may, might, why := r.May(who, c.do, c.repository), r.Might(who, c.do, c.repository), r.Why(who, c.do, c.repository); may != c.may || might != c.might || why != c.why {
			t.Errorf("%s, %d to %s: %t, %t, %q", c.name, c.do, c.repository, may, might, why)
		}
	}
	if r.May(access.Identity{Name: "eve", Request: with("", true)}, access.Read|access.Update, "a") {
		t.Error("one of two things is enough")
	}
}

func TestConditionsThatAreNone(t *testing.T) {
	t.Parallel()
	bad := access.Policy{Users: []string{"a"}, Actions: access.Read, Conditions: []access.Condition{{Expression: "true"}, {Expression: "req.x"}}}
	for _, c := range []access.Config{{Admin: bad}, {Repositories: map[string]access.Repository{"a/*": {Policies: []access.Policy{bad}}}}} {
		if _, err := access.Compile(c); err == nil || !strings.Contains(err.Error(), "condition 1: ") {
			t.Errorf("%v", err)
		}
	}
}

// BenchmarkMayIf comes to a policy with a condition.
func BenchmarkMayIf(b *testing.B) {
	r := rules(b, conditional())
	who := access.Identity{Name: "alice", Request: &condition.Request{Tag: "dev-1"}}
	b.ReportAllocs()
	for b.Loop() {
		if !r.May(who, access.Create, "a") {
			b.Fatal("wrong answer")
		}
	}
}

func TestAdministers(t *testing.T) {
	t.Parallel()
	if1 := func(expression string) []access.Condition { return []access.Condition{{Expression: expression}} }
	plain := access.Config{
		Repositories: map[string]access.Repository{"**": {Default: access.Read | access.Create, Policies: []access.Policy{{Users: []string{"owner"}, Actions: access.Read | access.Create | access.Update | access.Delete}}}},
		Admin:        access.Policy{Users: []string{"root", ""}, Groups: []string{"ops", "far"}, Actions: access.Read | access.Create},
		Groups:       map[string][]string{"ops": {"bob"}},
	}
	conditional := plain
	conditional.Admin.Conditions = if1(`req.tls && req.repository == "" && req.action == "create"`)
	tls := &condition.Request{Time: time.Now(), TLS: true}
	for _, c := range []struct {
		rules *access.Rules
		who   access.Identity
		do    access.Action
		want  bool
	}{
		{nil, access.Identity{}, access.Delete, true}, // nothing is configured
		{rules(t, access.Config{}), access.Identity{Name: "root"}, access.Read, false},
		{rules(t, plain), access.Identity{Name: "root"}, access.Create, true},
		{rules(t, plain), access.Identity{Name: "root"}, access.Read | access.Create, true},
		{rules(t, plain), access.Identity{Name: "root"}, access.Delete, false},
		{rules(t, plain), access.Identity{Name: "root"}, access.Create | access.Delete, false},
		{rules(t, plain), access.Identity{Name: "bob"}, access.Create, true},
		{rules(t, plain), access.Identity{Name: "ann", Groups: []string{"far"}}, access.Create, true},
		{rules(t, plain), access.Identity{Name: "owner"}, access.Create, false}, // of all repositories, and of nothing else
		{rules(t, plain), access.Identity{}, access.Create, false},
		{rules(t, conditional), access.Identity{Name: "root", Request: tls}, access.Create, true},
		{rules(t, conditional), access.Identity{Name: "root", Request: tls}, access.Read, false},
		{rules(t, conditional), access.Identity{Name: "root", Request: &condition.Request{Time: time.Now()}}, access.Create, false},
		{rules(t, conditional), access.Identity{Name: "root"}, access.Create, false}, // nothing is known of the request
		{rules(t, conditional), access.Identity{Request: tls}, access.Create, false},
	} {
		if have := c.rules.Administers(c.who, c.do); have != c.want {
			t.Errorf("%+v, %d: %t", c.who, c.do, have)
		}
	}
}
