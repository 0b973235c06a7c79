// Package access decides what somebody may do to a repository, by the rules of http.accessControl in a
// configuration. It does not know how anybody proved who they are, nor what a repository has in it.
//
// The rules are zot's: of all patterns that match the name of a repository the longest decides alone, as a string of
// characters, so that a glob of twelve comes before a name of eleven. What it denies only the policy for
// administrators may still grant. Where two of the same length match, which zot leaves to chance, the name itself
// comes before a glob, and else the first in the order of the alphabet.
//
// Compile makes the rules ready once; May, the one question, allocates nothing.
package access

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Action is what somebody wants to do. Actions may be added up to a set.
type Action uint8

// The actions, by the words of the configuration.
const (
	Read Action = 1 << iota
	Create
	Update
	Delete
	// DetectCollision is no right but a duty: whoever has it may not delete a digest that several tags name.
	DetectCollision
)

func words() map[string]Action {
	return map[string]Action{"read": Read, "create": Create, "update": Update, "delete": Delete, "detectManifestCollision": DetectCollision}
}

// ParseAction reads the word of a configuration, and reports whether it is one.
func ParseAction(word string) (Action, bool) {
	a, known := words()[word]
	return a, known
}

// Policy grants actions to some.
type Policy struct {
	Users, Groups []string // by their names; there is no wildcard
	Actions       Action
}

// Repository is what holds for the repositories that a pattern matches.
type Repository struct {
	Policies  []Policy
	Default   Action // what everybody may whose name is known
	Anonymous Action // what they may who gave no name
}

// Config is the access control of a configuration.
type Config struct {
	Repositories map[string]Repository // by a glob, in which * stays within a component and ** does not
	Admin        Policy                // for all repositories, whatever these say
	Groups       map[string][]string   // users by the group that they are in
}

// Identity is who asks.
type Identity struct {
	Name   string   // "" is nobody in particular
	Groups []string // that the name was found in, beside those of the configuration
}

// Rules are a Config that is ready. They are not changed any more, and may be used concurrently. Nil grants
// everything to everybody, and imposes no duty: nothing is configured.
type Rules struct {
	names    map[string]*entry
	globs    map[string][]glob // by the whole components that they begin with, before any wildcard; the longest first
	admin    entry
	groupsOf map[string][]string
	named    map[string]bool // groups that some policy is for
	open     bool
}

// entry is a Repository by who asks.
type entry struct {
	users, groups    map[string]Action
	known, anonymous Action
}

type glob struct {
	pattern string
	entry   *entry
}

// Compile makes the rules of a configuration ready. It fails for a pattern that is none.
func Compile(c Config) (*Rules, error) {
	r := &Rules{names: map[string]*entry{}, globs: map[string][]glob{}, groupsOf: map[string][]string{}, named: map[string]bool{}}
	r.grant(&r.admin, c.Admin)
	for _, group := range slices.Sorted(maps.Keys(c.Groups)) {
		for _, user := range c.Groups[group] {
			r.groupsOf[user] = append(r.groupsOf[user], group)
		}
	}
	for pattern, repository := range c.Repositories {
		if !doublestar.ValidatePattern(pattern) {
			return nil, fmt.Errorf("%q is no glob", pattern)
		}
		e := &entry{known: repository.Default, anonymous: repository.Anonymous}
		for _, p := range repository.Policies {
			r.grant(e, p)
		}
		r.open = r.open || e.anonymous != 0
		if wild := strings.IndexAny(pattern, `*?[{\`); wild < 0 {
			r.names[pattern] = e
		} else {
			fixed := pattern[:max(0, strings.LastIndexByte(pattern[:wild], '/'))]
			r.globs[fixed] = append(r.globs[fixed], glob{pattern, e})
		}
	}
	for _, all := range r.globs {
		slices.SortFunc(all, func(a, b glob) int {
			if n := len(b.pattern) - len(a.pattern); n != 0 {
				return n
			}
			return strings.Compare(a.pattern, b.pattern)
		})
	}
	return r, nil
}

func (r *Rules) grant(e *entry, p Policy) {
	for _, group := range p.Groups {
		r.named[group] = true
	}
	add := func(to *map[string]Action, names []string) {
		if *to == nil {
			*to = map[string]Action{}
		}
		for _, name := range names {
			(*to)[name] |= p.Actions
		}
	}
	add(&e.users, p.Users)
	add(&e.groups, p.Groups)
}

// Named are those of some groups that anything is granted to.
func (r *Rules) Named(groups []string) (all []string) {
	if r == nil {
		return nil
	}
	for _, group := range groups {
		if r.named[group] {
			all = append(all, group)
		}
	}
	return all
}

// Open reports whether anything is granted to those who give no name.
func (r *Rules) Open() bool { return r == nil || r.open }

// May reports whether somebody may do something, or all of several things, to a repository.
func (r *Rules) May(who Identity, do Action, repository string) bool {
	if r == nil {
		return do&DetectCollision == 0
	}
	var granted Action
	if e := r.find(repository); e != nil {
		granted = r.of(e, who)
		if who.Name == "" {
			granted |= e.anonymous
		} else {
			granted |= e.known
		}
	}
	return granted&do == do || (granted|r.of(&r.admin, who))&do == do
}

// of is what an entry grants to somebody by name or group.
func (r *Rules) of(e *entry, who Identity) Action {
	if who.Name == "" {
		return 0
	}
	granted := e.users[who.Name]
	if len(e.groups) == 0 {
		return granted
	}
	for _, group := range r.groupsOf[who.Name] {
		granted |= e.groups[group]
	}
	for _, group := range who.Groups {
		granted |= e.groups[group]
	}
	return granted
}

// find returns the entry of the longest pattern that matches, or nil.
func (r *Rules) find(repository string) *entry {
	best, length := r.names[repository], -1
	if best != nil {
		length = len(repository)
	}
	first := ""                                   // pattern of best, if that is a glob
	for end := 0; end <= len(repository); end++ { // the whole too, for "a/**" is "a" as well
		if end > 0 && end < len(repository) && repository[end] != '/' {
			continue
		}
		for _, g := range r.globs[repository[:end]] {
			if len(g.pattern) < length {
				break
			}
			if len(g.pattern) == length && (first == "" || g.pattern > first) {
				continue
			}
			if doublestar.MatchUnvalidated(g.pattern, repository) {
				best, length, first = g.entry, len(g.pattern), g.pattern
				break
			}
		}
	}
	return best
}
