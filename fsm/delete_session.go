package fsm

// DeleteSession ends a session: a logout. It changes nothing if there is no such session.
//
// It is never refused.
type DeleteSession struct {
	Cookie SecretHash `cbor:"1,keyasint"`
}

func (DeleteSession) wire() kind { return kind{"delete-session", 1} }

func (DeleteSession) check() error { return nil }

func (c DeleteSession) apply(t *tx) (None, error) {
	t.removeSession(c.Cookie)
	return None{}, nil
}
