package fsm

// TermStarted is the first command of a new leader. When it is applied, everything that earlier
// leaders committed is applied too, and the leader may serve (DESIGN 3, "ready").
//
// It changes nothing and is never refused.
type TermStarted struct{}

func (TermStarted) wire() kind { return kind{"term-started", 1} }

func (TermStarted) check() error { return nil }

func (TermStarted) apply(*tx) (None, error) { return None{}, nil }
