package config

import (
	"cmp"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seed-16d79997/zot/fsm/oci"
)

// maxSubPaths is how many stores the replicated state takes, beside the default one.
const maxSubPaths = 255

// maxSubPath is how long a name of a store may be there, in bytes.
const maxSubPath = 255

// SubPath is a store, and the name that it has in the replicated state: what its repositories are below, as "/a/b", or
// that of the default store.
type SubPath struct {
	Name string
	Store

	key string // of its section
}

// Key is the path of one of its keys.
func (s SubPath) Key(name string) string { return s.key + "." + name }

// readSubPaths reads the stores of sub-paths. zot compares their names without regard to case, and repositories have
// no capitals.
func readSubPaths(s *section, c *Storage) {
	spelled := map[string]string{}
	for _, m := range s.object.members {
		s.ignored(m.name)
		name := path.Clean("/" + strings.ToLower(m.name))
		if before, twice := spelled[name]; twice {
			if before != m.name {
				s.problem(s.path, "remove one of them", "%q and %q are the same sub-path", before, m.name)
			} else {
				s.note(s.key(m.name), "stands twice; the last one counts")
			}
			c.SubPaths = slices.DeleteFunc(c.SubPaths, func(p SubPath) bool { return p.Name == name })
		}
		spelled[name] = m.name
		p := SubPath{Name: name, Store: Store{GCDelay: time.Hour, GCInterval: time.Hour}, key: s.key(m.name)}
		if !s.inside(m, func(s *section) {
			s.noteIf("maxRepos", "says nothing: storage.maxRepos is for all stores together")
			s.ignored("maxRepos")
			readStore(s, &p.Store)
		}) {
			continue
		}
		if p.GC && p.GCDelay == 0 {
			s.problem(p.Key("gcDelay"), `give at least "5s", or turn gc off`, "0s would collect what is being pushed")
		}
		checkSubPath(s, p, m.name)
		c.SubPaths = append(c.SubPaths, p)
	}
	slices.SortFunc(c.SubPaths, func(a, b SubPath) int { return cmp.Compare(a.Name, b.Name) })
	if n := len(c.SubPaths); n > maxSubPaths {
		s.problem(s.path, "put some of them together", "%d are more than %d", n, maxSubPaths)
	}
}

// checkSubPath says what is wrong with a name.
func checkSubPath(s *section, p SubPath, spelled string) {
	switch {
	case p.Name == "/":
		s.problem(p.key, `name what repositories begin with, as "/team"; all others are in the default store`, "%q is no sub-path", spelled)
	case len(p.Name) > maxSubPath:
		s.problem(p.key, "shorten it", "has %d bytes, more than %d", len(p.Name), maxSubPath)
	case oci.ValidateRepository(p.Name[1:]) != nil:
		s.note(p.key, "is nothing that a repository's name can begin with, so nothing goes there")
	}
}

// checkSubPaths finds stores that would be in each other's way.
func checkSubPaths(c *Storage, r *reader) {
	all := c.All()
	for i, s := range all {
		for _, before := range all[:i] {
			if s.Bucket != nil && before.Bucket != nil {
				checkBuckets(before, s, r)
			} else if s.Bucket == nil && before.Bucket == nil {
				checkDisks(before, s, r)
			}
		}
		if parent := c.Bucket; i > 0 && parent != nil && s.Bucket != nil && keyRoot(parent) != "" && keyRoot(parent) != keyRoot(s.Bucket) {
			r.note(s.Key("storageDriver.rootdirectory"), "is its own, %q; zot took the one of storage.storageDriver at first, and may have left its data there", s.Bucket.Root)
		}
	}
}

// checkDisks compares the directories of two stores. Each would remove what the other has. zot takes some of these files.
func checkDisks(a, b SubPath, r *reader) {
	const mend = "give each store a directory of its own"
	one, other := absolute(a.RootDirectory), absolute(b.RootDirectory)
	key := b.Key("rootDirectory")
	switch {
	case one == "" || other == "":
	case one == other && (a.key == "storage" || a.Dedupe != b.Dedupe || a.GC != b.GC || a.GCDelay != b.GCDelay || a.GCInterval != b.GCInterval):
		r.problem(key, mend, "%s is that of %s too", b.RootDirectory, a.key)
	case one == other:
		r.refuses(key, mend, "%s is that of %s too", b.RootDirectory, a.key)
	case isBelow(other, one):
		r.refuses(key, mend, "%s is inside of that of %s", b.RootDirectory, a.key)
	case isBelow(one, other):
		r.refuses(a.Key("rootDirectory"), mend, "%s is inside of that of %s", a.RootDirectory, b.key)
	}
}

// absolute is a directory in the one spelling that tells it from others; "" if there is none.
func absolute(dir string) string {
	if dir == "" {
		return ""
	}
	if all, err := filepath.Abs(dir); err == nil {
		return all
	}
	return filepath.Clean(dir)
}

func isBelow(dir, above string) bool {
	return strings.HasPrefix(dir, strings.TrimSuffix(above, "/")+"/")
}

// checkBuckets compares the buckets of two stores: with one prefix of keys, each would remove what the other has.
func checkBuckets(a, b SubPath, r *reader) {
	if a.Bucket.Name == b.Bucket.Name && b.Bucket.Name != "" && a.Bucket.Host() == b.Bucket.Host() && keyRoot(a.Bucket) == keyRoot(b.Bucket) {
		r.problem(b.Key("storageDriver.rootdirectory"), "give each store of a bucket a rootdirectory of its own",
			"%q in bucket %q is that of %s too", b.Bucket.Root, b.Bucket.Name, a.key)
	}
}

// keyRoot is the prefix of a bucket's keys as it is used.
func keyRoot(b *Bucket) string { return strings.Trim(b.Root, "/") }
