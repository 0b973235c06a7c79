package access_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/bmatcuk/doublestar/v4"
	"pgregory.net/rapid"

	"github.com/seed-16d79997/zot/auth/access"
)

// TestLongestMatchDecides compares the index with a look at every pattern.
func TestLongestMatchDecides(t *testing.T) {
	part := rapid.SampledFrom([]string{"a", "b", "ab", "*", "a*", "**", "{a,b}", "?", "[ab]", `\a`})
	name := rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab", "c"}), 1, 4), func(p []string) string { return strings.Join(p, "/") })
	pattern := rapid.Map(rapid.SliceOfN(part, 1, 4), func(p []string) string { return strings.Join(p, "/") })
	rapid.Check(t, func(t *rapid.T) {
		patterns := rapid.SliceOfNDistinct(pattern, 1, 12, rapid.ID).Draw(t, "patterns")
		repository := name.Draw(t, "repository")
		c := access.Config{Repositories: map[string]access.Repository{}}
		for i, p := range patterns {
			c.Repositories[p] = access.Repository{Policies: []access.Policy{{Users: []string{string(rune('A' + i))}, Actions: access.Read}}}
		}
		r, err := access.Compile(c)
		if err != nil {
			t.Fatal(err)
		}
		matching := slices.DeleteFunc(slices.Clone(patterns), func(p string) bool { return !doublestar.MatchUnvalidated(p, repository) })
		slices.SortFunc(matching, func(a, b string) int {
			switch {
			case len(a) != len(b):
				return len(b) - len(a)
			case a == repository:
				return -1
			case b == repository:
				return 1
			}
			return strings.Compare(a, b)
		})
		for i, p := range patterns {
			want := len(matching) > 0 && matching[0] == p
			if got := r.May(access.Identity{Name: string(rune('A' + i))}, access.Read, repository); got != want {
				t.Fatalf("%s of %q decides for %s: %v, %v", p, patterns, repository, got, want)
			}
		}
	})
}
