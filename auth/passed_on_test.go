package auth_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
)

// directory is a method that lets everybody in, with these groups.
type directory []string

func (d directory) Verify(context.Context, string, string) ([]string, error) { return d, nil }

// passedOn is a caller of a gate as another node is told of them.
func passedOn(t *testing.T, g *auth.Gate, name string) string {
	t.Helper()
	c, err := g.Identify(asking(t, name, "x"))
	if err != nil {
		t.Fatal(err)
	}
	return c.Encode()
}

// What one node tells another of a caller does not grow with their groups, and means the same there.
func TestCallersOfManyGroups(t *testing.T) {
	t.Parallel()
	rules := compiled(t, map[string]access.Repository{"team/*": {Policies: []access.Policy{
		{Groups: []string{"cn=group 1999,ou=<Groups>,dc=example"}, Actions: access.Read},
		{Groups: []string{"cn=group 7,ou=<Groups>,dc=example"}, Actions: access.Delete},
	}}})
	var many directory
	for n := range 2000 {
		many = append(many, fmt.Sprintf("cn=group %d,ou=<Groups>,dc=example", n))
	}
	g := auth.New(auth.Config{Methods: []auth.Method{many}, Rules: rules})
	text := passedOn(t, g, "alice")
	if len(text) > 1<<10 {
		t.Errorf("%d bytes", len(text))
	}
	there, err := g.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	for do, want := range map[access.Action]bool{access.Read: true, access.Create: false, access.Delete: true} {
		if there.May(do, "team/app") != want || there.Name() != "alice" {
			t.Errorf("%s may do %d there: %v", there.Name(), do, !want)
		}
	}

	// A node that has newer rules already takes the caller for less, not for more.
	newer := compiled(t, map[string]access.Repository{"team/*": {Policies: []access.Policy{{Groups: many[5:6], Actions: access.Read}}}})
	if there, err = auth.New(auth.Config{Methods: []auth.Method{many}, Rules: newer}).Decode(text); err != nil || there.May(access.Read, "team/app") {
		t.Errorf("by newer rules: %v", err)
	}
}

// Whatever somebody is called can stand in a header.
func TestCallersOfStrangeNames(t *testing.T) {
	t.Parallel()
	g := auth.New(auth.Config{Methods: []auth.Method{directory{}}})
	for _, name := range []string{"Zoë", "a\x7fb", "a\r\nX-Zot-Caller=b", "tab\tnul\x00", strings.Repeat("\"", 500)} {
		text := passedOn(t, g, name)
		there, err := g.Decode(text)
		if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == '\x7f' }) || err != nil || there.Name() != name {
			t.Errorf("%q is %q there: %v", name, there.Name(), err)
		}
	}
}
