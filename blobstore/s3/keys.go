package s3

import (
	"strings"

	"github.com/seed-16d79997/zot/blobstore"
)

// What is added to a copy's key, or to the prefix.
const (
	sumsSuffix = ".sums"
	markerName = "marker"
)

// keys are the names of what is in the bucket.
type keys struct{ prefix string }

func newKeys(root, cluster string) keys {
	root = strings.Trim(root, "/")
	if root != "" {
		root += "/"
	}
	return keys{root + cluster + "/"}
}

// isClusterID reports whether an id may stand in a key as it is.
func isClusterID(id string) bool {
	return id != "" && strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
}

func (k keys) copy(id blobstore.CopyID) string { return k.prefix + id.String() }

func (k keys) sums(id blobstore.CopyID) string { return k.copy(id) + sumsSuffix }

func (k keys) marker() string { return k.prefix + markerName }

// copyOf returns the copy that a key is of, itself or its sums.
func (k keys) copyOf(key string) (blobstore.CopyID, bool) {
	name, ours := strings.CutPrefix(key, k.prefix)
	id, err := blobstore.ParseCopyID(strings.TrimSuffix(name, sumsSuffix))
	return id, ours && err == nil
}
