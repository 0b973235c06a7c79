// Package access decides what somebody may do to a repository, by the rules of http.accessControl in a
// configuration. It does not know how anybody proved who they are, nor what a repository has in it.
//
// The rules are zot's: of all patterns that match the name of a repository the longest decides alone, as a string of
// characters, so that a glob of twelve comes before a name of eleven. What it denies only the policy for
// administrators may still grant. Where two of the same length match, which zot leaves to chance, the name itself
// comes before a glob, and else the first in the order of the alphabet.
//
// Compile makes the rules ready once; May, the one question, allocates nothing, unless it comes to a policy with conditions
// (conditional.go).
package access

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/auth/condition"
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
	Conditions    []Condition // it grants nothing unless all are true
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
	Logger       hclog.Logger          // nil: it is not logged why a condition could not be judged
}

// Identity is who asks.
type Identity struct {
	Name   string   // "" is nobody in particular
	Groups []string // that the name was found in, beside those of the configuration
	// Request is what else conditions may ask. Nil: nothing is known, and no condition holds.
	Request *condition.Request `json:",omitempty"`
}

// Rules are a Config that is ready. They are not changed any more, and may be used concurrently. Nil grants
// everything to everybody, and imposes no duty: nothing is configured.
type Rules struct {
	names      map[string]*entry
	globs      map[string][]glob // by the whole components that they begin with, before any wildcard; the longest first
	admin      entry
	groupsOf   map[string][]string
	named      map[string]bool // groups that some policy is for
	open       bool
	asks       bool // some policy has conditions
	asksGroups bool // and some condition asks for groups
	log        hclog.Logger
}

// entry is a Repository by who asks.
type entry struct {
	users, groups    map[string]Action
	known, anonymous Action
	conditional      []conditional
}

type glob struct {
	pattern string
	entry   *entry
}

// Compile makes the rules of a configuration ready. It fails for a pattern or a condition that is none.
func Compile(c Config) (*Rules, error) {
	r := &Rules{names: map[string]*entry{}, globs: map[string][]glob{}, groupsOf: map[string][]string{}, named: map[string]bool{}, log: c.Logger}
	if r.log == nil {
		r.log = hclog.NewNullLogger()
	}
	expressions := &expressions{}
	if err := r.grant(&r.admin, c.Admin, expressions); err != nil {
		return nil, err
	}
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
			if err := r.grant(e, p, expressions); err != nil {
				return nil, fmt.Errorf("%s: %w", pattern, err)
			}
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

func (r *Rules) grant(e *entry, p Policy, x *expressions) error {
	for _, group := range p.Groups {
		r.named[group] = true
	}
	if len(p.Conditions) > 0 {
		r.asks = true
		c, err := x.conditional(p)
		r.asksGroups = r.asksGroups || slices.ContainsFunc(p.Conditions, func(c Condition) bool { return strings.Contains(c.Expression, "user.groups") })
		e.conditional = append(e.conditional, c)
		return err
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
	return nil
}

// Named are those of some groups that make a difference: to which anything is granted, or all if a condition asks for them.
func (r *Rules) Named(groups []string) (all []string) {
	switch {
	case r == nil:
		return nil
	case r.asksGroups:
		return groups
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
	e, granted := r.always(who, repository)
	if granted&do == do {
		return true
	}
	granted |= r.of(&r.admin, who)
	return granted&do == do || r.asks && r.sometimes(who, e, do&^granted, repository)
}

// always is what somebody may do to a repository whatever the conditions, but for what administrators may, with the
// entry that says so, or nil.
func (r *Rules) always(who Identity, repository string) (e *entry, granted Action) {
	if e = r.find(repository); e == nil {
		return nil, 0
	}
	if who.Name == "" {
		return e, e.anonymous
	}
	return e, r.of(e, who) | e.known
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
