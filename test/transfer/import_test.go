package transfer_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// A zot directory with 1,000 images: every tag names what it did, the copies are the files themselves, and an import that
// is killed goes on where it was.
func TestZotDirectory(t *testing.T) {
	z := newZot(t)
	z.many(1000)
	z.kinds()
	z.write()
	n := harness.Start(t, 1)[0]
	want := z.tags()

	plan := taken(t, n, "import", z.dir, "--dry-run")
	if len(tagsOf(t, n)) > 0 || plan.tags != len(want) {
		t.Errorf("a dry run would take %+v, and there are %d tags", plan, len(want))
	}

	killedAfter(t, n, int64(len(want)/4), "import", z.dir)
	before := len(tagsOf(t, n))
	if before == 0 || before >= len(want) {
		t.Fatalf("%d of %d tags are there", before, len(want))
	}
	second := taken(t, n, "import", z.dir)
	t.Logf("killed when there were %d tags; then %+v", before, second)
	// What the first was at when it was killed may be half there, so an image or so for each of its four hands.
	if second.tagsThere < before || second.tags+second.tagsThere != len(want) || second.manifestsThere < before-8 || second.manifests > plan.manifests-before+8 {
		t.Errorf("of %+v, %d tags were there, and then %+v", plan, before, second)
	}
	sameTags(t, n, want)
	sameBlobs(t, n, z, "all/kinds")
	sameBlobs(t, n, z, "team-2")

	third := taken(t, n, "import", z.dir)
	if third.manifests+third.tags+third.blobs+third.linked > 0 {
		t.Errorf("all is there, and %+v was taken", third)
	}

	copies := inodes(t, filepath.Join(n.Root, "copies"), func(name string) bool { return filepath.Ext(name) == "" })
	files := map[digest.Digest]uint64{}
	for d, file := range z.blobs {
		number, err := inode(file)
		must(t, err)
		files[d] = number
	}
	linked := 0
	for _, number := range files {
		if _, ok := copies[number]; ok {
			linked++
		}
	}
	manifests := plan.manifests // their bodies are in the state; that of the one that is too large was uploaded
	if linked != len(files)-manifests {
		t.Errorf("%d of %d files are copies, and %d are manifests", linked, len(files), manifests)
	}
	hashed(t, linked, n)
	if out, err := n.Zot(t, "cluster", "verify", "--hash"); err != nil {
		t.Errorf("%s, %v", out, err)
	}
}

// Three nodes: what was linked on one all three have soon, with its sums.
func TestThreeNodes(t *testing.T) {
	z := newZot(t)
	z.many(40)
	z.kinds()
	z.write()
	nodes := harness.Start(t, 3)
	c := taken(t, nodes[1], "import", z.dir)
	if c.linked == 0 || c.blobs > 0 {
		t.Errorf("%+v", c)
	}
	for _, n := range nodes {
		sameTags(t, n, z.tags())
		sameBlobs(t, n, z, "all/kinds")
	}
	hashed(t, c.linked, nodes...)
	sums := func(n *harness.Node) (all int) {
		for _, name := range copyFiles(t, n) {
			if filepath.Ext(name) == ".sums" {
				all++
			}
		}
		return all
	}
	harness.Until(t, "all have the same sums", func(context.Context) error { // the last copy, of a blob that was not linked, may be under way
		if all := []int{sums(nodes[0]), sums(nodes[1]), sums(nodes[2])}; all[0] == 0 || all[0] != all[1] || all[1] != all[2] {
			return fmt.Errorf("%v copies have sums", all)
		}
		return nil
	})
	nodes[1].Kill(t)
	harness.WaitWritable(t, nodes[0], nodes[2])
	sameBlobs(t, nodes[2], z, "all/kinds")
	nodes[1].Serve(t)
	harness.WaitWritable(t, nodes...)
}

