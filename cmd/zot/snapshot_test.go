package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/seed-16d79997/zot/fsm"
)

// pushes is all that a registry was given, by the paths at which it is read.
type pushes map[string]string

// blob pushes a blob.
func (all pushes) blob(t *testing.T, port, repository, content string) string {
	t.Helper()
	at := "/v2/" + repository + "/blobs/"
	sent(t, http.MethodPost, "http://127.0.0.1:"+port+at+"uploads/?digest="+digestOf([]byte(content)), content, http.StatusCreated)
	all[at+digestOf([]byte(content))] = content
	return fmt.Sprintf(`{"mediaType":"application/x","digest":%q,"size":%d}`, digestOf([]byte(content)), len(content))
}

// manifest pushes a manifest by a tag, or by its digest.
func (all pushes) manifest(t *testing.T, port, repository, tag, mediaType, content string) string {
	t.Helper()
	at, d := "/v2/"+repository+"/manifests/", digestOf([]byte(content))
	if tag == "" {
		tag = d
	}
	wish{method: http.MethodPut, url: "http://127.0.0.1:" + port + at + tag, body: content, header: []string{"Content-Type: " + mediaType}}.must(t, http.StatusCreated)
	all[at+tag], all[at+d] = content, content
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, d, len(content))
}

const (
	typeImage = "application/vnd.oci.image.manifest.v1+json"
	typeIndex = "application/vnd.oci.image.index.v1+json"
)

// image pushes an image of a layer, with what more its manifest has.
func (all pushes) image(t *testing.T, port, repository, tag, layer, more string) string {
	t.Helper()
	config := all.blob(t, port, repository, "config of "+layer)
	return all.manifest(t, port, repository, tag, typeImage, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]%s}`,
		typeImage, config, all.blob(t, port, repository, layer), more))
}

// pushAll pushes some of everything.
func pushAll(t *testing.T, port string) pushes {
	t.Helper()
	all := pushes{}
	amd := all.image(t, port, "team/app", "", "layer of amd64", "")
	arm := all.image(t, port, "team/app", "", strings.Repeat("layer of arm64 ", 100_000), "")
	all.manifest(t, port, "team/app", "v1", typeIndex, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s,%s]}`, typeIndex, amd, arm))
	all.image(t, port, "team/app", "moved", "the first layer", "")
	all.image(t, port, "team/app", "moved", "the second layer", "")
	all.image(t, port, "team/app", "", "a signature", fmt.Sprintf(`,"subject":%s,"artifactType":"application/sig"`, amd))
	all.image(t, port, "other", "large", "layer of amd64", `,"annotations":{"a":"`+strings.Repeat("large ", 20_000)+`"}`)
	all.image(t, port, "other", "gone", "what was deleted", "")
	sent(t, http.MethodDelete, "http://127.0.0.1:"+port+"/v2/other/manifests/gone", "", http.StatusAccepted)
	delete(all, "/v2/other/manifests/gone")
	for _, list := range []string{
		"/v2/_catalog", "/v2/team/app/tags/list", "/v2/other/tags/list", "/v2/team/app/referrers/" + digestOf([]byte(all.under(amd))),
	} {
		code, body := got(t, "http://127.0.0.1:"+port+list)
		if code != http.StatusOK {
			t.Fatalf("%s: %d %s", list, code, body)
		}
		all[list] = body
	}
	return all
}

// under is the content of what a descriptor describes.
func (all pushes) under(descriptor string) string {
	for at, content := range all {
		if d := at[strings.LastIndex(at, "/")+1:]; strings.Contains(descriptor, d) {
			return content
		}
	}
	return ""
}

// are sees to it that a registry has all that, byte by byte.
func (all pushes) are(t *testing.T, port string) {
	t.Helper()
	for at, content := range all {
		if code, body := got(t, "http://127.0.0.1:"+port+at); code != http.StatusOK || body != content {
			t.Errorf("%s: %d, %d bytes, want %d", at, code, len(body), len(content))
		}
	}
}

