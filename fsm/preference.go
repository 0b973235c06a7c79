package fsm

// preference is what a user thinks of a repository. It outlives the repository: one that comes again
// under the name finds it.
type preference struct {
	Starred    bool `cbor:"1,keyasint,omitempty"`
	Bookmarked bool `cbor:"2,keyasint,omitempty"`
}

// flag is the part of the preference that a mark stands for.
func (p *preference) flag(m Mark) *bool {
	if m == Bookmark {
		return &p.Bookmarked
	}
	return &p.Starred
}

func preferenceKey(user, repository string) []byte { return within(user, repository) }

// stars is how many users have starred a repository.
type stars struct {
	Users uint64 `cbor:"1,keyasint"`
}

// Marked reports whether a user has starred and bookmarked a repository.
func (v View) Marked(user, repository string) (starred, bookmarked bool) {
	p, _ := load[preference](v.reader, preferences, preferenceKey(user, repository))
	return p.Starred, p.Bookmarked
}

// Stars is how many users have starred a repository.
func (v View) Stars(repository string) uint64 {
	n, _ := load[stars](v.reader, starred, []byte(repository))
	return n.Users
}

// MarkedBy returns the repositories that a user has starred or bookmarked, by name; there are at most
// 1,000. One that does not exist any more is among them.
func (v View) MarkedBy(user string, m Mark) (all []string) {
	prefix := within(user)
	for key, value := range v.scan(preferences, prefix, nil) {
		if p := mustDecode[preference](value); *p.flag(m) {
			all = append(all, string(key[len(prefix):]))
		}
	}
	return all
}