// What was exported and taken in elsewhere is the same: an export of that has the same files.
func TestExport(t *testing.T) {
	z := newZot(t)
	z.many(30)
	z.kinds()
	z.write()
	one, other := harness.Start(t, 1)[0], harness.Start(t, 1)[0]
	taken(t, one, "import", z.dir)
	dir, again := filepath.Join(t.TempDir(), "layouts"), filepath.Join(t.TempDir(), "again")
	first := taken(t, one, "export", dir)
	if first.tags != len(z.tags()) {
		t.Errorf("%+v, want %d tags", first, len(z.tags()))
	}
	second := taken(t, one, "export", dir)
	if second.manifests+second.blobs > 0 || second.manifestsThere != first.manifests {
		t.Errorf("all is there, and %+v was written again", second)
	}

	taken(t, other, "import", dir)
	sameTags(t, other, z.tags())
	sameBlobs(t, other, z, "all/kinds")
	taken(t, other, "export", again)
	if diff, err := exec.CommandContext(t.Context(), "diff", "-r", dir, again).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, diff)
	}
	if files := inodes(t, dir, func(string) bool { return true }); len(files) == 0 {
		t.Error("nothing is written")
	}

	// A single repository is a layout by itself, and one alone may be had.
	taken(t, other, "import", filepath.Join(dir, "all/kinds"), "--repository", "renamed/one")
	sameBlobs(t, one, z, "all/kinds")
	_, header, _ := get(t, other.URL("/v2/renamed/one/manifests/all"))
	if want := z.tags()["all/kinds:all"].String(); header.Get("Docker-Content-Digest") != want {
		t.Errorf("%s, want %s", header.Get("Docker-Content-Digest"), want)
	}
	some := filepath.Join(t.TempDir(), "some")
	taken(t, one, "export", some, "team-1/*")
	if entries, err := os.ReadDir(some); err != nil || len(entries) != 1 || entries[0].Name() != "team-1" {
		t.Errorf("%v, %v", entries, err)
	}
	refusedBy(t, one, []string{"none of", "matches"}, "export", some, "nothing/*")
}

// Referrers that only the registry can tell, and Docker's manifests with their digests, from one of another make.
func TestRegistry(t *testing.T) {
	z := newZot(t)
	z.many(25)
	z.kinds()
	z.write()
	host := startDistribution(t)
	z.pushTo(host)
	n := harness.Start(t, 1)[0]
	out, err := n.Zot(t, "import", "docker://"+host)
	must(t, err)
	t.Log(out)
	want := z.tags()
	for tag := range want {
		if strings.HasSuffix(tag, ":long") { // distribution has no other digests
			delete(want, tag)
		}
	}
	sameTags(t, n, want)
	c := taken(t, n, "import", "docker://"+host+"/team-1/**")
	if c.manifests+c.blobs+c.tags > 0 || c.manifestsThere == 0 {
		t.Errorf("%+v", c)
	}
	taken(t, n, "import", "docker://"+host+"/all/kinds", "--repository", "copied")
	if _, header, _ := get(t, n.URL("/v2/copied/manifests/docker")); header.Get("Content-Type") != dockerManifest ||
		header.Get("Docker-Content-Digest") != want["all/kinds:docker"].String() {
		t.Errorf("%v", header)
	}
}

// From a registry that lists referrers, as ours does, they come too.
func TestRegistryWithReferrers(t *testing.T) {
	z := newZot(t)
	z.kinds()
	z.write()
	one, other := harness.Start(t, 1)[0], harness.Start(t, 1)[0]
	taken(t, one, "import", z.dir)
	c := taken(t, other, "import", "docker://"+one.Address+"/all/**")
	sameTags(t, other, z.tags())
	if c.manifests != 8 { // all but the one that nothing leads to
		t.Errorf("%+v", c)
	}
	path := "/v2/all/kinds/referrers/" + z.tags()["all/kinds:all"].String()
	_, _, want := get(t, one.URL(path))
	if _, _, have := get(t, other.URL(path)); string(have) != string(want) || !strings.Contains(string(want), "vnd.example.signature") {
		t.Errorf("%s\nwant %s", have, want)
	}
}

