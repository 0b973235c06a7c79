package fsm_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

// login is a session that lasts for d.
func (r *replica) login(cookie, subject string, d time.Duration) fsm.PutSession {
	return fsm.PutSession{
		Cookie: fsm.HashSecret(cookie), Subject: subject, Provider: "ldap", Groups: []string{"dev", "ops"},
		Expires: r.date.Add(d).UnixMilli(),
	}
}

// loggedIn reports whether a cookie is good at the replica's date.
func (r *replica) loggedIn(cookie string) (s fsm.Session, ok bool) {
	r.t.Helper()
	r.view(func(v fsm.View) { s, ok = v.Session(fsm.HashSecret(cookie), r.date) })
	return s, ok
}

func TestSessionEncodings(t *testing.T) {
	golden(t, fsm.PutSession{Cookie: fsm.HashSecret("c"), Subject: "ann", Provider: "ldap", Groups: []string{"dev"}, Expires: 1_790_000_000_000})
	golden(t, fsm.DeleteSession{Cookie: fsm.HashSecret("c")})
	golden(t, fsm.DeleteSessions{Subject: "ann"})
	golden(t, fsm.ExpireSessions{})
}

func TestSessions(t *testing.T) {
	r := newReplica(t)
	do(r, r.login("a", "ann", time.Hour))
	do(r, r.login("b", "ann", 2*time.Hour))
	do(r, r.login("c", "annika", time.Hour))
	s, ok := r.loggedIn("a")
	if !ok || s.Subject != "ann" || strings.Join(s.Groups, " ") != "dev ops" || s.Provider != "ldap" || s.Created == 0 {
		t.Errorf("session %+v, %t", s, ok)
	}
	do(r, fsm.DeleteSession{Cookie: fsm.HashSecret("a")})
	do(r, fsm.DeleteSession{Cookie: fsm.HashSecret("a")})
	if _, ok := r.loggedIn("a"); ok {
		t.Error("a is there after its logout")
	}
	if n := do(r, fsm.DeleteSessions{Subject: "ann"}); n.Sessions != 1 {
		t.Errorf("%d sessions of ann ended, want 1", n.Sessions)
	}
	if _, ok := r.loggedIn("c"); !ok {
		t.Error("annika's session ended with ann's")
	}
	r.sound()
}

func TestSessionsExpireByDate(t *testing.T) {
	r := newReplica(t)
	refused(r, fsm.ErrSessionOver, r.login("late", "ann", 0))
	var all []fsm.PutSession
	for i := range 350 {
		all = append(all, r.login(fmt.Sprint(i), fmt.Sprint("user ", i), time.Hour))
	}
	doAll(r, all)
	do(r, r.login("long", "ann", 3*time.Hour))
	r.date = r.date.Add(2 * time.Hour)
	if _, ok := r.loggedIn("7"); ok {
		t.Error("a reader whose clock is past the expiry takes the session")
	}
	for _, want := range []fsm.ExpiredRemoved{{Removed: 300, More: true}, {Removed: 50}, {}} {
		if have := do(r, fsm.ExpireSessions{}); have != want {
			t.Errorf("%+v, want %+v", have, want)
		}
	}
	r.view(func(v fsm.View) {
		if v.ExpiredSessions(r.date) || !v.ExpiredSessions(r.date.Add(2*time.Hour)) {
			t.Error("the expiry that is due is another")
		}
	})
	if _, ok := r.loggedIn("long"); !ok {
		t.Error("a session ended before its date")
	}
	r.sound()
}

// TestSessionsOfOneSubjectAreBounded logs one client in again and again.
func TestSessionsOfOneSubjectAreBounded(t *testing.T) {
	r := newReplica(t)
	for i := range 105 {
		do(r, r.login(fmt.Sprint(i), "robot", time.Hour))
	}
	for i := range 105 {
		if _, ok := r.loggedIn(fmt.Sprint(i)); ok != (i >= 5) {
			t.Errorf("session %d is there: %t", i, ok)
		}
	}
	again := r.login("104", "robot", 2*time.Hour)
	do(r, again)
	if s, _ := r.loggedIn("104"); s.Expires != again.Expires {
		t.Errorf("a session that was put again expires at %d", s.Expires)
	}
	r.sound()
}

func TestSessionChecks(t *testing.T) {
	for name, bad := range map[string]fsm.Command{
		"no subject":       fsm.PutSession{Expires: 1},
		"zero byte":        fsm.PutSession{Subject: "a\x00b", Expires: 1},
		"long":             fsm.PutSession{Subject: strings.Repeat("a", 513), Expires: 1},
		"many groups":      fsm.PutSession{Subject: "a", Groups: make([]string, 4097), Expires: 1},
		"delete of nobody": fsm.DeleteSessions{},
	} {
		if _, err := fsm.Encode(bad); err == nil {
			t.Errorf("%s was encoded", name)
		}
	}
}
