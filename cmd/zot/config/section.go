package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// reader collects what is to be said of a file while it is read.
type reader struct {
	problems Problems
	notes    []Note
}

func (r *reader) problem(key, mend, format string, args ...any) {
	r.problems = append(r.problems, Problem{Key: key, Text: fmt.Sprintf(format, args...), Mend: mend})
}

// refuses is a problem of who serves with the file, and not of the file.
func (r *reader) refuses(key, mend, format string, args ...any) {
	r.problems = append(r.problems, Problem{Key: key, Text: fmt.Sprintf(format, args...), Mend: mend, Serving: true})
}

func (r *reader) note(key, format string, args ...any) {
	r.notes = append(r.notes, Note{Key: key, Text: fmt.Sprintf(format, args...)})
}

// section reads the keys of one object. Keys are compared without regard to case. A key that none of
// its methods was asked for is unknown, and close says so.
type section struct {
	*reader
	path   string // "" for the whole file
	object *object
	known  []string
	schema *recording // of what is asked for, if this is no section of a file (schema.go); nil: it is one

	// By their names without case: some sections have ten thousand keys.
	byName map[string][]member
	heard  map[string]bool // those of known, up to until
	until  int
}

// fold makes names equal that differ in case alone.
func fold(name string) string { return strings.ToLower(strings.ToUpper(name)) }

// named are the members of a name, in each spelling.
func (s *section) named(name string) []member {
	if s.byName == nil {
		s.byName = map[string][]member{}
		for _, m := range s.object.members {
			s.byName[fold(m.name)] = append(s.byName[fold(m.name)], m)
		}
	}
	return s.byName[fold(name)]
}

// knows reports whether a method was asked for a key.
func (s *section) knows(name string) bool {
	if s.heard == nil {
		s.heard = map[string]bool{}
	}
	for ; s.until < len(s.known); s.until++ {
		s.heard[fold(s.known[s.until])] = true
	}
	return s.heard[fold(name)]
}

func (s *section) key(name string) string {
	if s.path == "" {
		return name
	}
	return s.path + "." + name
}

// take returns the value of a key, and makes the key a known one. Two spellings of one key are a
// problem: zot takes one of them at random.
func (s *section) take(name string) (any, bool) {
	s.known = append(s.known, name)
	var value any
	spelled := ""
	for _, m := range s.named(name) {
		switch {
		case spelled != "" && spelled != m.name:
			s.problem(s.key(name), "remove one of them", "stands twice, as %q and as %q", spelled, m.name)
		case spelled != "":
			s.note(s.key(name), "stands twice; the last one counts")
			value = m.value
		default:
			spelled, value = m.name, m.value
		}
	}
	return value, spelled != ""
}

// text sets into to the value of a key, if it is there. Numbers count as text, as for zot.
func (s *section) text(name string, into *string) {
	s.record(name, aText(*into))
	s.readText(name, into)
}

func (s *section) readText(name string, into *string) {
	value, ok := s.take(name)
	if !ok {
		return
	}
	switch v := value.(type) {
	case string:
		*into = v
	case json.Number:
		*into = v.String()
	default:
		s.problem(s.key(name), `write it in quotes, as "`+name+`": "..."`, "%s is no text", kindOf(value))
	}
}

// word is text where "" says no more than no key at all.
func (s *section) word(name string, into *string) {
	s.record(name, aText(*into))
	given := ""
	if s.readText(name, &given); given != "" {
		*into = given
	}
}

// oneOf sets into to the value of a key, if it is there: one of some words, in lower case. In a file they may be in any
// case, and "" says no more than no key at all. It reports whether nothing is wrong.
func (s *section) oneOf(name string, into *string, words ...string) bool {
	return s.oneOfOffered(name, into, words, nil)
}

// oneOfOffered is oneOf for words of which some are known as well, and not offered to who has written another.
func (s *section) oneOfOffered(name string, into *string, offered, known []string) bool {
	words := slices.Concat(offered, known)
	s.record(name, aWord(*into, words))
	if s.schema != nil {
		*into = words[0] // the one with which most other keys are asked for
		return true
	}
	given := ""
	s.readText(name, &given)
	switch low := strings.ToLower(given); {
	case given == "":
		return true
	case slices.Contains(words, low):
		*into = low
		return true
	default:
		mend := "give one of " + strings.Join(offered, ", ")
		if len(offered) == 1 {
			mend = "give " + offered[0]
		}
		if near := nearest(low, offered); near != "" {
			mend = fmt.Sprintf("did you mean %q?", near)
		}
		s.problem(s.key(name), mend, "%q is not known", given)
		return false
	}
}

