package auth_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-16d79997/zot/auth"
)

// The next gate must not forgive who has guessed at the one before, nor hand on what was right there.
func TestTheNextGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := guarded(t)
		var current auth.Current
		if current.Gate() != nil {
			t.Fatal("there is a gate before the first")
		}
		current.Change(auth.Config{Methods: []auth.Method{g.method}})
		before := current.Gate()
		g.Gate = before
		g.times(5, "alice", "wrong", "192.0.2.1", auth.ErrCredentials)
		g.waits("alice", "192.0.2.1", time.Second)

		current.Change(auth.Config{Methods: []auth.Method{password("new")}})
		if current.Gate() == before {
			t.Fatal("the gate is the same")
		}
		g.Gate = current.Gate()
		g.waits("alice", "192.0.2.1", time.Second)
		g.times(1, "bob", "bob", "192.0.2.2", auth.ErrCredentials)
		g.times(1, "bob", "new", "192.0.2.2", nil)
		g.Gate = before // a request that came before the change
		g.times(1, "bob", "bob", "192.0.2.2", nil)
		if err := g.try("bob", "new", "192.0.2.2"); !errors.Is(err, auth.ErrCredentials) {
			t.Errorf("a new password at the old gate: %v", err)
		}
	})
}
