package peer

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"
)

func TestLobbyClosesTheOldest(t *testing.T) {
	l := newLobby(2)
	var far []net.Conn
	var leaves []func()
	for range 4 {
		near, other := net.Pipe()
		leaves = append(leaves, l.enter(near))
		far = append(far, other)
	}
	closed := func(c net.Conn) bool {
		_ = c.SetReadDeadline(time.Now())
		_, err := c.Read(make([]byte, 1))
		return !errors.Is(err, os.ErrDeadlineExceeded)
	}
	for i, want := range []bool{true, true, false, false} {
		if closed(far[i]) != want {
			t.Errorf("connection %d: closed is %t, want %t", i, !want, want)
		}
	}
	for _, leave := range leaves {
		leave()
	}
	if n := l.waiting.Len(); n != 0 {
		t.Errorf("%d are left", n)
	}
}

func TestLimiter(t *testing.T) {
	l, now := newLimiter(), time.Now()
	for i, step := range []struct {
		kind  string
		after time.Duration
		want  bool
	}{
		{"a", 0, true},
		{"a", limiterPeriod - 1, false},
		{"b", limiterPeriod - 1, true},
		{"a", limiterPeriod, true},
	} {
		if got := l.allow(step.kind, now.Add(step.after)); got != step.want {
			t.Errorf("step %d: %t", i, got)
		}
	}
	for i := range 2 * limiterKinds {
		l.allow(fmt.Sprint(i), now)
	}
	if len(l.last) > limiterKinds || l.allow("new", now) {
		t.Errorf("%d kinds are remembered, or a new one is let through", len(l.last))
	}
	if !l.allow("new", now.Add(2*limiterPeriod)) {
		t.Error("a new kind is never let through again")
	}
}