// The root of a zot in a bucket, where most blobs are empty objects, and keys begin with the prefix twice.
func TestBucketWithStubs(t *testing.T) {
	z := newZot(t)
	z.many(50)
	z.kinds()
	z.write()
	bucket := harness.StartBucket(t)
	z.stubbed(func(key string) string { return bucket.Path("zot/zot/" + key) })
	n := harness.Start(t, 1)[0]
	config := filepath.Join(t.TempDir(), "old.json")
	text, err := json.Marshal(map[string]any{"storage": map[string]any{
		"rootDirectory": t.TempDir(), "dedupe": true, "storageDriver": bucket.Driver("/zot"),
	}})
	must(t, errors.Join(err, os.WriteFile(config, text, 0o600)))
	c := taken(t, n, "import", config)
	if c.linked > 0 || c.blobs == 0 {
		t.Errorf("%+v", c)
	}
	sameTags(t, n, z.tags())
	sameBlobs(t, n, z, "all/kinds")
	t.Setenv("AWS_ACCESS_KEY_ID", bucket.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", bucket.SecretKey)
	c = taken(t, n, "import", "s3://"+bucket.Name+"/zot?region="+bucket.Region+"&endpoint="+bucket.Endpoint)
	if c.manifests+c.blobs+c.tags > 0 || c.tagsThere != len(z.tags()) {
		t.Errorf("%+v", c)
	}
}

// What is wrong with some images is told, and keeps no other; when it is mended the import brings the rest.
func TestTrouble(t *testing.T) {
	z := newZot(t)
	z.many(60)
	z.write()
	n := harness.Start(t, 1)[0]
	// A layer that is gone, one that has other bytes, one that is cut off, a manifest that is gone and one that has other bytes.
	broken := map[string]func(file string){
		"v1": func(file string) { must(t, os.Remove(file)) },
		"v2": func(file string) { must(t, os.WriteFile(file, make([]byte, 1000), 0o600)) },
	}
	broken["v4"] = func(file string) { must(t, os.Truncate(file, 100)) }
	mend := map[string][]byte{}
	for tag, spoil := range broken {
		file := z.layerOf("team-0/app-0", tag)
		content, err := os.ReadFile(file)
		must(t, err)
		mend[file] = content
		spoil(file)
	}
	manifest := z.path("team-0/app-0", z.tags()["team-0/app-0:v3"])
	content, err := os.ReadFile(manifest)
	must(t, err)
	mend[manifest] = content
	must(t, os.WriteFile(manifest, content[:len(content)-1], 0o600))
	refusedBy(t, n, []string{"team-0/app-0 v1: blob", "not there", "team-0/app-0 v3: read manifest", "hash to", "team-0/app-0 v4: blob", "DIGEST_INVALID", "3 images were not taken"}, "import", z.dir)
	want := z.tags()
	delete(want, "team-0/app-0:v1")
	delete(want, "team-0/app-0:v3")
	delete(want, "team-0/app-0:v4")
	sameTags(t, n, want)
	harness.Until(t, "the node finds what was linked and is bad", func(context.Context) error {
		status, err := n.Zot(t, "cluster", "status")
		if err == nil && !strings.Contains(status, "1 damaged") {
			err = errors.New(status)
		}
		return err
	})
	if status, _, body := get(t, n.URL("/v2/team-0/app-0/blobs/"+z.layerDigest("team-0/app-0", "v2").String())); status == http.StatusOK && len(body) > 0 {
		t.Errorf("bad bytes are served: %d %d bytes", status, len(body))
	}
	for file, content := range mend {
		must(t, os.RemoveAll(file)) // not written over: the node has the same file
		must(t, os.WriteFile(file, content, 0o600))
	}
	c := taken(t, n, "import", z.dir)
	if c.tags != 3 || c.blobs != 1 {
		t.Errorf("%+v: want the three tags that were missing, and the blob that was bad by a push", c)
	}
	sameTags(t, n, z.tags())
	for _, tag := range []string{"v1", "v2", "v3"} {
		if status, _, _ := get(t, n.URL("/v2/team-0/app-0/blobs/"+z.layerDigest("team-0/app-0", tag).String())); status != http.StatusOK {
			t.Errorf("the layer of %s: %d", tag, status)
		}
	}

	// Tags that name something else here.
	other := newZot(t)
	other.seed = 1_000_000
	other.list("team-0/app-0", other.image("team-0/app-0", nil, other.random(100)), "v5", "new")
	other.write()
	refusedBy(t, n, []string{"team-0/app-0 v5: tag v5 names " + z.tags()["team-0/app-0:v5"].String(), "left alone: 1 tags"}, "import", other.dir)
	want = z.tags()
	want["team-0/app-0:new"] = other.tags()["team-0/app-0:new"]
	sameTags(t, n, want)
	taken(t, n, "import", other.dir, "--overwrite")
	want["team-0/app-0:v5"] = want["team-0/app-0:new"]
	sameTags(t, n, want)
	refusedBy(t, n, []string{"no image layout is here"}, "import", t.TempDir())
	refusedBy(t, n, []string{"--repository"}, "import", filepath.Join(z.dir, "team-0/app-0"))
}

// A link of the file system that leads out of the source is not followed, and one to a plain file in it is not linked.
func TestLinksOfTheFileSystem(t *testing.T) {
	z := newZot(t)
	z.many(4)
	z.write()
	outside := filepath.Join(t.TempDir(), "secret")
	layer := z.layerOf("team-0/app-0", "v1")
	must(t, os.Rename(layer, outside))
	must(t, os.Symlink(outside, layer))
	n := harness.Start(t, 1)[0]
	refusedBy(t, n, []string{"team-0/app-0 v1", "no plain file"}, "import", z.dir)
	if _, there := inodes(t, n.Root, func(string) bool { return true })[must1(inode(outside))]; there {
		t.Error("a file from elsewhere is in the store")
	}
}

func must1(n uint64, err error) uint64 {
	if err != nil {
		panic(err)
	}
	return n
}

// Where files cannot be linked they are uploaded, and that is said once.
func TestOtherFileSystem(t *testing.T) {
	z := newZot(t)
	z.many(30)
	z.write()
	bucket := harness.StartBucket(t)
	n := harness.StartStored(t, 1, map[string]any{"storageDriver": bucket.Driver("/ours")})[0]
	c := taken(t, n, "import", z.dir)
	if c.linked > 0 || c.blobs == 0 {
		t.Errorf("%+v", c)
	}
	sameTags(t, n, z.tags())
	sameBlobs(t, n, z, "team-0/app-0")
}

// The stores of a zot with sub-paths are one source, and what is linked goes to the store of its repository here.
func TestSubPaths(t *testing.T) {
	z, below := newZot(t), newZot(t)
	z.many(30)
	z.write()
	below.seed = 1_000_000
	below.list("infra/base", below.image("infra/base", nil, below.random(300<<10)), "v1")
	below.write()
	config := filepath.Join(t.TempDir(), "old.json")
	text, err := json.Marshal(map[string]any{"storage": map[string]any{
		"rootDirectory": z.dir, "subPaths": map[string]any{"/infra": map[string]any{"rootDirectory": below.dir}},
	}})
	must(t, errors.Join(err, os.WriteFile(config, text, 0o600)))
	other := filepath.Join(t.TempDir(), "teams")
	n := harness.StartStored(t, 1, map[string]any{"subPaths": map[string]any{"/team-0": map[string]any{"rootDirectory": other}}})[0]
	c := taken(t, n, "import", config)
	if c.blobs > 0 || c.linked == 0 {
		t.Errorf("%+v", c)
	}
	want := z.tags()
	want["infra/base:v1"] = below.tags()["infra/base:v1"]
	sameTags(t, n, want)
	sameBlobs(t, n, z, "team-0/app-0")
	copies := inodes(t, filepath.Join(other, "copies"), func(name string) bool { return filepath.Ext(name) == "" })
	if _, there := copies[must1(inode(z.layerOf("team-0/app-0", "v3")))]; !there {
		t.Error("the layer of a repository below the sub-path is not in its store")
	}
	harness.Until(t, "the sub-path's store is hashed", func(context.Context) error {
		if left := inodes(t, other, func(name string) bool { return filepath.Ext(name) == ".unsummed" }); len(left) > 0 {
			return fmt.Errorf("%v", left)
		}
		return nil
	})
}

// Keys, stars, bookmarks and keys for signatures, of both kinds of zot's database, and once however often they are taken in.
func TestPeople(t *testing.T) {
	key, all := "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	sum := func(key string) []byte { s := sha256.Sum256([]byte(key)); return s[:] }
	users := map[string]string{
		"alice": `{"StarredRepos":["team-0/app-0","gone"],"BookmarkedRepos":["team-0/app-0"],"Groups":null,"APIKeys":{"` + hex.EncodeToString(sum(key)) +
			`":{"createdAt":"2023-07-19T10:00:00Z","expirationDate":"0001-01-01T00:00:00Z","isExpired":false,"creatorUa":"curl","generatedBy":"manual",` +
			`"lastUsed":"0001-01-01T00:00:00Z","label":"ci","scopes":["team-0/**"],"uuid":"46a45ce7-5d92-498a-a9cb-9654b1da3da1"},"` + strings.Repeat("ab", 32) +
			`":{"expirationDate":"2023-07-20T10:00:00Z","label":"over","uuid":"56a45ce7-5d92-498a-a9cb-9654b1da3da1"}}}`,
		"root": `{"APIKeys":{"` + hex.EncodeToString(sum(all)) + `":{"label":"all","uuid":"66a45ce7-5d92-498a-a9cb-9654b1da3da1"}}}`,
		"bob":  `{"StarredRepos":null,"BookmarkedRepos":["team-0/app-0"],"APIKeys":null}`,
	}
	for _, name := range []string{"meta.db", "repo.db"} {
		t.Run(name, func(t *testing.T) {
			z := newZot(t)
			z.many(4)
			z.write()
			z.people(name, users)
			z.trusted()
			passwords := filepath.Join(t.TempDir(), "htpasswd")
			must(t, os.WriteFile(passwords, []byte("# nobody\n"), 0o600))
			root, err := os.MkdirTemp("", "zot-people-") //nolint:usetesting // a socket in it needs a short path
			must(t, err)
			t.Cleanup(func() { must(t, os.RemoveAll(root)) })
			port := strconv.Itoa(harness.FreePorts(t, 1)[0])
			config, err := json.Marshal(map[string]any{
				"storage": map[string]any{"rootDirectory": root},
				"http": map[string]any{
					"address": "127.0.0.1", "port": port,
					"auth": map[string]any{"apikey": true, "htpasswd": map[string]any{"path": passwords}},
				},
				"extensions": map[string]any{"trust": map[string]any{"cosign": true, "notation": true}},
			})
			must(t, err)
			file := filepath.Join(t.TempDir(), "zot.json")
			must(t, os.WriteFile(file, config, 0o600))
			n, _ := harness.StartConfigured(t, file, "127.0.0.1:"+port, nil)
			for i, want := range []string{"7 taken, 0 were there", "0 taken, 7 were there"} {
				out, err := n.Zot(t, "import", z.dir)
				must(t, err)
				if !strings.Contains(out, want) || !strings.Contains(out, "left out: mark of alice on gone") || strings.Count(out, "left out: key for signatures in _cosign/readme: ") != 1 {
					t.Errorf("the import %d says %s", i, out)
				}
			}
			for tool, want := range map[string]string{"cosign": "BEGIN PUBLIC KEY", "notation": `"truststoreType":"ca","truststoreName":"default"`} {
				status, body := ask(t, n.URL("/v2/_zot/ext/"+tool), "root", "zak_"+all)
				if status != http.StatusOK || !strings.Contains(body, want) || strings.Count(body, "digest") != 1 {
					t.Errorf("%s: %d %s", tool, status, body)
				}
			}
			for password, want := range map[string]int{"zak_" + key: http.StatusOK, "zak_" + strings.Repeat("0", 32): http.StatusUnauthorized} {
				if status, _ := ask(t, n.URL("/v2/team-0/app-0/tags/list"), "alice", password); status != want {
					t.Errorf("with the key that the other zot gave out, or another: %d, want %d", status, want)
				}
			}
		})
	}
}

// ask sends a GET with a login.
func ask(t *testing.T, url, name, password string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	must(t, err)
	r.SetBasicAuth(name, password)
	answer, err := http.DefaultClient.Do(r)
	must(t, err)
	text, err := io.ReadAll(answer.Body)
	must(t, errors.Join(err, answer.Body.Close()))
	return answer.StatusCode, string(text)
}

// A node on the directory of another zot does not start empty beside it.
func TestServeOnAZotDirectory(t *testing.T) {
	program := harness.Program(t, "ZOT")
	for name, prepare := range map[string]func(z *zot){
		"with images": func(z *zot) { z.many(2); z.write(); must(t, os.Remove(filepath.Join(z.dir, "cache.db"))) },
		"empty":       func(z *zot) { z.people("meta.db", nil) },
		"a repository called node": func(z *zot) {
			z.list("node", z.image("node", nil, z.random(10)), "v1")
			z.write()
			must(t, os.Remove(filepath.Join(z.dir, "cache.db")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			z := newZot(t)
			prepare(z)
			before, err := exec.CommandContext(t.Context(), "find", z.dir).Output()
			must(t, err)
			file := filepath.Join(t.TempDir(), "config.json")
			harness.WriteConfig(t, file, z.dir, "127.0.0.1:1", nil)
			out, err := exec.CommandContext(t.Context(), program, "serve", file).CombinedOutput()
			for _, words := range []string{"zot import " + z.dir, "storage.rootDirectory to a new directory", z.dir + "-new"} {
				if err == nil || !strings.Contains(string(out), words) {
					t.Errorf("%v: %q is not in %s", err, words, out)
				}
			}
			if after, err := exec.CommandContext(t.Context(), "find", z.dir).Output(); err != nil || string(after) != string(before) {
				t.Errorf("was\n%s\nis\n%s", before, after)
			}
		})
	}
}
