package config_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/jobs/retention"
)

// A store of a sub-path has its own settings and the defaults of sub-paths: nothing of the default store is taken over.
func TestSubPaths(t *testing.T) {
	t.Parallel()
	c, notes, err := config.Parse("c.json", []byte(`{"storage": {"rootDirectory": "/r", "dedupe": true, "gcDelay": "2h", "retention": {"policies": [{"repositories": ["**"]}]},
		"subPaths": {
			"/B/c/": {"rootDirectory": "/bc", "gc": true},
			"/a": {"rootDirectory": "/a", "dedupe": true, "gc": true, "gcDelay": "30m", "gcInterval": "10m", "cacheDriver": {"name": "redis"}, "remoteCache": true,
				"retention": {"dryRun": true, "policies": [{"repositories": ["a/**"]}]}},
			"b": {"rootDirectory": "/b", "gc": "false"},
			"/s3": {"redirectBlobURL": true, "storageDriver": {"name": "s3", "region": "r", "bucket": "images", "rootdirectory": "/own"}}}},
		"cluster": {"node": "zot-0", "secretFile": "s", "members": ["zot-0:7373", "zot-1:7373", "zot-2:7373"]}}`), "zot-0")
	if err != nil {
		t.Fatal(err)
	}
	all := retention.Config{Delay: 2 * time.Hour, Policies: []retention.Policy{{Repositories: []string{"**"}, DeleteUntagged: true}}}
	own := retention.Config{Delay: 30 * time.Minute, DryRun: true, Policies: []retention.Policy{{Repositories: []string{"a/**"}, DeleteUntagged: true}}}
	bucket := &config.Bucket{Region: "r", Name: "images", Root: "/own", Secure: true, ChunkSize: 10 << 20, Redirect: true}
	want := map[string]config.Store{
		"default": {RootDirectory: "/r", Dedupe: true, GC: true, GCDelay: 2 * time.Hour, GCInterval: time.Hour, Retention: all},
		"/a":      {RootDirectory: "/a", Dedupe: true, GC: true, GCDelay: 30 * time.Minute, GCInterval: 10 * time.Minute, Retention: own},
		"/b":      {RootDirectory: "/b", GCDelay: time.Hour, GCInterval: time.Hour},
		"/b/c":    {RootDirectory: "/bc", GC: true, GCDelay: time.Hour, GCInterval: time.Hour},
		"/s3":     {GCDelay: time.Hour, GCInterval: time.Hour, Bucket: bucket},
	}
	var names []string
	for _, s := range c.Storage.All() {
		names = append(names, s.Name)
		if !reflect.DeepEqual(s.Store, want[s.Name]) {
			t.Errorf("store %s is\n%+v\nwant\n%+v", s.Name, s.Store, want[s.Name])
		}
		replicas, acks := c.Copies(s.Store)
		if on, in := [2]int{replicas, acks}, s.Bucket != nil; on != [2]int{3, 2} && !in || on != [2]int{1, 1} && in {
			t.Errorf("store %s has %d copies, a push waits for %d", s.Name, replicas, acks)
		}
	}
	if got := strings.Join(names, " "); got != "default /a /b /b/c /s3" {
		t.Errorf("the stores are %s", got)
	}
	if len(notes) != 1 || notes[0].Key != "storage.subPaths./a.cacheDriver" {
		t.Errorf("noted: %v", notes)
	}
	if key := c.Storage.SubPaths[2].Key("gc"); key != "storage.subPaths./B/c/.gc" {
		t.Errorf("a key of /b/c is %q", key)
	}
}

