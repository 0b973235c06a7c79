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
	for _, m := range s.object.members {
		switch {
		case !strings.EqualFold(m.name, name):
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
	given := ""
	if s.text(name, &given); given != "" {
		*into = given
	}
}

// number sets into to the value of a key, if it is there. Digits in quotes count, and a fraction is
// cut off, as for zot.
func (s *section) number(name string, into *int) {
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
	value, ok := s.take(name)
	if !ok {
		return
	}
	if one, ok := value.(string); ok {
		*into = nil
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
	value, ok := s.take(name)
	if !ok {
		return false
	}
	o, ok := value.(*object)
	if !ok {
		s.problem(s.key(name), `write it as {"...": ...}`, "%s is no section", kindOf(value))
		return false
	}
	inner := &section{reader: s.reader, path: s.key(name), object: o}
	read(inner)
	inner.close()
	return true
}

// ignored makes keys known that say nothing.
func (s *section) ignored(names ...string) { s.known = append(s.known, names...) }

// noteIf notes something of a key, if it is there.
func (s *section) noteIf(name, text string) {
	if s.object.find(name) != nil {
		s.note(s.key(name), "%s", text)
	}
}

// close notes a problem for each key that nobody asked for.
func (s *section) close() {
	for _, m := range s.object.members {
		same := func(known string) bool { return strings.EqualFold(known, m.name) }
		if slices.ContainsFunc(s.known, same) {
			continue
		}
		mend := "remove it"
		if near := nearest(m.name, s.known); near != "" {
			mend = fmt.Sprintf("did you mean %q?", near)
		}
		s.problem(s.key(m.name), mend, "unknown key")
	}
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
