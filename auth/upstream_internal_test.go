package auth

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/seed-16d79997/zot/auth/bearer"
)

// Who has the same password as a request that is being judged asks nobody, and is told no with it, by whatever address.
func TestWrongPasswordIsAskedAboutOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tokens, err := bearer.Open(bearer.Config{}) // there is nobody to ask
		if err != nil {
			t.Fatal(err)
		}
		g := New(Config{Bearer: tokens})
		answered := make(chan struct{})
		key := g.right.Of("ann", "x")
		first := g.asking.DoChan(string(key[:]), func() (any, error) {
			<-answered
			return bearer.TokenAnswer{Status: http.StatusForbidden}, nil
		})
		ask := func(ctx context.Context, password string) (bearer.TokenAnswer, error) {
			return g.askByPassword(ctx, netip.MustParseAddr("10.0.0.1"), tokenRequest{name: "ann", password: password})
		}
		others := make(chan error, 10)
		for range cap(others) {
			go func() {
				answer, err := ask(t.Context(), "x")
				if answer.Status != http.StatusForbidden {
					t.Errorf("another is told %d", answer.Status)
				}
				others <- err
			}()
		}
		synctest.Wait()
		gone, leave := context.WithCancel(t.Context())
		leave()
		if _, err := ask(gone, "x"); !errors.Is(err, context.Canceled) {
			t.Errorf("who has gone is told %v", err)
		}
		if _, err := ask(t.Context(), "y"); !errors.Is(err, bearer.ErrNoUpstream) {
			t.Errorf("with another password: %v", err)
		}
		close(answered)
		<-first
		for range cap(others) {
			if err := <-others; err != nil {
				t.Error(err)
			}
		}
	})
}
