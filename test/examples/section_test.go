package examples_test

import "strings"

// section is a part of a configuration. Its keys may be written in any case, as zot has it.
type section map[string]any

// key is how a key is written here; "" if it is not there.
func (s section) key(name string) string {
	for key := range s {
		if strings.EqualFold(key, name) {
			return key
		}
	}
	return ""
}

// at is what stands at a path of keys; nil if nothing does.
func (s section) at(path ...string) any {
	var v any = map[string]any(s)
	for _, name := range path {
		m, _ := v.(map[string]any)
		if v = m[section(m).key(name)]; v == nil {
			return nil
		}
	}
	return v
}

// in is the section at a path of keys; nil if there is none.
func (s section) in(path ...string) section {
	m, _ := s.at(path...).(map[string]any)
	return m
}

// text is the text at a path of keys; "" if there is none.
func (s section) text(path ...string) string {
	v, _ := s.at(path...).(string)
	return v
}

// put gives a key another value, also where it has had none.
func (s section) put(name string, v any) {
	if key := s.key(name); key != "" {
		name = key
	}
	s[name] = v
}

// replace is put for a key that is there.
func (s section) replace(name string, v any) {
	if s.key(name) != "" {
		s.put(name, v)
	}
}

// list is the texts of a list.
func list(v any) (all []string) {
	items, _ := v.([]any)
	for _, item := range items {
		if text, ok := item.(string); ok {
			all = append(all, text)
		}
	}
	return all
}