// What speaks against sub-paths is said with the key and a way to mend it. What only serving refuses, and zot takes or
// has taken, is "served".
func TestProblemsOfSubPaths(t *testing.T) {
	t.Parallel()
	many := make([]string, 256)
	for i := range many {
		many[i] = fmt.Sprintf(`"/p%d": {"rootDirectory": "/p/%d"}`, i, i)
	}
	bucket := func(root string) string {
		return fmt.Sprintf(`"storageDriver": {"name": "s3", "region": "r", "bucket": "b", "rootdirectory": %q}`, root)
	}
	var b strings.Builder
	for _, test := range []struct{ name, subPaths string }{
		{"none", `{}`},
		{"no section", `["/a"]`},
		{"a path that is no section", `{"/a": "/disk"}`},
		{"unknown keys", `{"/a": {"rootDirectory": "/a", "gcDelai": "1h", "subPaths": {}}}`},
		{"no directory", `{"/a": {}}`},
		{"delays", `{"/a": {"rootDirectory": "/a", "gc": true, "gcDelay": "0s"}, "/b": {"rootDirectory": "/b", "gcDelay": "-1s", "gcInterval": "-1s"}, "/c": {"rootDirectory": "/c", "gc": true, "gcDelay": "1s"},
			"/d": {"rootDirectory": "/d", "gcDelay": "0s"}, "/e": {"rootDirectory": "/e", "gc": true, "gcDelay": "1d"}, "/f": {"rootDirectory": "/f", "gcInterval": "1h"}}`},
		{"names", `{"/": {"rootDirectory": "/a"}, "": {"rootDirectory": "/b"}, "/a//b/../c": {"rootDirectory": "/c"}, "/-x": {"rootDirectory": "/d"}, "/` + strings.Repeat("n", 255) + `": {"rootDirectory": "/e"}}`},
		{"names that are one", `{"/a": {"rootDirectory": "/a"}, "A/": {"rootDirectory": "/b"}, "/b": {"rootDirectory": "/c"}, "/b": {"rootDirectory": "/d"}}`},
		{"too many", "{" + strings.Join(many, ", ") + "}"},
		{"the directory of the default store", `{"/a": {"rootDirectory": "/var/lib/../lib/zot/"}}`},
		{"one directory twice, with other settings", `{"/a": {"rootDirectory": "/d", "dedupe": true}, "/b": {"rootDirectory": "/d"}}`},
		{"one directory twice, with the same settings", `{"/a": {"rootDirectory": "/d"}, "/b": {"rootDirectory": "/d/"}}`},
		{"directories inside of others", `{"/a": {"rootDirectory": "/var/lib/zot/a"}, "/b": {"rootDirectory": "/d/e"}, "/c": {"rootDirectory": "/d"}, "/e": {"rootDirectory": "/d/ef"}, "/f": {"rootDirectory": "/var"}}`},
		{"buckets", `{"/a": {"storageDriver": {"name": "s3", "chunksize": 1}}, "/b": {"storageDriver": {"name": "gcs"}}, "/c": {"redirectBlobURL": true, "rootDirectory": "/c"}}`},
		{"one bucket", `{"/a": {` + bucket("x") + `}, "/b": {` + bucket("/x/") + `}, "/c": {` + bucket("x/c") + `}, "/d": {"rootDirectory": "/var/lib/zot", ` + bucket("y") + `}}`},
		{"what follows without gc", `{"/a": {"rootDirectory": "/a", "dedupe": false, "gcInterval": "1h", "retention": {"policies": [{"repositories": ["**"]}]}}}`},
		{"keys that are not acted on", `{"/a": {"rootDirectory": "/a", "maxRepos": 5, "gcTimeWindow": "01:00-05:00", "commit": true, "fastRestart": true}}`},
	} {
		say(&b, test.name, `{"storage": {"rootDirectory": "/var/lib/zot", "subPaths": `+test.subPaths+`}}`)
	}
	inBucket := `{"storage": {"rootDirectory": "/var/lib/zot", ` + bucket("/zot") + `, "subPaths": {"/a": {` + bucket("zot/") + `}, "/b": {` + bucket("/zot-b") + `}, "/c": {"rootDirectory": "/c"}}}, `
	say(&b, "beside a bucket", inBucket+`"http": {}}`)
	say(&b, "copies of some", inBucket+`"cluster": {"replicas": 2}}`)
	golden(t, "sub_paths.golden", b.String())
}

// say writes what is to be said of a file.
func say(b *strings.Builder, name, file string) {
	fmt.Fprintf(b, "== %s\n", name)
	_, notes, err := config.Parse("c.json", []byte(file), "zot-0")
	for _, n := range notes {
		fmt.Fprintf(b, "note %s: %s\n", n.Key, n.Text)
	}
	if err == nil {
		return
	}
	for _, p := range err.(config.Problems) { //nolint:errorlint,forcetypeassert // as Parse says
		if p.Serving {
			fmt.Fprint(b, "served ")
		}
		fmt.Fprintln(b, p)
	}
}
