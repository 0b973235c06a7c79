package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/johannesboyne/gofakes3"
	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// subPathsFile is an example of zot with sub-paths, whose directories and port are the test's own.
func subPathsFile(t *testing.T, dir, port string, more ...string) string {
	t.Helper()
	content, err := os.ReadFile("../../test/testdata/zot-examples/config-multiple.json")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(append(more, "/tmp/zot", dir+"/zot", `"5000"`, `"`+port+`"`)...).Replace(string(content))
	file := filepath.Join(dir, "config.json")
	put(t, file, text)
	return file
}

// pushedBlob pushes a text as a blob.
func pushedBlob(t *testing.T, at, repository, text string, status int) {
	t.Helper()
	sent(t, http.MethodPost, at+"/v2/"+repository+"/blobs/uploads/?digest="+digest.FromString(text).String(), text, status)
}

// An example of zot with sub-paths serves: each repository is in the store that the longest path says, stays there, and
// no store is missed unseen. What follows is one node's life.
func TestSubPathsOfAnExample(t *testing.T) {
	t.Parallel()
	dir, port := shortDir(t), freePorts(t, 1)[0]
	file, at := subPathsFile(t, dir, port), "http://127.0.0.1:"+port
	stop := started(t, file)
	stops := func() {
		t.Helper()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	for repository, text := range map[string]string{"a": "default 1", "a/x": "a 1", "b/x/y": "b 1", "c/x": "c 1", "d/x": "default 2"} {
		pushedBlob(t, at, repository, text, http.StatusCreated)
	}
	holds := func(root string, texts ...string) {
		t.Helper()
		want := map[string]bool{}
		for _, text := range texts {
			want[text] = true
		}
		for _, name := range copiesIn(t, filepath.Join(dir, root)) {
			content, err := os.ReadFile(name)
			if err != nil || !want[string(content)] {
				t.Errorf("%s holds %q, %v", root, content, err)
			}
			delete(want, string(content))
		}
		for text := range want {
			t.Errorf("%s does not hold %q", root, text)
		}
	}
	holds("zot", "default 1", "default 2")
	holds("zot1", "a 1")
	holds("zot2", "b 1")
	holds("zot3", "c 1")
	if s := asked(t, file).Members[0]; len(s.Stores) != 4 || len(s.HeldIn) != 4 || s.HeldIn["/a"].Copies != 1 || s.Held.Copies != 5 {
		t.Errorf("its status has %+v, %+v", s.Stores, s.HeldIn)
	}
	verify := func() string {
		t.Helper()
		c, err := newClient(file)
		if err != nil {
			t.Fatal(err)
		}
		defer c.http.CloseIdleConnections()
		v, err := c.audit(t.Context(), checkWish{Hash: true}, func([]auditProgress) {})
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := printVerdict(&b, v, false); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if v := verify(); !strings.HasPrefix(v, "well: 1 of 1 nodes answered, 5 copies") {
		t.Errorf("verified: %s", v)
	}
	stops()

	var out, said bytes.Buffer
	c, _, err := config.Load(file)
	if err == nil {
		err = scrubOffline(t.Context(), c, &out, &said)
	}
	if err != nil || !strings.Contains(said.String(), "5 hashed, 0 bad") {
		t.Errorf("scrub: %v\n%s", err, &said)
	}

	// Without a sub-path that has copies it does not start, nor with its directory another's.
	fails := func(want string, more ...string) {
		t.Helper()
		c, _, err := config.Load(subPathsFile(t, dir, port, more...))
		if err == nil {
			err = run(t.Context(), setting{config: c, log: hclog.NewNullLogger()})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("with %q it ends with %v, want %q", more, err, want)
		}
	}
	fails("add storage.subPaths./b again", `"/b"`, `"/other"`)
	fails(`it is store "/c" of this node, not "/b"`, "/tmp/zot2", dir+"/zot3", "/tmp/zot3", dir+"/zot2")

	// Another sub-path takes nothing from where it is, and its own repositories are in it.
	more := `"/a/x": {"rootDirectory": "` + dir + `/zot4"}, "/a":`
	file = subPathsFile(t, dir, port, `"/a":`, more)
	stop = started(t, file)
	pushedBlob(t, at, "a/x", "a 2", http.StatusCreated)
	pushedBlob(t, at, "a/x/y", "ax 1", http.StatusCreated)
	holds("zot1", "a 1", "a 2")
	holds("zot4", "ax 1")
	stops()

	// A disk that is not mounted is an offline store, not an empty one; the others serve, and it does again when it is there.
	away := filepath.Join(dir, "away")
	rename(t, filepath.Join(dir, "zot1"), away)
	stop = begun(t, file)
	eventually(t, "it says what is missing", func() bool {
		code, said := answers(t.Context(), port, "/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(said, "store /a is not to be had")
	})
	eventually(t, "the other stores serve", func() bool {
		code, _ := answers(t.Context(), port, "/v2/b/x/y/blobs/"+digest.FromString("b 1").String())
		return code == http.StatusOK
	})
	pushedBlob(t, at, "a/x", "a 3", http.StatusServiceUnavailable)
	pushedBlob(t, at, "b/x", "b 2", http.StatusCreated)
	if v := verify(); !strings.Contains(v, "store /a") || !strings.Contains(v, "not checked") || strings.Contains(v, "broken") {
		t.Errorf("verified without a disk: %s", v)
	}
	if _, err := os.Stat(disk.MarkerPath(filepath.Join(dir, "zot1"))); err == nil {
		t.Error("an empty store was made where the disk should be")
	}
	rename(t, away, filepath.Join(dir, "zot1"))
	eventually(t, "it is ready", func() bool {
		code, _ := answers(t.Context(), port, "/readyz?for=write")
		return code == http.StatusOK
	})
	pushedBlob(t, at, "a/x", "a 3", http.StatusCreated)
	holds("zot1", "a 1", "a 2", "a 3")
	stops()

	// What is left of a node whose own directory was emptied is a lost disk.
	if err := os.RemoveAll(filepath.Join(dir, "zot")); err != nil {
		t.Fatal(err)
	}
	c, _, err = config.Load(file)
	if err == nil {
		err = run(t.Context(), setting{config: c, log: hclog.NewNullLogger()})
	}
	if !errors.Is(err, cluster.ErrLostDisk) || !strings.Contains(err.Error(), "zot4") {
		t.Errorf("a node whose stores are left alone: %v", err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// The nodes of a cluster get a sub-path one after the other. Meanwhile one that has no such store answers for it as one
// that is offline, and is not ready as soon as there is something in it.
func TestSubPathIsAddedNodeByNode(t *testing.T) {
	t.Parallel()
	ports, secret := freePorts(t, 6), filepath.Join(t.TempDir(), "secret")
	put(t, secret, line("s"))
	members := fmt.Sprintf(`["127.0.0.1:%s", "127.0.0.1:%s", "127.0.0.1:%s"]`, ports[3], ports[4], ports[5])
	dirs := []string{shortDir(t), shortDir(t), shortDir(t)}
	file := func(n int, subPaths string) string {
		name := filepath.Join(t.TempDir(), "config.json")
		put(t, name, fmt.Sprintf(`{"storage": {"rootDirectory": "%s/root"%s}, "http": {"port": %q}, "cluster": {"node": "zot-%d", "listen": "127.0.0.1:%s",
			"advertise": "127.0.0.1:%s", "members": %s, "secretFile": %q}}`, dirs[n], subPaths, ports[n], n, ports[3+n], ports[3+n], members, secret))
		return name
	}
	with := func(n int) string {
		return file(n, fmt.Sprintf(`, "subPaths": {"/a": {"rootDirectory": "%s/a"}}`, dirs[n]))
	}
	at := func(n int) string { return "http://127.0.0.1:" + ports[n] }
	var stops [3]func() error
	for n := range 3 {
		stops[n] = begun(t, file(n, ""))
	}
	ready := func(n int) {
		t.Helper()
		eventually(t, "a node is ready", func() bool {
			code, _ := answers(t.Context(), ports[n], "/readyz?for=write")
			return code == http.StatusOK
		})
	}
	again := func(n int) {
		t.Helper()
		if err := stops[n](); err != nil {
			t.Fatal(err)
		}
		stops[n] = begun(t, with(n))
	}
	for n := range 3 {
		ready(n)
	}
	pushedBlob(t, at(0), "a/old", "from before", http.StatusCreated)

	again(0)
	eventually(t, "one node alone takes no push for the store", func() bool {
		code, said := answers(t.Context(), ports[0], "/readyz?for=write")
		return code == http.StatusServiceUnavailable && strings.Contains(said, "room in store /a")
	})
	again(1)
	ready(0)
	ready(1)
	pushedBlob(t, at(0), "a/old", "stays", http.StatusCreated)
	pushedBlob(t, at(0), "a/new", "layer", http.StatusCreated)
	for n, want := range []int{2, 2, 2} {
		if have := len(copiesIn(t, filepath.Join(dirs[n], "root"))); have > want {
			t.Errorf("node %d has %d copies in the default store", n, have)
		}
	}
	eventually(t, "the node that lacks it says so", func() bool {
		code, said := answers(t.Context(), ports[2], "/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(said, "storage.subPaths./a")
	})
	code, said := answers(t.Context(), ports[2], "/v2/a/new/blobs/"+digest.FromString("layer").String())
	if code != http.StatusServiceUnavailable {
		t.Errorf("what it cannot have it answers with %d %s", code, said)
	}
	if code, _ := got(t, at(2)+"/v2/a/old/blobs/"+digest.FromString("stays").String()); code != http.StatusOK {
		t.Errorf("what is in other stores it answers with %d", code)
	}
	again(2)
	ready(2)
	eventually(t, "it has got a copy", func() bool { return len(copiesIn(t, filepath.Join(dirs[2], "a"))) == 1 })
	if code, said := got(t, at(2)+"/v2/a/new/blobs/"+digest.FromString("layer").String()); code != http.StatusOK || said != "layer" {
		t.Errorf("%d %s", code, said)
	}

	// Each request of an upload may go to another node, which asks the others in the store of the repository.
	location := sent(t, http.MethodPost, at(0)+"/v2/a/new/blobs/uploads/", "", http.StatusAccepted)
	sent(t, http.MethodPatch, at(1)+location, "in two ", http.StatusAccepted) // the Location of its answer would name the owner
	if code, said := got(t, at(2)+location); code != http.StatusNoContent {
		t.Errorf("the upload at another node: %d %s", code, said)
	}
	sent(t, http.MethodPut, at(0)+location+"?digest="+digest.FromString("in two ").String(), "", http.StatusCreated)
	if code, said := got(t, at(1)+"/v2/a/new/blobs/"+digest.FromString("in two ").String()); code != http.StatusOK || said != "in two " {
		t.Errorf("%d %s", code, said)
	}
}

// A sub-path may be in a bucket and another store on disks; each is where its own keys say, again after a restart.
func TestSubPathInABucket(t *testing.T) {
	t.Parallel()
	w := newBucketWorld(t)
	dir, port := shortDir(t), freePorts(t, 1)[0]
	file, at := filepath.Join(dir, "config.json"), "http://127.0.0.1:"+port
	driver := fmt.Sprintf(`{"storageDriver": {"name": "s3", "region": "us-east-1", "bucket": "right", "rootdirectory": "/%%s", "regionendpoint": %q, "accesskey": "a", "secretkey": "s"}}`,
		w.config.Storage.Bucket.Endpoint)
	put(t, file, fmt.Sprintf(`{"storage": {"rootDirectory": %q, "subPaths": {"/a": `+driver+`, "/b": `+driver+`}}, "http": {"port": %q}}`, dir, "of-a", "of-b", port))
	for _, text := range []string{"first", "second"} {
		stop := started(t, file)
		eventually(t, "the buckets are found", func() bool {
			code, _ := answers(t.Context(), port, "/readyz?for=write")
			return code == http.StatusOK
		})
		for _, repository := range []string{"a/x", "b/x", "c/x"} {
			pushedBlob(t, at, repository, text+" of "+repository, http.StatusCreated)
		}
		for _, repository := range []string{"a/x", "b/x", "c/x"} {
			code, got := answers(t.Context(), port, "/v2/"+repository+"/blobs/"+digest.FromString("first of "+repository).String())
			if code != http.StatusOK || got != "first of "+repository {
				t.Errorf("%s: %d %s", repository, code, got)
			}
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	if on := copiesIn(t, dir); len(on) != 2 {
		t.Errorf("on the disk are %q", on)
	}
	objects, err := w.backend.ListBucket("right", nil, gofakes3.ListBucketPage{})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, o := range objects.Contents {
		if root, _, _ := strings.Cut(o.Key, "/"); o.Size == int64(len("first of a/x")) || o.Size == int64(len("second of a/x")) {
			found[root]++
		}
	}
	if found["of-a"] != 2 || found["of-b"] != 2 {
		t.Errorf("in the bucket are %v", found)
	}
}

// The policies of a store are for its repositories alone, in what is shown as in what is done.
func TestRetentionOfSubPaths(t *testing.T) {
	t.Parallel()
	dir, port := shortDir(t), freePorts(t, 1)[0]
	file, at := filepath.Join(dir, "config.json"), "http://127.0.0.1:"+port
	newest := `"gc": true, "gcInterval": "1s", "gcDelay": "5s", "retention": {"delay": "1s", "policies": [{"repositories": ["**"], "keepTags": [{"mostRecentlyPushedCount": 1}]}]}`
	put(t, file, fmt.Sprintf(`{"storage": {"rootDirectory": "%s/root", "gc": false, "subPaths": {"/a": {"rootDirectory": "%s/a", %s}, "/b": {"rootDirectory": "%s/b", %s}}}, "http": {"port": %q}}`,
		dir, dir, strings.Replace(newest, `"delay"`, `"dryRun": true, "delay"`, 1), dir, newest, port))
	started(t, file)
	tags := func(repository string) string {
		_, body := answers(t.Context(), port, "/v2/"+repository+"/tags/list")
		return body
	}
	for _, repository := range []string{"a/x", "b/x", "c/x"} {
		for _, tag := range []string{"v1", "v2"} {
			index := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{"tag":"` + tag + `"}}`
			sent(t, http.MethodPut, at+"/v2/"+repository+"/manifests/"+tag, index, http.StatusCreated)
		}
	}
	var out bytes.Buffer
	if err := verifyRetention(t.Context(), &out, file, false); err != nil {
		t.Fatal(err)
	}
	inA, inB, both := strings.Cut(out.String(), "storage.subPaths./b.retention:\n")
	if !both || !strings.HasPrefix(inA, "storage.subPaths./a.retention:\na/x: policies[0] removes 1 of 2 tags") || strings.Contains(inA, "b/x") ||
		strings.Contains(inB, "a/x") || strings.Contains(out.String(), "c/x") {
		t.Errorf("it shows\n%s", &out)
	}
	eventually(t, "the older tag goes where the policy says so", func() bool { return !strings.Contains(tags("b/x"), "v1") })
	for _, repository := range []string{"a/x", "c/x"} {
		if got := tags(repository); !strings.Contains(got, "v1") || !strings.Contains(got, "v2") {
			t.Errorf("%s: %s", repository, got)
		}
	}
}
