package s3_test

import (
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/smithy-go"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/s3"
)

// attached makes one more store of a place and looks for it.
func attached(t *testing.T, c place) error {
	t.Helper()
	s, err := s3.New(t.Context(), c.Config)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s.Attach(t.Context(), c.cluster, true)
}

// Certificates are believed that the environment names, or any if the operator says so.
func TestCertificates(t *testing.T) {
	backend := s3mem.New()
	must(t, backend.CreateBucket("blobs"))
	server := httptest.NewUnstartedServer(gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server())
	server.Config.ErrorLog = nothing()
	server.StartTLS()
	t.Cleanup(server.Close)
	c := config(t, server.URL)
	if err := attached(t, c); !errors.Is(err, blobstore.ErrUnreachable) || !strings.Contains(err.Error(), "certificate") {
		t.Fatalf("a certificate of nobody: %v", err)
	}
	unchecked := c
	unchecked.Bucket.SkipVerify = true
	must(t, attached(t, unchecked))
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	t.Setenv("AWS_CA_BUNDLE", bundle)
	must(t, attached(t, c))
}

// A bucket that says that it is busy is left alone for ten times as long as one that fails, twice as long each time, and
// never without end.
func TestBackoff(t *testing.T) {
	t.Parallel()
	timing := s3.DefaultTiming()
	busy := &smithy.GenericAPIError{Code: "SlowDown"}
	failed := &smithy.GenericAPIError{Code: "InternalError"}
	for _, test := range []struct {
		attempt int
		err     error
		want    time.Duration
	}{
		{1, failed, 100 * time.Millisecond},
		{2, failed, 200 * time.Millisecond},
		{5, failed, 1600 * time.Millisecond},
		{1, busy, time.Second},
		{2, busy, 2 * time.Second},
		{4, busy, 8 * time.Second},
		{5, busy, 10 * time.Second},
		{20, busy, 10 * time.Second},
	} {
		have, err := s3.RetryDelay(timing, test.attempt, test.err)
		must(t, err)
		if have < test.want/2 || have > test.want {
			t.Errorf("attempt %d after %v waits %s, not %s less a half by chance", test.attempt, test.err, have, test.want)
		}
	}
}

// A bucket that is busy for good is asked so often and no more.
func TestAttempts(t *testing.T) {
	t.Parallel()
	p := newProxy(t, fake(t))
	c := config(t, p.url)
	s := open(t, c)
	var asked atomic.Int64
	p.set(func(w http.ResponseWriter, _ *http.Request, _ func() *httptest.ResponseRecorder) bool {
		asked.Add(1)
		answer(w, http.StatusServiceUnavailable, "SlowDown")
		return true
	})
	if err := s.Check(t.Context()); !errors.Is(err, blobstore.ErrUnreachable) {
		t.Fatal(err)
	}
	if n := asked.Load(); n != int64(c.Timing.Attempts) {
		t.Errorf("a request is made %d times, not %d", n, c.Timing.Attempts)
	}
}
