package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// maxLooked bounds how many directories are looked at for a repository: a start must not depend on how much there is.
const maxLooked = 1000

// refuseOriginal fails if the directory of a store holds a zot of the original kind and no store of ours. Nothing is
// written: a node that started empty beside it would serve none of its images.
func refuseOriginal(c config.Storage) error {
	for _, s := range c.All() {
		if s.RootDirectory == "" || isOurs(s.RootDirectory) {
			continue
		}
		if found := originalIn(s.RootDirectory); found != "" {
			return original(s.RootDirectory, found)
		}
	}
	return nil
}

// original says what can be done about one.
func original(root, found string) error {
	return fmt.Errorf("%[1]s holds a zot of the original kind (%[2]s), whose images this version keeps in another form. Nothing was changed. "+
		"To take them over: stop the other zot; set storage.rootDirectory to a new directory on the same file system, for example %[1]s-new, "+
		"so that no bytes are copied (and those of storage.subPaths likewise); run 'zot serve FILE' with that; then, while it runs, 'zot import %[1]s --config FILE'. Where the "+
		"images are in a bucket, name the old configuration file instead: 'zot import OLD-FILE --config FILE'", root, found)
}

// isOurs reports whether a node of this version, or 'zot cluster join', was here.
func isOurs(root string) bool {
	traces := []string{disk.MarkerPath(root)}
	for _, name := range []string{"lock", "incarnation", "raft.db", "fsm.db", "secret", membersName} {
		traces = append(traces, filepath.Join(root, "node", name))
	}
	for _, name := range traces {
		if _, err := os.Lstat(name); err == nil {
			return true
		}
	}
	return false
}

// originalIn names something of a zot's in a directory, "" if it finds nothing.
func originalIn(root string) (found string) {
	for _, name := range []string{"meta.db", "repo.db", "cache.db"} {
		if info, err := os.Lstat(filepath.Join(root, name)); err == nil && info.Mode().IsRegular() {
			return name
		}
	}
	looked := 0
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error { // what cannot be read says nothing
		if err != nil || !entry.IsDir() {
			return nil //nolint:nilerr // as said
		}
		if path != root && (strings.HasPrefix(entry.Name(), "_") || strings.HasPrefix(entry.Name(), ".") || entry.Name() == "blobs") {
			return fs.SkipDir
		}
		if looked++; looked > maxLooked {
			return fs.SkipAll
		}
		if _, err := os.Lstat(filepath.Join(path, "index.json")); err == nil {
			name, _ := filepath.Rel(root, path)
			found = "repository " + name
			return fs.SkipAll
		}
		return nil
	})
	return found
}
