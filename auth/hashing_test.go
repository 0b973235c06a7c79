package auth_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/htpasswd"
)

// counted counts how often a password is hashed.
type counted struct {
	*htpasswd.File

	hashed atomic.Int32
}

// Verify is the only way to hash one.
func (c *counted) Verify(ctx context.Context, name, password string) ([]string, error) {
	c.hashed.Add(1)
	return c.File.Verify(ctx, name, password)
}

// A thousand requests a second with a login cost one bcrypt a minute, also if they come at once.
func TestLoginsAreHashedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hash := must(bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost))
		path := filepath.Join(t.TempDir(), "htpasswd")
		if err := os.WriteFile(path, []byte("alice:"+string(hash)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		file, _, err := htpasswd.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		c := &counted{File: file}
		g := auth.New(auth.Config{Methods: []auth.Method{c}})
		for second := range 90 {
			var all sync.WaitGroup
			for range 1000 {
				all.Go(func() {
					if _, err := g.Identify(asking(t, "alice", "secret")); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if want := int32(1 + second/60); c.hashed.Load() != want {
				t.Fatalf("after second %d: %d were hashed, want %d", second, c.hashed.Load(), want)
			}
			time.Sleep(time.Second)
		}
	})
}

// late knows a password from the second time on that it is asked whether it does: another request has it hashed meanwhile.
type late struct {
	password

	recalled, hashed atomic.Int32
}

func (l *late) Recall(string, string) ([]string, bool) { return nil, l.recalled.Add(1) > 1 }

func (l *late) Verify(ctx context.Context, name, password string) ([]string, error) {
	l.hashed.Add(1)
	return l.password.Verify(ctx, name, password)
}

// Who looks just before another request has hashed the password, and asks just after, does not have it hashed again.
func TestLoginThatIsKnownMeanwhile(t *testing.T) {
	t.Parallel()
	l := &late{password: "secret"}
	if _, err := auth.New(auth.Config{Methods: []auth.Method{l}}).Identify(asking(t, "alice", "secret")); err != nil || l.hashed.Load() != 0 {
		t.Errorf("%v, %d were hashed", err, l.hashed.Load())
	}
}
