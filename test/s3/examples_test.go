package s3_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/seed-16d79997/zot/blobstore/storetest"
	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// Every example of zot is one that zot verify accepts, and that serves: an image is pushed to and pulled from each of its
// stores. What an example says of places (directories, a bucket and its keys, addresses) is put in this test's, and what
// needs files or servers that are not there is left out, by outside.
func TestExamples(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "tester") // an example has none for its tables
	t.Setenv("AWS_SECRET_ACCESS_KEY", "any")
	files, err := filepath.Glob("../testdata/zot-examples/config-*.*")
	must(t, err)
	inBuckets := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		if strings.Contains(string(text), "storageDriver") {
			inBuckets++
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			var example map[string]any
			must(t, yaml.Unmarshal(text, &example)) // JSON is YAML, too
			p := movedHere{t: t}
			p.stores(example["storage"].(map[string]any))
			outside(example)
			n := harness.StartConfigured(t, example)
			layer := storetest.Bytes(1, 300<<10)
			for _, repository := range p.repositories {
				pushTo(t, n, repository, "v1", layer)
				pullFrom(t, n, repository, "v1", layer)
			}
			for _, prefix := range p.prefixes {
				sums, err := filepath.Glob(p.bucket.Path(prefix + "/*/*.sums"))
				must(t, err)
				if len(sums) == 0 {
					t.Errorf("no layer is below %s in the bucket", prefix)
				}
			}
		})
	}
	if inBuckets < 2 {
		t.Errorf("of %d examples %d have a bucket", len(files), inBuckets)
	}
}

// outside takes out what needs something that an example only names: certificates, and who may log in by what. Where the
// log goes is a file on somebody's machine.
func outside(example map[string]any) {
	if web, ok := example["http"].(map[string]any); ok {
		drop(web, "tls", "auth", "accessControl")
	}
	if log, ok := example["log"].(map[string]any); ok {
		drop(log, "output", "audit")
	}
	if extensions, ok := example["extensions"].(map[string]any); ok {
		drop(extensions, "sync")
	}
}

// drop takes keys out in whatever case they are written.
func drop(section map[string]any, keys ...string) {
	maps.DeleteFunc(section, func(key string, _ any) bool {
		return slices.ContainsFunc(keys, func(k string) bool { return strings.EqualFold(k, key) })
	})
}

// movedHere puts an example's stores in directories, a bucket and a table of the test.
type movedHere struct {
	t            *testing.T
	bucket       *harness.Bucket
	tables       *harness.Tables
	repositories []string // one in each store
	prefixes     []string // of each store that is in the bucket
}

// stores is for the section "storage".
func (p *movedHere) stores(s map[string]any) {
	p.store(s, repository)
	paths, _ := s["subPaths"].(map[string]any)
	for path, section := range paths {
		p.store(section.(map[string]any), strings.TrimPrefix(path, "/")+"/image")
	}
}

// store is for it, or one of its sub-paths, where one of the repositories is.
func (p *movedHere) store(s map[string]any, repository string) {
	p.repositories = append(p.repositories, repository)
	drop(s, "rootDirectory")
	s["rootDirectory"] = shortDir(p.t)
	driver, ok := s["storageDriver"].(map[string]any)
	if !ok {
		return
	}
	if p.bucket == nil {
		p.bucket = harness.StartBucket(p.t)
	}
	p.prefixes = append(p.prefixes, strings.Trim(driver["rootdirectory"].(string), "/"))
	for _, key := range []string{"region", "bucket", "regionendpoint", "accesskey", "secretkey"} {
		driver[key] = p.bucket.Driver("")[key]
	}
	if cache, ok := s["cacheDriver"].(map[string]any); ok {
		if p.tables == nil {
			p.tables = harness.StartTables(p.t)
		}
		cache["endpoint"] = p.tables.Endpoint
	}
}

// shortDir is a directory in which a socket has a short path.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "zot-s3-") //nolint:usetesting // see above
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}
