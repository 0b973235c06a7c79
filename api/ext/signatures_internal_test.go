package ext

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/auth/signed"
)

// stuck is a repository that answers nothing.
type stuck struct{ signed.Repository }

func (stuck) Tagged(ctx context.Context, _ string) (digest.Digest, bool, error) {
	<-ctx.Done()
	return "", false, ctx.Err()
}

// Only so many look for signatures at once, and not for ever; who comes on top of that is told to come again.
func TestSignaturesAreLookedForByFew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &Extensions{checks: make(chan struct{}, maxChecks)}
		look := func() error {
			_, err := e.check(t.Context(), stuck{}, v1.Descriptor{Digest: digest.FromString("image")}, nil)
			return err
		}
		began, ended := time.Now(), make(chan error)
		for range maxChecks {
			go func() { ended <- look() }()
		}
		synctest.Wait()
		for range 3 {
			if r, is := errors.AsType[*api.Refusal](look()); !is || r.Status != http.StatusTooManyRequests {
				t.Errorf("one too many: %v", r)
			}
		}
		for range maxChecks {
			if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}
		if took := time.Since(began); took != checkTime {
			t.Errorf("they took %s", took)
		}
		if err := look(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after that: %v", err)
		}
	})
}
