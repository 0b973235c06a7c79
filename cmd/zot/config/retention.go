package config

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/seed-16d79997/zot/jobs/retention"
)

// readRetention reads what is kept of the repositories of a store. Whatever it lets pass compiles.
func readRetention(s *section, c *Store) {
	k := &c.Retention
	k.Delay = c.GCDelay
	s.boolean("dryRun", &k.DryRun)
	s.duration("delay", &k.Delay)
	s.sections("policies", func(s *section) { k.Policies = append(k.Policies, readPolicy(s)) })
}

func readPolicy(s *section) (p retention.Policy) {
	s.list("repositories", &p.Repositories)
	for i, glob := range p.Repositories {
		key := fmt.Sprintf("%s[%d]", s.key("repositories"), i)
		switch {
		case !doublestar.ValidatePattern(glob):
			s.problem(key, `write "team/*" for all in team, "team/**" for all at any depth`, "%q is no glob", glob)
		case strings.HasPrefix(glob, "/"):
			s.note(key, `%q matches nothing, for no name begins with "/"`, glob)
		}
	}
	if len(p.Repositories) == 0 {
		s.note(s.path, `names no repositories, so it is for none; "repositories": ["**"] are all`)
	}
	p.DeleteUntagged = true
	s.boolean("deleteReferrers", &p.DeleteReferrers)
	s.boolean("deleteUntagged", &p.DeleteUntagged)
	s.sections("keepTags", func(s *section) { p.KeepTags = append(p.KeepTags, readKeepTags(s)) })
	s.section("keepUntagged", func(s *section) { p.KeepUntagged = readRules(s) })
	if !p.DeleteUntagged {
		s.noteIf("keepUntagged", "says nothing, for deleteUntagged is false")
	}
	return p
}

func readKeepTags(s *section) (k retention.KeepTags) {
	s.list("patterns", &k.Patterns)
	for i, pattern := range k.Patterns {
		if _, err := regexp.Compile(pattern); err != nil {
			s.problem(fmt.Sprintf("%s[%d]", s.key("patterns"), i), `write it as "^v2\\." or ".*-prod"; all tags are ".*"`, "%q is no regular expression: %v", pattern, why(err))
		}
	}
	k.Rules = readRules(s)
	return k
}

// why is what is wrong with a regular expression, without the expression.
func why(err error) string {
	if e, ok := errors.AsType[*syntax.Error](err); ok {
		return e.Code.String()
	}
	return err.Error()
}

func readRules(s *section) (r retention.Rules) {
	r.PulledWithin, r.PushedWithin = s.age("pulledWithin"), s.age("pushedWithin")
	s.count("mostRecentlyPushedCount", &r.MostRecentlyPushed)
	s.count("mostRecentlyPulledCount", &r.MostRecentlyPulled)
	return r
}

// age is the value of a key that a rule is made of, nil if there is no such rule.
func (s *section) age(name string) *time.Duration {
	var d time.Duration
	if !s.has(name) {
		s.duration(name, &d) // it is a known key
		return nil
	}
	before := len(s.problems)
	if s.duration(name, &d); len(s.problems) > before {
		return nil
	}
	if d == 0 {
		s.note(s.key(name), "keeps nothing, for nothing was pushed or pulled within 0s")
	}
	return &d
}

// count sets into to the value of a key, if it is there, unless it is below zero.
func (s *section) count(name string, into *int) {
	n := *into
	if s.number(name, &n); n < 0 {
		s.problem(s.key(name), "give 0 or more", "%d is below zero", n)
		return
	}
	*into = n
}
