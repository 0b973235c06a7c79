package fsm

// expireAtOnce bounds what one command removes because its date has come.
const expireAtOnce = 300

// ExpiredRemoved is the result of commands that remove what is over.
type ExpiredRemoved struct {
	Removed int  `cbor:"1,keyasint"`
	More    bool `cbor:"2,keyasint,omitempty"` // the command is due again
}

// ExpireSessions removes sessions that are over by the date of the entry, 300 at most. Nobody could use
// them any more: readers refuse by their own clock.
//
// It is never refused.
type ExpireSessions struct{}

func (ExpireSessions) wire() kind { return kind{"expire-sessions", 1} }

func (ExpireSessions) check() error { return nil }

func (ExpireSessions) apply(t *tx) (ExpiredRemoved, error) {
	all := t.dueHashes(sessionsUntil, t.date, expireAtOnce)
	for _, cookie := range all {
		t.removeSession(cookie)
	}
	return ExpiredRemoved{Removed: len(all), More: t.due(sessionsUntil, t.date)}, nil
}
