package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
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

// with is the shape, and some more keys.
func (sh shape) with(more shape) shape {
	all := maps.Clone(sh)
	maps.Copy(all, more)
	return all
}

// later is a key of zot that this version does not act on.
type later struct {
	name string
	so   string // what follows from that; may be ""
	keys shape
}

// later makes keys known that this version does not act on, and notes those that are there, a line
// each. Unknown keys in them are problems all the same: a slip should not wait for the version that
// acts on it.
func (s *section) later(all []later) {
	for _, l := range all {
		value, ok := s.take(l.name)
		if !ok {
			continue
		}
		text := "is a key of zot that this version does not act on yet"
		if l.so != "" {
			text += ": " + l.so
		}
		s.note(s.key(l.name), "%s", text)
		s.fits(s.key(l.name), value, l.keys)
	}
}

// fits notes the unknown keys in a value.
func (r *reader) fits(path string, value any, sh shape) {
	if sh == nil {
		return
	}
	switch v := value.(type) {
	case *object:
		r.sectionFits(&section{reader: r, path: path, object: v}, sh)
	case []any:
		for i, item := range v {
			r.fits(fmt.Sprintf("%s[%d]", path, i), item, sh)
		}
	default:
		r.problem(path, `write it as {"...": ...}`, "%s is no section", kindOf(value))
	}
}

func (r *reader) sectionFits(s *section, sh shape) {
	for _, name := range slices.Sorted(maps.Keys(sh)) {
		if name == "*" {
			continue
		}
		if value, ok := s.take(name); ok {
			r.fits(s.key(name), value, sh[name])
		}
	}
	others, open := sh["*"]
	if !open {
		s.close()
		return
	}
	for _, m := range s.object.members {
		if !slices.ContainsFunc(s.known, func(known string) bool { return strings.EqualFold(known, m.name) }) {
			r.fits(s.key(m.name), m.value, others)
		}
	}
}