// number sets into to the value of a key, if it is there. Digits in quotes count, and a fraction is
// cut off, as for zot.
func (s *section) number(name string, into *int) {
	s.record(name, aNumber(*into))
	value, ok := s.take(name)
	if !ok {
		return
	}
	digits := fmt.Sprint(value)
	_, isNumber := value.(json.Number)
	if _, isText := value.(string); !isText && !isNumber {
		s.problem(s.key(name), "write digits", "%s is no number", kindOf(value))
		return
	}
	if n, err := strconv.Atoi(digits); err == nil {
		*into = n
		return
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || !isNumber || f > 1<<31 || f < -1<<31 {
		s.problem(s.key(name), "write digits", "%q is no whole number", digits)
		return
	}
	*into = int(f)
	s.note(s.key(name), "%s was cut to %d", digits, int(f))
}

// list sets into to the value of a key, if it is there. A single text counts as a list of what stands
// between its commas, as for zot.
func (s *section) list(name string, into *[]string) {
	s.record(name, aList(*into))
	value, ok := s.take(name)
	if !ok {
		return
	}
	if one, ok := value.(string); ok {
		*into = nil
		if one == "" {
			return
		}
		for item := range strings.SplitSeq(one, ",") {
			*into = append(*into, strings.TrimSpace(item))
		}
		return
	}
	all, ok := value.([]any)
	if !ok {
		s.problem(s.key(name), `write it as ["...", "..."]`, "%s is no list", kindOf(value))
		return
	}
	*into = nil
	for i, item := range all {
		switch v := item.(type) {
		case string:
			*into = append(*into, v)
		case json.Number:
			*into = append(*into, v.String())
		default:
			s.problem(fmt.Sprintf("%s[%d]", s.key(name), i), "write it in quotes", "%s is no text", kindOf(item))
		}
	}
}

// section has read take the keys of an object, if it is there, and reports whether it is.
func (s *section) section(name string, read func(*section)) bool {
	if s.recordSection(name, read) {
		return true
	}
	value, ok := s.take(name)
	return ok && s.within(s.key(name), value, read)
}

// sections has read take the keys of each section of a list, if it is there. A single section counts as a list
// of one, as for zot.
func (s *section) sections(name string, read func(*section)) {
	if s.recordSections(name, read) {
		return
	}
	value, ok := s.take(name)
	if !ok {
		return
	}
	all, ok := value.([]any)
	if !ok {
		all = []any{value}
	}
	for i, item := range all {
		s.within(fmt.Sprintf("%s[%d]", s.key(name), i), item, read)
	}
}

// inside is section for a member of the object.
func (s *section) inside(m member, read func(*section)) bool {
	return s.recordSection(m.name, read) || s.within(s.key(m.name), m.value, read)
}

// within has read take the keys of the section that a value is, and reports whether it is one.
func (s *section) within(path string, value any, read func(*section)) bool {
	o, ok := value.(*object)
	if !ok {
		s.problem(path, `write it as {"...": ...}`, "%s is no section", kindOf(value))
		return false
	}
	inner := &section{reader: s.reader, path: path, object: o}
	read(inner)
	inner.close()
	return true
}

// others has read take the keys of each section that no method was asked for: their names are no keys, but what a file
// speaks of.
func (s *section) others(read func(name string, s *section)) {
	for _, m := range s.object.members {
		if !s.knows(m.name) {
			s.section(m.name, func(s *section) { read(m.name, s) })
		}
	}
}

// has reports whether a key is there.
func (s *section) has(name string) bool { return s.object.find(name) != nil }

// ignored makes keys known that say nothing.
func (s *section) ignored(names ...string) {
	for _, name := range names {
		s.record(name, anything())
	}
	s.known = append(s.known, names...)
}

// noteIf notes something of a key, if it is there.
func (s *section) noteIf(name, text string) {
	if s.has(name) {
		s.note(s.key(name), "%s", text)
	}
}

// close notes a problem for each key that nobody asked for.
func (s *section) close() {
	for _, m := range s.object.members {
		if s.knows(m.name) {
			continue
		}
		mend := "remove it"
		if near := nearest(m.name, s.known); near != "" {
			mend = fmt.Sprintf("did you mean %q?", near)
		}
		s.problem(s.key(m.name), mend, "unknown key")
	}
}

func isKnown(known []string, name string) bool {
	return slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, name) })
}

func kindOf(value any) string {
	switch v := value.(type) {
	case *object:
		return "a section"
	case []any:
		return "a list"
	case string:
		return strconv.Quote(v)
	default:
		return fmt.Sprint(v)
	}
}