// snapshot runs 'zot cluster snapshot', which must end with a code and say something.
func (p *process) snapshot(code int, says string, args ...string) string {
	p.t.Helper()
	got := p.zot(append([]string{"snapshot"}, args...)...)
	if got.code != code || !strings.Contains(got.stdout+got.stderr, says) {
		p.t.Fatalf("snapshot %q: %d, want %d and %q\n%s%s", args, got.code, code, says, got.stdout, got.stderr)
	}
	return got.stdout
}

// pasts is the history of all tags, of which the dates are those of the first pushes.
func (p *process) pasts() string {
	p.t.Helper()
	all := ""
	for _, of := range []string{"team/app:moved", "other:gone"} {
		got := call("tag", "history", of, "--config", p.file)
		if got.code != exitDone {
			p.t.Fatalf("%+v", got)
		}
		all += got.stdout
	}
	return all
}

// inspected is what 'inspect --json' says.
func (p *process) inspected(of string) (d described) {
	p.t.Helper()
	if err := json.Unmarshal([]byte(p.snapshot(exitDone, "", "inspect", of, "--json")), &d); err != nil {
		p.t.Fatal(err)
	}
	return d
}

// newThree starts three new nodes.
func newThree(t *testing.T) []*process {
	t.Helper()
	all := threeNodes(t)
	restart(all)
	all[0].whole()
	return all
}

func killAll(all []*process) {
	for _, p := range all {
		p.end(syscall.SIGKILL)
	}
}

// A cluster is saved, twice, and lost; new nodes get all of it back.
func TestSnapshotOfThreeNodes(t *testing.T) {
	t.Parallel()
	old := newThree(t)
	place, file := filepath.Join(t.TempDir(), "backups"), filepath.Join(t.TempDir(), "state")
	all := pushAll(t, old[0].port)
	first := old[0].snapshot(exitDone, "; 13 blobs with", "save", "--blobs", place)
	all.image(t, old[1].port, "team/app", "v2", "one more layer", "")
	old[2].snapshot(exitDone, "; 2 blobs with", "save", "--blobs", place, "--verify")
	old[1].snapshot(exitDone, "no bytes of blobs", "save", file)
	_, all["/v2/team/app/tags/list"] = got(t, "http://127.0.0.1:"+old[0].port+"/v2/team/app/tags/list")
	pasts, id := old[0].pasts(), old[0].status().Members[0].Incarnation
	killAll(old)
	onlyTheirOwner(t, place)

	fresh := newThree(t)
	if fresh[0].status().Members[0].Incarnation == id {
		t.Fatal("they are the old nodes")
	}
	snapshots := strings.Fields(fresh[0].snapshot(exitDone, "cluster zot: 2 repositories", "inspect", place))
	fresh[0].snapshot(exitDone, "was read and hashed", "inspect", place, "--verify")
	if d := fresh[0].inspected(file); d.Tags != 4 || d.Blobs != 15 {
		t.Errorf("the file has %+v", d)
	}
	fresh[1].snapshot(exitDone, "; 15 blobs with", "restore", place)
	for _, p := range fresh {
		all.are(t, p.port)
	}
	if have := fresh[2].pasts(); have != pasts {
		t.Errorf("history was\n%s\nand is\n%s", pasts, have)
	}
	eventually(t, "each node has a copy of each", func() bool { return fresh[1].status().Blobs == blobHealth{} })
	fresh[0].finds(nil, "--hash")
	fresh[2].snapshot(exitDone, "; 0 blobs with", "restore", place) // again
	if !strings.Contains(first, snapshots[0]) {
		t.Errorf("the first snapshot is not %s: %s", snapshots[0], first)
	}
	fresh[0].snapshot(exitFailed, "the cluster is not empty", "restore", place+"/"+snapshots[0])
	fresh[0].snapshot(exitDone, "saved snapshot", "save", "--blobs", place)
	all.are(t, fresh[0].port)
}

