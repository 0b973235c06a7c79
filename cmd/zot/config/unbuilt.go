package config

// What zot has keys for and this version does not act on. Who builds one of these has its reader fill in the Config, and
// calls it by itself.

// unbuilt is section for one that this version does not act on, and notes it, if it is there, in one line. What is wrong in
// it is a problem all the same: a slip should not wait for the version that acts on it.
func (s *section) unbuilt(name, so string, read func(*section)) {
	s.noteUnbuilt(name, so)
	s.section(name, read)
	s.recordUnbuilt(name)
}

func (s *section) noteUnbuilt(name, so string) {
	if !s.isOn(name) {
		return
	}
	text := "is a key of zot that this version does not act on yet"
	if so != "" {
		text += ": " + so
	}
	s.note(s.key(name), "%s", text)
}
