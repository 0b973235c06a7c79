package fsm

import "fmt"

// preferencesOfOne bounds the repositories that one user may mark.
const preferencesOfOne = 1000

// Mark is what a user may put on a repository.
type Mark uint8

// The marks.
const (
	Star Mark = iota + 1
	Bookmark
)

// MarkChange is what becomes of a mark.
type MarkChange uint8

// The changes of a mark.
const (
	SetMark MarkChange = iota + 1
	RemoveMark
	ToggleMark
)

// PreferenceSet is the result of SetPreference.
type PreferenceSet struct {
	Marked bool   `cbor:"1,keyasint,omitempty"` // whether it is now
	Stars  uint64 `cbor:"2,keyasint,omitempty"` // of the repository, by all users
}

// SetPreference sets, removes or toggles a user's mark on a repository.
//
// Refused with:
//   - ErrRepositoryUnknown if there is no such repository
//   - ErrTooMany if the user has marked 1,000 repositories and would mark another
type SetPreference struct {
	User       string     `cbor:"1,keyasint"`
	Repository string     `cbor:"2,keyasint"`
	Mark       Mark       `cbor:"3,keyasint"`
	Change     MarkChange `cbor:"4,keyasint"`
}

func (SetPreference) wire() kind { return kind{"set-preference", 1} }

func (c SetPreference) check() error {
	switch {
	case !isName(c.User):
		return fmt.Errorf("user %.20q is empty, longer than %d bytes or has a zero byte", c.User, maxSubject)
	case c.Mark < Star || c.Mark > Bookmark:
		return fmt.Errorf("mark %d is neither star nor bookmark", c.Mark)
	case c.Change < SetMark || c.Change > ToggleMark:
		return fmt.Errorf("change %d is not known", c.Change)
	}
	return nil
}

func (c SetPreference) apply(t *tx) (PreferenceSet, error) {
	if !isName(c.User) {
		return PreferenceSet{}, ErrInvalid
	}
	if _, exists := t.repository(c.Repository); !exists {
		return PreferenceSet{}, ErrRepositoryUnknown.with("%s", c.Repository)
	}
	key := preferenceKey(c.User, c.Repository)
	p, known := load[preference](t.reader, preferences, key)
	flag := p.flag(c.Mark)
	wanted := c.Change == SetMark || c.Change == ToggleMark && !*flag
	if !known && wanted {
		if n := t.countPrefix(preferences, within(c.User), preferencesOfOne); n == preferencesOfOne {
			return PreferenceSet{}, ErrTooMany.with("%d marked repositories", n)
		}
	}
	if c.Mark == Star && wanted != *flag {
		t.countStar(c.Repository, wanted)
	}
	*flag = wanted
	if p == (preference{}) {
		t.del(preferences, key)
	} else {
		t.save(preferences, key, p)
	}
	n, _ := load[stars](t.reader, starred, []byte(c.Repository))
	return PreferenceSet{Marked: wanted, Stars: n.Users}, nil
}

// countStar counts one star more or less.
func (t *tx) countStar(repository string, more bool) {
	n, _ := load[stars](t.reader, starred, []byte(repository))
	if more {
		n.Users++
	} else {
		n.Users--
	}
	if n.Users == 0 {
		t.del(starred, []byte(repository))
		return
	}
	t.save(starred, []byte(repository), n)
}