// onlyTheirOwner sees to it that nobody else may read a backup: it has the hashes of API keys.
func onlyTheirOwner(t *testing.T, place string) {
	t.Helper()
	err := filepath.WalkDir(place, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := entry.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is %s, %v", name, info.Mode(), err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The state alone brings back everything but the bytes; a push, or a backup of the bytes, brings those.
func TestRestoreOfAStateAlone(t *testing.T) {
	t.Parallel()
	old := newThree(t)
	all := pushes{}
	all.image(t, old[0].port, "app", "v1", "a layer", "")
	file, place := filepath.Join(t.TempDir(), "state"), t.TempDir()
	old[0].snapshot(exitDone, "saved the state", "save", file)
	old[0].snapshot(exitDone, "2 blobs", "save", "--blobs", place)
	killAll(old)
	fresh := newThree(t)
	fresh[0].snapshot(exitFailed, "2 blobs are missing", "restore", file)
	code, _ := got(t, "http://127.0.0.1:"+fresh[1].port+"/v2/app/manifests/v1")
	if code != http.StatusOK {
		t.Errorf("the manifest: %d", code)
	}
	fresh[0].snapshot(exitFailed, "2 blobs are missing", "save", "--blobs", t.TempDir())
	fresh[0].snapshot(exitDone, "not saved", "save", "--blobs", t.TempDir(), "--allow-damaged")
	all.blob(t, fresh[1].port, "app", "a layer")
	state := filepath.Join(place, "snapshots", strings.Fields(fresh[0].snapshot(exitDone, "", "inspect", place))[0], stateName)
	if info, err := os.Stat(state); err != nil || info.Size() == 0 {
		t.Errorf("%v, %v", info, err)
	}
	killAll(fresh)
}

// What has rotted in a backup is found, named, and not restored; what its state has is restored all the same.
func TestRestoreOfABadBackup(t *testing.T) {
	t.Parallel()
	old := newThree(t)
	all := pushes{}
	all.image(t, old[0].port, "app", "v1", "a layer", "")
	place := t.TempDir()
	old[0].snapshot(exitDone, "2 blobs", "save", "--blobs", place)
	killAll(old)
	id := strings.Fields(old[0].snapshot(exitDone, "", "inspect", place))[0]
	fresh := newThree(t)

	state := filepath.Join(place, fileIn(id, stateName))
	flip(t, state, 5000)
	fresh[0].snapshot(exitFailed, "cannot be used", "inspect", place, "--verify")
	fresh[0].snapshot(exitFailed, "cannot be used", "restore", place)
	fresh[0].snapshot(exitFailed, "cannot be used", "restore", state)
	code, body := got(t, "http://127.0.0.1:"+fresh[0].port+"/v2/_catalog")
	if code != http.StatusOK || strings.Contains(body, "app") {
		t.Errorf("something was restored: %d %s", code, body)
	}
	flip(t, state, 5000)

	layer := filepath.Join(place, blobFile(digestOf([]byte("a layer"))))
	flip(t, layer, 3)
	config := filepath.Join(place, blobFile(digestOf([]byte("config of a layer"))))
	if err := os.Remove(config); err != nil {
		t.Fatal(err)
	}
	fresh[0].snapshot(exitFailed, "2 blobs are missing", "inspect", place, "--verify")
	out := fresh[0].snapshot(exitFailed, "2 blobs are missing", "restore", place+"/"+id)
	if !strings.Contains(out, "is damaged") || !strings.Contains(out, "is not in the backup") {
		t.Errorf("it says\n%s", out)
	}
	flip(t, layer, 3)
	put(t, config, "config of a layer")
	fresh[1].snapshot(exitDone, "2 blobs", "restore", place)
	all.are(t, fresh[2].port)
}

// flip changes a bit of a file.
func flip(t *testing.T, file string, at int) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	content[at] ^= 1
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// The leader dies in the middle of a restore, and a node with it that was the client's: it goes on at another one.
func TestRestoreWhileTheLeaderDies(t *testing.T) {
	t.Parallel()
	old := newThree(t)
	all := pushAll(t, old[0].port)
	place := t.TempDir()
	old[0].snapshot(exitDone, "saved", "save", "--blobs", place)
	killAll(old)
	fresh := newThree(t)
	leader, others := named(fresh, fresh[0].whole().Leader)
	from, err := openSource(t.Context(), place, placeFlags{})
	if err != nil {
		t.Fatal(err)
	}
	saved, err := from.state(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer saved.Close() //nolint:errcheck // a test's
	node, err := newSnapshotClient(leader.file)
	if err != nil {
		t.Fatal(err)
	}
	begin, err := saved.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fsm.Do(t.Context(), node, begin); err != nil {
		t.Fatal(err)
	}
	after := fsm.RestoreCursor{}
	for range 5 {
		next, _, err := saved.Next(after)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fsm.Do(t.Context(), node, next); err != nil {
			t.Fatal(err)
		}
		after = next.Through
	}
	leader.end(syscall.SIGKILL)
	sentTo := "http://127.0.0.1:" + others[0].port + "/v2/new/blobs/uploads/?digest=" + digestOf([]byte("x"))
	eventually(t, "another node leads", func() bool { return others[0].status().Leader != "" && others[0].status().Leader != leader.name })
	sent(t, http.MethodPost, sentTo, "x", http.StatusServiceUnavailable) // not before the state is there
	others[1].snapshot(exitDone, "; 13 blobs", "restore", place)
	sent(t, http.MethodPost, sentTo, "x", http.StatusCreated)
	all.are(t, others[0].port)
	leader.start()
	leader.ready("/readyz")
	all.are(t, leader.port)
	leader.finds(nil)
}

// held is a bucket that holds up the n-th request of a kind until the client that sent it is dead.
type held struct {
	url     string
	method  atomic.Value
	left    atomic.Int64
	reached chan struct{}
	closed  atomic.Value // of chan struct{}: closed when the client is dead
}

func newHeld(t *testing.T) *held {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("backups"); err != nil {
		t.Fatal(err)
	}
	bucket := gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server()
	g := &held{reached: make(chan struct{}, 100)}
	g.method.Store("")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == g.method.Load() && strings.Contains(r.URL.Path, "/blobs/") && g.left.Add(-1) <= 0 {
			g.reached <- struct{}{}
			<-g.closed.Load().(chan struct{}) // nothing else is stored
			return
		}
		bucket.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	g.url = server.URL
	return g
}

// run runs a command against the node with the bucket, in a process of its own.
func (g *held) run(t *testing.T, p *process, out *bytes.Buffer, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args = append(append([]string{"cluster", "snapshot"}, args...), "--endpoint", g.url)
	if args[2] != "inspect" {
		args = append(args, "--config", p.file)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), asZot+"=1", "AWS_ACCESS_KEY_ID=tester", "AWS_SECRET_ACCESS_KEY=secret-of-the-tester")
	cmd.Stdout, cmd.Stderr = out, out
	return cmd
}

// killed runs a command until its n-th request of a kind, and kills it there.
func (g *held) killed(t *testing.T, p *process, method string, n int64, args ...string) {
	t.Helper()
	var out bytes.Buffer
	dead := make(chan struct{})
	defer close(dead)
	g.closed.Store(dead)
	for len(g.reached) > 0 { // those who came beside the one before
		<-g.reached
	}
	g.left.Store(n)
	g.method.Store(method)
	cmd := g.run(t, p, &out, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // waited for below
	select {
	case <-g.reached:
	case err := <-ended:
		t.Fatalf("it ended before: %v\n%s", err, &out)
	case <-time.After(patience):
		t.Fatal("it does not come so far")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Fatal("it ended before it was killed")
	}
	g.method.Store("")
}

// ends runs a command to its end, and says what it said.
func (g *held) ends(t *testing.T, p *process, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := g.run(t, p, &out, args...).Run(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, &out)
	}
	return out.String()
}

// The client is killed while it saves to a bucket, and while it restores from there: each goes on.
func TestKilledSnapshotsGoOn(t *testing.T) {
	t.Parallel()
	old, g := newThree(t), newHeld(t)
	all := pushAll(t, old[0].port)
	const place = "s3://backups/of/zot"
	g.killed(t, old[0], http.MethodPut, 5, "save", "--blobs", place)
	if out := g.ends(t, old[0], "inspect", place, "--json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("half of a snapshot is taken for one: %s", out)
	}
	out := g.ends(t, old[1], "save", "--blobs", place)
	if strings.Contains(out, "; 0 blobs") || strings.Contains(out, "; 13 blobs") {
		t.Errorf("it did not go on: %s", out)
	}
	killAll(old)
	fresh := newThree(t)
	g.killed(t, fresh[0], http.MethodGet, 5, "restore", place)
	out = g.ends(t, fresh[1], "restore", place)
	if !strings.Contains(out, "had been restored before") || strings.Contains(out, "; 13 blobs") || strings.Contains(out, "; 0 blobs") {
		t.Errorf("it did not go on: %s", out)
	}
	all.are(t, fresh[2].port)
	fresh[0].finds(nil)
	if out := g.ends(t, fresh[0], "inspect", place, "--verify"); !strings.Contains(out, "was read and hashed") {
		t.Errorf("it says %s", out)
	}
}

func TestSplitPlace(t *testing.T) {
	t.Parallel()
	const id = "20260102T030405.678Z-0123abcd"
	for name, want := range map[string][]string{
		"/backups":                     {"/backups", ""},
		"/backups/":                    {"/backups", ""},
		"/backups/" + id:               {"/backups", id},
		"/backups/snapshots/" + id:     {"/backups", id},
		"s3://b/p/" + id + "/":         {"s3://b/p", id},
		"s3://b":                       {"s3://b", ""},
		"/backups/20260102T030405Z":    {"/backups/20260102T030405Z", ""},
		"/backups/snapshots/" + id[1:]: {"/backups/snapshots/" + id[1:], ""},
	} {
		if place, is := splitPlace(name); !slices.Equal([]string{place, is}, want) {
			t.Errorf("%s: %q, %q", name, place, is)
		}
	}
}

// newOne starts a new node, a cluster of its own, with stores of these sub-paths.
func newOne(t *testing.T, subPaths ...string) *process {
	t.Helper()
	p := &process{t: t, name: "zot", root: shortDir(t), port: freePorts(t, 1)[0], file: filepath.Join(t.TempDir(), "config.json")}
	all := map[string]any{}
	for _, path := range subPaths {
		all[path] = map[string]any{"rootDirectory": t.TempDir()}
	}
	content, err := json.Marshal(map[string]any{
		"storage": map[string]any{"rootDirectory": p.root, "subPaths": all}, "http": map[string]any{"port": p.port},
	})
	if err != nil {
		t.Fatal(err)
	}
	put(t, p.file, string(content))
	t.Cleanup(func() {
		if p.cmd != nil {
			p.end(syscall.SIGKILL)
		}
	})
	p.start()
	p.ready("/readyz?for=write")
	eventually(t, "its stores are set", func() bool {
		return strings.Count(p.out.String(), `"message":"numbers of a store set"`) >= 1+len(subPaths)
	})
	return p
}

// Two stores have the same blob: it is saved once, and restored into both. Both must be there.
func TestSnapshotOfTwoStores(t *testing.T) {
	t.Parallel()
	old, place, all := newOne(t, "/team"), t.TempDir(), pushes{}
	all.image(t, old.port, "team/app", "v1", "a layer", "")
	all.image(t, old.port, "other", "v1", "a layer", "")
	old.snapshot(exitDone, "2 blobs with", "save", "--blobs", place)
	old.end(syscall.SIGKILL)
	lacks := newOne(t)
	lacks.snapshot(exitFailed, "store unknown: /team", "restore", place)
	fresh := newOne(t, "/team")
	fresh.snapshot(exitDone, "; 4 blobs with", "restore", place)
	all.are(t, fresh.port)
	fresh.finds(nil, "--hash")
}
