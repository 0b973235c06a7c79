package disk

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seed-16d79997/zot/blobstore"
)

// Names in the store's directory, and what is added to an id.
const (
	markerName     = "marker"
	copiesDir      = "copies"
	uploadsDir     = "uploads"
	sumsSuffix     = ".sums"
	stateSuffix    = ".state"
	unsummedSuffix = ".unsummed" // beside a copy that was linked: nobody has hashed it yet
	draftSuffix    = ".new"      // not whole yet; the name without it is not there, or is an older whole one
)

// shards is how many directories the copies are spread over: a directory is listed at once.
const shards = 256

// MarkerPath returns where the marker of a store lies: a trace of a node that was here (cluster's
// OpenDirectory).
func MarkerPath(dir string) string { return filepath.Join(dir, markerName) }

func shardName(shard int) string { return fmt.Sprintf("%s/%02x", copiesDir, shard) }

func copyName(id blobstore.CopyID) string { return shardName(int(id[0])) + "/" + id.String() }

func uploadName(id blobstore.UploadID) string { return uploadsDir + "/" + id.String() }

func stateName(id blobstore.UploadID) string { return uploadName(id) + stateSuffix }

// copyFiles lists all that may be there of a copy. The bytes come first: what is left if only that is
// removed is no copy.
func copyFiles(id blobstore.CopyID) []string {
	name := copyName(id)
	return []string{name, name + sumsSuffix, name + draftSuffix, name + sumsSuffix + draftSuffix, name + unsummedSuffix}
}

// uploadFiles lists all that may be there of an upload, but its state.
func uploadFiles(id blobstore.UploadID) []string {
	name := uploadName(id)
	return []string{name, name + sumsSuffix, name + sumsSuffix + draftSuffix, name + stateSuffix + draftSuffix}
}

// sortedIDs returns the ids that names in a directory begin with, each once. What has no such name is not
// the store's, and passed over.
func sortedIDs[ID ~[16]byte](names []string, parse func(string) (ID, error)) []ID {
	ids := make([]ID, 0, len(names))
	for _, name := range names {
		digits, _, _ := strings.Cut(name, ".")
		if id, err := parse(digits); err == nil {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, compareIDs[ID])
	return slices.Compact(ids)
}

func compareIDs[ID ~[16]byte](a, b ID) int { return slices.Compare(a[:], b[:]) }
