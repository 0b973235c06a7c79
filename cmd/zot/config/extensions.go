package config

import "time"

// Extensions is what zot counts as beyond the core.
type Extensions struct {
	Scrub   Scrub
	APIKeys bool // as Auth.APIKeys; the older place for it
	Mgmt    bool // everybody may know how to log in
	Marks   bool // users may mark repositories
	Trust   Trust
}

// Trust says whose signatures of images are checked.
type Trust struct {
	Cosign, Notation bool
}

// Scrub says how often a node hashes its copies of blobs again.
type Scrub struct {
	Interval time.Duration // 0: never
}

const (
	scrubAsked   = 24 * time.Hour     // with a section that does not say
	scrubUnasked = 7 * 24 * time.Hour // without one: rot that nobody looks for takes one copy after the other
	minScrub     = 2 * time.Hour
)

func readExtensions(s *section, c *Extensions) {
	s.section("scrub", func(s *section) { readScrub(s, &c.Scrub) })
	s.asked("apikey", &c.APIKeys)
	c.Mgmt, c.Marks = s.isOn("search"), s.isOn("search") // zot serves both with search
	s.asked("mgmt", &c.Mgmt)
	s.asked("userprefs", &c.Marks)
	if s.isOn("mgmt") { // where zot has taken keys before it had a section for them
		c.Trust = Trust{Cosign: true, Notation: true}
	}
	s.section("trust", func(s *section) { readTrust(s, &c.Trust) })
	readUnbuilt(s)
}

// isOn reports whether a section is there, and does not say that it is off.
func (s *section) isOn(name string) bool {
	on, says := boolOf(s.object.find(name, "enable"))
	return s.has(name) && (on || !says)
}

// asked reads a section that has nothing in it but whether it is on, as it is when it is there and does not say.
func (s *section) asked(name string, on *bool) {
	s.section(name, func(s *section) {
		*on = true
		s.boolean("enable", on)
	})
}

// readTrust reads a section that decides alone where it is there.
func readTrust(s *section, c *Trust) {
	on := true
	*c = Trust{}
	s.boolean("enable", &on)
	s.boolean("cosign", &c.Cosign)
	s.boolean("notation", &c.Notation)
	switch {
	case !on:
		*c = Trust{}
	case !s.has("cosign") && !s.has("notation"):
		s.note(s.path, `names neither cosign nor notation: no signatures are checked; add "cosign": true or "notation": true`)
	}
}

// readScrub reads a section that is on unless it says otherwise.
func readScrub(s *section, c *Scrub) {
	on := true
	c.Interval = scrubAsked
	s.boolean("enable", &on)
	s.duration("interval", &c.Interval)
	switch {
	case !on:
		c.Interval = 0
	case c.Interval < minScrub:
		s.note(s.key("interval"), "%s is raised to %s, the shortest", c.Interval, minScrub)
		c.Interval = minScrub
	}
}
