package retention

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/seed-16d79997/zot/fsm"
)

// Config is what the registry keeps of the repositories of a store.
type Config struct {
	DryRun bool          // say what would go, and keep it
	Delay  time.Duration // how long a manifest stays that nothing needs any more
	// Policies are for the repositories that they match, each for those that none before it matches. All else
	// is kept.
	Policies []Policy
}

// Policy is what is kept of some repositories.
type Policy struct {
	Repositories    []string   // globs; none: the policy is for no repository
	DeleteReferrers bool       // remove manifests whose subject is not there
	DeleteUntagged  bool       // remove manifests that nothing needs
	KeepTags        []KeepTags // none: every tag stays
	KeepUntagged    Rules      // what stays in spite of DeleteUntagged
}

// KeepTags keeps the tags that one of the patterns is found in, all of them or, if there are rules, those
// that meet one.
type KeepTags struct {
	Patterns []string // regular expressions; none: every tag
	Rules
}

// Rules keep what meets any of them. Pulled within a time counts as pulled too what was pushed within it: it
// has had less time to be pulled in.
type Rules struct {
	PulledWithin, PushedWithin             *time.Duration // nil: no rule
	MostRecentlyPushed, MostRecentlyPulled int            // the newest so many; 0: no rule
}

// none reports whether there is no rule.
func (r Rules) none() bool {
	return r.PulledWithin == nil && r.PushedWithin == nil && r.MostRecentlyPushed == 0 && r.MostRecentlyPulled == 0
}

// Policies are a Config whose globs and patterns are ready to be matched.
type Policies struct {
	config Config
	all    []*policy
}

// policy is one that matches.
type policy struct {
	Policy
	number   int                // its place in Config.Policies
	patterns [][]*regexp.Regexp // of KeepTags, in its order
	delay    time.Duration
}

// Compile makes a Config ready. It fails for a glob, a pattern or a number that is none.
func Compile(c Config) (*Policies, error) {
	if c.Delay < 0 {
		return nil, fmt.Errorf("a delay of %s is below zero", c.Delay)
	}
	all := &Policies{config: c}
	for n, p := range c.Policies {
		for _, glob := range p.Repositories {
			if !doublestar.ValidatePattern(glob) {
				return nil, fmt.Errorf("%q is no glob", glob)
			}
		}
		ready := &policy{Policy: p, number: n, delay: c.Delay}
		for _, keep := range p.KeepTags {
			patterns, err := compile(keep.Patterns)
			if err != nil {
				return nil, err
			}
			ready.patterns = append(ready.patterns, patterns)
		}
		if slices.ContainsFunc(p.KeepTags, func(k KeepTags) bool { return k.negative() }) || p.KeepUntagged.negative() {
			return nil, fmt.Errorf("a rule with a number below zero")
		}
		all.all = append(all.all, ready)
	}
	return all, nil
}

func compile(patterns []string) (all []*regexp.Regexp, err error) {
	for _, p := range patterns {
		pattern, err := regexp.Compile(p)
		if err != nil {
			return nil, fmt.Errorf("%q is no regular expression: %w", p, err)
		}
		all = append(all, pattern)
	}
	return all, nil
}

func (r Rules) negative() bool {
	return r.MostRecentlyPushed < 0 || r.MostRecentlyPulled < 0 ||
		r.PulledWithin != nil && *r.PulledWithin < 0 || r.PushedWithin != nil && *r.PushedWithin < 0
}

// of returns the policy for a repository, the first that matches; nil if there is none, and everything stays.
func (p *Policies) of(repository string) *policy {
	for _, one := range p.all {
		for _, glob := range one.Repositories {
			if doublestar.MatchUnvalidated(glob, repository) {
				return one
			}
		}
	}
	return nil
}

// in is of for a repository of the state, nil too if it is of another store.
func (p *Policies) in(state State, store, repository string) (one *policy, err error) {
	if one = p.of(repository); one == nil {
		return nil, nil
	}
	err = state.View(func(v fsm.View) error {
		if r, err := v.Repository(repository); err != nil || r.Store != store {
			one = nil // or it has gone
		}
		return nil
	})
	return one, err
}

// matches reports whether entry n of KeepTags is for a tag.
func (p *policy) matches(n int, tag string) bool {
	patterns := p.patterns[n]
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(r *regexp.Regexp) bool { return r.MatchString(tag) })
}
