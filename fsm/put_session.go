package fsm

import "fmt"

// The bounds of a session.
const (
	maxSubject  = 512 // bytes
	maxGroups   = 4096
	maxAllGroup = 128 << 10 // bytes

	// sessionsOfOne bounds the sessions of one subject: a client that logs in with every request must
	// not fill the state.
	sessionsOfOne = 100
)

// PutSession records a login. If the subject has 100 sessions already, the one that would expire first
// ends. Putting a session again replaces it.
//
// Refused with ErrSessionOver if it would be over already by the date of the entry.
type PutSession struct {
	Cookie   SecretHash `cbor:"1,keyasint"`
	Subject  string     `cbor:"2,keyasint"`
	Provider string     `cbor:"3,keyasint,omitempty"`
	Groups   []string   `cbor:"4,keyasint,omitempty"`
	Expires  int64      `cbor:"5,keyasint"` // Unix milliseconds
}

func (PutSession) wire() kind { return kind{"put-session", 1} }

func (c PutSession) check() error {
	if !isName(c.Subject) || len(c.Provider) > maxSubject {
		return fmt.Errorf("subject %.20q or provider %.20q is empty, longer than %d bytes or has a zero byte", c.Subject, c.Provider, maxSubject)
	}
	return checkGroups(c.Groups, maxAllGroup)
}

// checkGroups bounds the groups that a record has.
func checkGroups(groups []string, most int) error {
	size := 0
	for _, g := range groups {
		size += len(g)
	}
	if len(groups) > maxGroups || size > most {
		return fmt.Errorf("%d groups of %d bytes are more than %d of %d", len(groups), size, maxGroups, most)
	}
	return nil
}

func (c PutSession) apply(t *tx) (None, error) {
	if !isName(c.Subject) {
		return None{}, ErrInvalid
	}
	if c.Expires <= t.date {
		return None{}, ErrSessionOver
	}
	t.saveSession(c.Cookie, Session{
		Subject: c.Subject, Provider: c.Provider, Groups: c.Groups, Created: t.date, Expires: c.Expires,
	})
	if all := t.sessionsOf(c.Subject); len(all) > sessionsOfOne {
		t.removeSession(all[0])
	}
	return None{}, nil
}
