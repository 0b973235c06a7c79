package config

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-16d79997/zot/fsm/oci"
)

// Quota is how many bytes a repository and all those below it may have; "" is above all.
type Quota struct {
	Prefix string
	Bytes  int64
}

// maxQuotas is the most that the replicated state takes.
const maxQuotas = 1000

// readQuotas reads an object of prefixes and sizes.
func readQuotas(s *section, into *[]Quota) {
	s.section("quotas", func(s *section) {
		for _, m := range s.object.members {
			q := Quota{Prefix: m.name}
			if s.size(m, &q.Bytes) {
				*into = append(*into, q)
			}
		}
	})
	slices.SortFunc(*into, func(a, b Quota) int { return cmp.Compare(a.Prefix, b.Prefix) })
}

// size sets into to the quota that a member of the object is, and reports whether it is one.
func (s *section) size(m member, into *int64) bool {
	s.record(m.name, aSize())
	key, twice := s.key(m.name), slices.Contains(s.known, m.name)
	if m.name == "" {
		key = s.key(`""`)
	}
	s.known = append(s.known, m.name)
	bytes, err := sizeOf(m.value)
	*into = bytes
	switch {
	case m.name != "" && oci.ValidateRepository(m.name) != nil:
		s.problem(key, mendPrefix(m.name), "%q is neither a repository's name nor the beginning of one, up to a slash", m.name)
	case twice:
		s.problem(key, "remove one of them", "stands twice")
	case err != nil:
		s.problem(key, `write it as "500GiB", in units of 1024, or "500GB", of 1000, or as a number of bytes`, "%v", err)
	default:
		return true
	}
	return false
}

// mendPrefix guesses what was meant by what is no prefix.
func mendPrefix(name string) string {
	bare := strings.TrimRight(strings.TrimLeft(name, "/"), "/*")
	switch {
	case bare == "":
		return `"" is all repositories`
	case oci.ValidateRepository(bare) == nil:
		return fmt.Sprintf("write %q, which is that repository and all below it", bare)
	default:
		return `write "team" for team and all below it; "" is all repositories`
	}
}

// sizeOf reads a number of bytes, alone or with a unit.
func sizeOf(value any) (int64, error) {
	text := ""
	switch v := value.(type) {
	case json.Number:
		text = v.String()
	case string:
		text = v
	default:
		return 0, errors.New(kindOf(value) + " is no size")
	}
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit, known := units()[strings.ToLower(text[len(digits):])]
	if !known {
		return 0, fmt.Errorf("%q has no unit that is known", text)
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	switch bytes := n * unit; {
	case err != nil || math.IsNaN(n):
		return 0, fmt.Errorf("%q is no size", text)
	case bytes >= math.MaxInt64:
		return 0, fmt.Errorf("%q is too much", text)
	case bytes < 1:
		return 0, fmt.Errorf("%q is less than one byte: leave the quota out if none is meant", text)
	default:
		return int64(bytes), nil
	}
}

// units are what sizes are given in. What could be meant either way is none.
func units() map[string]float64 {
	all := map[string]float64{"": 1, "b": 1}
	decimal, binary := 1.0, 1.0
	for _, prefix := range "kmgtp" {
		decimal, binary = decimal*1000, binary*1024
		all[string(prefix)+"b"], all[string(prefix)+"ib"] = decimal, binary
	}
	return all
}

// checkLimits finds what speaks against the limits of a file.
func checkLimits(c *Config, r *reader) {
	if c.Storage.MaxRepositories < 0 {
		r.problem("storage.maxRepos", "give 0 for any number", "%d is no number of repositories", c.Storage.MaxRepositories)
	}
	all := c.Cluster.Quotas
	if len(all) > maxQuotas {
		r.problem("cluster.quotas", fmt.Sprintf("at most %d are possible: quotas of prefixes are for all below them", maxQuotas), "has %d", len(all))
	}
	for _, q := range all {
		for _, above := range all {
			if q.Prefix != above.Prefix && isIn(q.Prefix, above.Prefix) && q.Bytes >= above.Bytes {
				r.note("cluster.quotas."+q.Prefix, "says nothing: no more than the quota of %q holds for it too", above.Prefix)
			}
		}
	}
}

// isIn reports whether a name begins with a prefix, in whole components.
func isIn(name, prefix string) bool {
	return prefix == "" || strings.HasPrefix(name, prefix+"/")
}
