package config

import (
	"maps"
	"slices"
)

// shape is what a value may hold that is not acted on: the keys of a section, or of each section of a
// list, with what these may hold. Nil is anything, the key "*" is any other key.
type shape map[string]shape

// keys is a shape whose keys may hold anything.
func keys(names ...string) shape {
	s := shape{}
	for _, name := range names {
		s[name] = nil
	}
	return s
}

// read takes the keys of a section of that shape.
func (sh shape) read(s *section) {
	for _, name := range slices.Sorted(maps.Keys(sh)) {
		switch {
		case name == "*":
		case sh[name] == nil:
			s.ignored(name)
		default:
			s.either(name, sh[name].read)
		}
	}
	if others, open := sh["*"]; open {
		s.others(func(_ string, s *section) { others.read(s) })
	}
}

// later is a key of zot that this version does not act on.
type later struct {
	name string
	so   string // what follows from that; may be ""
	keys shape
}

// later is unbuilt for keys of some shape.
func (s *section) later(all []later) {
	for _, l := range all {
		s.noteUnbuilt(l.name, l.so)
		if l.keys == nil {
			s.ignored(l.name)
		} else {
			s.either(l.name, l.keys.read)
		}
		s.recordUnbuilt(l.name)
	}
}

// either is section or sections, whichever is there.
func (s *section) either(name string, read func(*section)) {
	if _, isOne := s.object.find(name).(*object); isOne {
		s.section(name, read)
	} else {
		s.sections(name, read)
	}
}
