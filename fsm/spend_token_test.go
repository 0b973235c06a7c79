package fsm_test

import (
	"testing"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

// shows is a joiner who shows a token that is good for d from now.
func (r *replica) shows(token byte, joiner string, d time.Duration) fsm.SpendToken {
	return fsm.SpendToken{Token: fsm.TokenID{token}, Joiner: fsm.HashSecret(joiner), Expires: r.date.Add(d).UnixMilli()}
}

func TestSpendToken(t *testing.T) {
	golden(t, fsm.SpendToken{Token: fsm.TokenID{1, 2, 3}, Joiner: fsm.HashSecret("joiner"), Expires: 1_790_000_000_000})
	r := newReplica(t)
	first := r.shows(1, "new machine", time.Hour)
	do(r, first)
	do(r, first) // the answer was lost
	thief := first
	thief.Joiner = fsm.HashSecret("another machine")
	refused(r, fsm.ErrTokenSpent, thief)
	do(r, r.shows(2, "another machine", time.Hour))
	r.date = r.date.Add(2 * time.Hour)
	refused(r, fsm.ErrTokenExpired, first)
	refused(r, fsm.ErrTokenExpired, thief)
	refused(r, fsm.ErrTokenExpired, r.shows(3, "late", time.Second)) // the entry is a second later
	r.sound()
	if _, err := fsm.Encode(fsm.SpendToken{}); err == nil {
		t.Error("a token without an expiry was encoded")
	}
}

// TestTokensAreForgotten has a leader whose clock is behind that of the one before: a token that was spent and has
// expired is not good again.
func TestTokensAreForgotten(t *testing.T) {
	r := newReplica(t)
	first := r.shows(1, "new machine", time.Hour)
	thief := first
	thief.Joiner = fsm.HashSecret("another machine")
	do(r, first)
	before := r.date
	r.date = before.Add(24 * time.Hour)
	do(r, r.shows(2, "another", time.Hour))
	r.date = before
	refused(r, fsm.ErrTokenSpent, thief)
	r.date = before.Add(26 * time.Hour)
	do(r, r.shows(3, "one more", time.Hour))
	r.date = before
	do(r, thief) // so it was forgotten; no clock is a day behind
	for i := range 250 {
		do(r, r.shows(byte(i), "machine", time.Hour))
	}
	r.date = r.date.Add(48 * time.Hour)
	do(r, r.shows(1, "machine", time.Hour))
	r.sound()
}
