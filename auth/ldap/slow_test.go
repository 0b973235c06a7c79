package ldap_test

import (
	"errors"
	"net"
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
	s := opened(t, d.starts(false), func(c *ldap.Config) { c.Patience = 3 * time.Second }) // it is left alone for as long
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

// A server that takes connections and says nothing from the first is given up at each first step.
func TestServerSaysNothing(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is there at once
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // nobody accepts
	for what, change := range map[string]func(*ldap.Config){
		"TLS":       func(c *ldap.Config) { c.Insecure = false },
		"StartTLS":  func(c *ldap.Config) { c.StartTLS = true },
		"bind as":   same,
		"search be": func(c *ldap.Config) { c.Account = ldap.Account{} },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := opened(t, l.Addr().(*net.TCPAddr).Port, func(c *ldap.Config) { c.Patience = 2 * time.Second; change(c) })
			fails(t, s, "alice", "secret-of-hers", what)
		})
	}
}

// BenchmarkVerify compares what a wrong password of a name that is there costs with a name that is not.
func BenchmarkVerify(b *testing.B) {
	d := people(b)
	s := opened(b, d.starts(false), same)
	for _, test := range []struct {
		what, name string
		want       error
	}{{"known", "bob", auth.ErrWrong}, {"unknown", "nob", auth.ErrUnknown}} {
		b.Run(test.what, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Verify(b.Context(), test.name, "wrong"); !errors.Is(err, test.want) {
					b.Fatal(err)
				}
			}
		})
	}
}
