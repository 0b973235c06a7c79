package config

// What zot has keys for and this version does not act on. Who builds one of these has its reader fill in the Config, and
// calls it by itself.

// unbuilt makes a key known that this version does not act on, and notes it, if it is there, in one line. What is wrong in
// it is a problem all the same: a slip should not wait for the version that acts on it. With a reader the key is a section,
// or a list of them; without, it may be anything.
func (s *section) unbuilt(name, so string, read func(*section)) {
	if s.isOn(name) {
		text := "is a key of zot that this version does not act on yet"
		if so != "" {
			text += ": " + so
		}
		s.note(s.key(name), "%s", text)
	}
	if read == nil {
		s.ignored(name)
	} else {
		s.either(name, read)
	}
	s.recordUnbuilt(name)
}

// either is section or sections, whichever is there.
func (s *section) either(name string, read func(*section)) {
	if _, isOne := s.object.find(name).(*object); isOne {
		s.section(name, read)
	} else {
		s.sections(name, read)
	}
}
