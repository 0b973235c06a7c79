package s3_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/seed-16d79997/zot/blobstore/storetest"
	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// Two clusters share a bucket, and a prefix in it: what one collects, and what it leaves behind when it dies, is nothing
// to the other.
func TestTwoClusters(t *testing.T) {
	bucket := harness.StartBucket(t)
	start := func() *harness.Node {
		return harness.StartStored(t, 1, map[string]any{"storageDriver": bucket.Driver("/zot"), "gcDelay": lease, "gcInterval": "1s"})[0]
	}
	layer := storetest.Bytes(1, 300<<10)
	first := start()
	push(t, first, "v1", layer)
	mine := copiesIn(t, bucket, -1)
	if len(mine) != 3 { // a layer, its sums and an image's configuration
		t.Fatalf("the first cluster has %q", mine)
	}
	second := start()
	push(t, second, "v1", layer)
	if all := copiesIn(t, bucket, -1); len(all) != 2*len(mine) {
		t.Fatalf("both have %q", all)
	}
	manifest := ask(t, second, http.MethodHead, "/v2/"+repository+"/manifests/v1", nil, http.StatusOK).header.Get("Docker-Content-Digest")
	ask(t, second, http.MethodDelete, "/v2/"+repository+"/manifests/"+manifest, nil, http.StatusAccepted)
	harness.Until(t, "the second has collected what is its own", func(context.Context) error {
		if left := copiesIn(t, bucket, -1); !slices.Equal(left, mine) {
			return fmt.Errorf("%q are left", left)
		}
		return nil
	})
	pull(t, first, "v1", layer)
	if out, err := first.Zot(t, "cluster", "verify", "--hash"); err != nil {
		t.Errorf("the first is not whole: %v\n%s", err, out)
	}
}
