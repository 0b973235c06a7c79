package s3_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/blobstore/storetest"
	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// A repository is moved from the disks of three nodes to a bucket, and back to the disks. What it has left is collected.
func TestRepositoryIsMovedToABucketAndBack(t *testing.T) {
	bucket := harness.StartBucket(t)
	nodes := harness.StartStored(t, 3, map[string]any{
		"gcDelay": "1m", "gcInterval": "1s",
		"subPaths": map[string]any{"/bucket": map[string]any{"storageDriver": bucket.Driver("/zot"), "gc": true, "gcDelay": "1m", "gcInterval": "1s"}},
	})
	sizes := []int{0, 1000, 300 << 10, 25 << 20}
	for i, size := range sizes {
		push(t, nodes[i%3], fmt.Sprint("v", i), storetest.Bytes(i, size))
	}
	for _, to := range []string{"/bucket", "default"} {
		if said, err := nodes[1].Zot(t, "cluster", "move", repository, to); err != nil || !strings.HasPrefix(said, repository+" is in store "+to) {
			t.Fatalf("%q, %v", said, err)
		}
		harness.Until(t, "what was left is collected", func(context.Context) error {
			for i, size := range sizes {
				if have := len(copiesIn(t, bucket, int64(size))); (have > 0) != (to == "/bucket") {
					return fmt.Errorf("%d copies of blob %d are in the bucket", have, i)
				}
			}
			for _, n := range nodes {
				if have := copiesOn(t, n); (have > 0) != (to == "default") {
					return fmt.Errorf("%d copies are on %s", have, n.Name)
				}
			}
			return nil
		})
		for i, size := range sizes {
			pull(t, nodes[(i+1)%3], fmt.Sprint("v", i), storetest.Bytes(i, size))
		}
	}
}

// copiesOn is how many copies of the default store are on a node's disk.
func copiesOn(t *testing.T, n *harness.Node) (all int) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(n.Root, "copies"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && filepath.Ext(path) == "" {
			all++
		}
		if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
