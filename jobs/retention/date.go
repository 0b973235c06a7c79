package retention

import "time"

// maxHaste is how many times as fast as state time a walk's date passes at most.
const maxHaste = 10

// anchor is a date, in Unix milliseconds, and the state time at which it was taken for the right one.
type anchor struct {
	Date int64 `json:"date"`
	At   int64 `json:"at"` // nanoseconds
}

// date returns by which date to judge at a state time when the leader's clock shows clock, and the anchor for
// later ones. State time never runs ahead of real time, so the anchor's date passes as fast at least: it does
// not fall behind for ever when a clock goes back. The clock itself is never overtaken.
func (a anchor) date(clock, now int64) (date int64, next anchor) {
	passed := max(0, now-a.At) / int64(time.Millisecond)
	next = anchor{Date: min(max(clock, a.Date+passed), a.Date+maxHaste*passed), At: now}
	return min(clock, next.Date), next
}
