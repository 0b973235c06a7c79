package fsm

import "fmt"

// SessionsDeleted is the result of DeleteSessions.
type SessionsDeleted struct {
	Sessions int `cbor:"1,keyasint"`
}

// DeleteSessions ends all sessions of a subject: it was removed, or lost a device.
//
// It is never refused.
type DeleteSessions struct {
	Subject string `cbor:"1,keyasint"`
}

func (DeleteSessions) wire() kind { return kind{"delete-sessions", 1} }

func (c DeleteSessions) check() error {
	if !isName(c.Subject) {
		return fmt.Errorf("subject %.20q is empty, longer than %d bytes or has a zero byte", c.Subject, maxSubject)
	}
	return nil
}

func (c DeleteSessions) apply(t *tx) (SessionsDeleted, error) {
	all := t.sessionsOf(c.Subject) // 100 at most
	for _, cookie := range all {
		t.removeSession(cookie)
	}
	return SessionsDeleted{Sessions: len(all)}, nil
}
