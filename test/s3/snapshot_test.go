package s3_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/blobstore/storetest"
	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// A cluster with its copies in a bucket is saved to the same bucket, and restored beside itself, into nodes that have the
// same section: their copies are their own.
func TestSnapshot(t *testing.T) {
	bucket := harness.StartBucket(t)
	t.Setenv("AWS_ACCESS_KEY_ID", bucket.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", bucket.SecretKey)
	storage := map[string]any{"storageDriver": bucket.Driver("/zot"), "redirectBlobURL": true}
	first := harness.StartStored(t, 3, storage)
	snapshot := func(n *harness.Node, says string, arguments ...string) {
		t.Helper()
		out, err := n.Zot(t, append([]string{"cluster", "snapshot"}, append(arguments, "--endpoint", bucket.Endpoint, "--region", bucket.Region)...)...)
		if err != nil || !strings.Contains(out, says) {
			t.Fatalf("%v: want %q\n%s", err, says, out)
		}
	}
	place := "s3://" + bucket.Name + "/backups"
	sizes := []int{0, 1000, 300 << 10, 40 << 20}
	for i, size := range sizes {
		push(t, first[i%3], fmt.Sprint("v", i), storetest.Bytes(i, size))
	}
	snapshot(first[0], "; 5 blobs", "save", "--blobs", place)
	push(t, first[1], "later", storetest.Bytes(9, 5000))
	snapshot(first[2], "; 1 blobs", "save", "--blobs", place)
	before := len(copiesIn(t, bucket, -1))

	second := harness.StartStored(t, 3, storage)
	snapshot(second[1], "; 6 blobs", "restore", place)
	for i, size := range sizes {
		pull(t, second[i%3], fmt.Sprint("v", i), storetest.Bytes(i, size))
		pull(t, first[i%3], fmt.Sprint("v", i), storetest.Bytes(i, size))
	}
	pull(t, second[0], "later", storetest.Bytes(9, 5000))
	if after := len(copiesIn(t, bucket, -1)); after <= before {
		t.Errorf("the bucket has %d copies, it had %d before the restore", after, before)
	}
	out, err := second[0].Zot(t, "cluster", "verify", "--hash")
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
