package ldap_test

import (
	"testing"
	"time"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/ldap"
)

// A server that falls silent costs those who log in no more than the time of a step, and who comes later none: it
// is left alone, until one may try again. This waits in real time, for sockets have no other.
func TestServerFallsSilent(t *testing.T) {
	t.Parallel()
	d := people(t)
	s := opened(t, d.starts(false), func(c *ldap.Config) { c.Patience = 300 * time.Millisecond })
	wants(t, s, "bob", "b", nil)
	d.mu.Lock()
	d.stalls = true
	d.mu.Unlock()
	done := make(chan struct{})
	for range 4 {
		go func() { // waited for below
			fails(t, s, "alice", "secret-of-hers", "ask LDAP server")
			done <- struct{}{}
		}()
	}
	for range 4 {
		<-done
	}
	fails(t, s, "alice", "secret-of-hers", "did not answer lately")
	d.mu.Lock()
	d.stalls = false
	d.mu.Unlock()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if _, err := s.Verify(t.Context(), "bob", "b"); err == nil {
			break
		}
	}
	wants(t, s, "bob", "B", auth.ErrWrong)
}
