package fsm

import (
	"strings"
	"time"
)

// Session is a login session.
type Session struct {
	Subject  string   `cbor:"1,keyasint"`           // who logged in
	Provider string   `cbor:"2,keyasint,omitempty"` // by which method, for the logout
	Groups   []string `cbor:"3,keyasint,omitempty"` // as they were at the login
	Created  int64    `cbor:"4,keyasint"`           // Unix milliseconds
	Expires  int64    `cbor:"5,keyasint"`           // Unix milliseconds
}

// Session returns the session of a cookie, unless it is over by the reader's clock: the state removes
// it only some time later.
func (v View) Session(cookie SecretHash, now time.Time) (Session, bool) {
	s, known := load[Session](v.reader, sessions, cookie[:])
	if !known || s.Expires <= now.UnixMilli() {
		return Session{}, false
	}
	return s, true
}

// ExpiredSessions reports whether ExpireSessions would find any at a date.
func (v View) ExpiredSessions(now time.Time) bool { return v.due(sessionsUntil, now.UnixMilli()) }

// indexes lists where a session stands beside its own record.
func (s Session) indexes(cookie SecretHash) []indexKey {
	until := dateKey(s.Expires) + string(cookie[:])
	return []indexKey{
		{bucket: sessionsUntil, key: until},
		{bucket: sessionsOf, key: string(within(s.Subject, until))},
	}
}

func (t *tx) saveSession(cookie SecretHash, s Session) {
	t.removeSession(cookie)
	t.save(sessions, cookie[:], s)
	t.reindex(nil, s.indexes(cookie))
}

func (t *tx) removeSession(cookie SecretHash) bool {
	s, known := load[Session](t.reader, sessions, cookie[:])
	if known {
		t.del(sessions, cookie[:])
		t.reindex(s.indexes(cookie), nil)
	}
	return known
}

// sessionsOf lists the cookies of a subject, those that expire first before the others.
func (r reader) sessionsOf(subject string) (cookies []SecretHash) {
	prefix := within(subject)
	for key := range r.scan(sessionsOf, prefix, nil) {
		cookies = append(cookies, SecretHash(key[len(prefix)+8:]))
	}
	return cookies
}

// due reports whether the first entry of an index that begins with dates is at or before a date.
func (r reader) due(b bucket, date int64) bool {
	for key := range r.scan(b, nil, nil) {
		return string(key[:8]) <= dateKey(date)
	}
	return false
}

// dueHashes lists up to limit of the secrets in an index that begins with dates, those at or before a
// date.
func (r reader) dueHashes(b bucket, date int64, limit int) (all []SecretHash) {
	for key := range r.scan(b, nil, nil) {
		if len(all) == limit || string(key[:8]) > dateKey(date) {
			break
		}
		all = append(all, SecretHash(key[8:]))
	}
	return all
}

// isName reports whether s can be a part of a key that ends in a zero byte: a subject, an owner.
func isName(s string) bool {
	return s != "" && len(s) <= maxSubject && !strings.Contains(s, "\x00")
}
