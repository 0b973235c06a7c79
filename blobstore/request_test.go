package blobstore_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/blobstore"
)

// Lines about what is done for a request of a client have its id; those of jobs have none.
func TestLogFor(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{"": "said\n", "a1b2c3d4": "said: request_id=a1b2c3d4\n"} {
		ctx := t.Context()
		if id != "" {
			ctx = blobstore.WithRequestID(ctx, id)
		}
		var out bytes.Buffer
		blobstore.LogFor(ctx, hclog.New(&hclog.LoggerOptions{Output: &out})).Info("said")
		if got := blobstore.RequestID(ctx); got != id || !strings.HasSuffix(out.String(), want) {
			t.Errorf("id %q of %q, %q", got, id, &out)
		}
	}
}
