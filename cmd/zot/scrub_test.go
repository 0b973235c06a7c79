package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// pushBlob pushes a blob and returns its digest.
func pushBlob(t *testing.T, at, repository, content string) string {
	t.Helper()
	d := digestOf([]byte(content))
	sent(t, http.MethodPost, at+"/v2/"+repository+"/blobs/uploads/?digest="+d, content, http.StatusCreated)
	return d
}

// pushImage pushes a manifest of blobs under a reference, after the blobs, and returns its digest.
func pushImage(t *testing.T, at, repository, reference string, blobs ...string) string {
	t.Helper()
	var layers []string
	for _, content := range blobs {
		layers = append(layers, fmt.Sprintf(`{"mediaType":"application/x","digest":%q,"size":%d}`, pushBlob(t, at, repository, content), len(content)))
	}
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":%s,"layers":[%s]}`, layers[0], strings.Join(layers[1:], ","))
	if reference == "" {
		reference = digestOf([]byte(manifest))
	}
	sent(t, http.MethodPut, at+"/v2/"+repository+"/manifests/"+reference, manifest, http.StatusCreated)
	return digestOf([]byte(manifest))
}

// copyWith is the file of the copy with this content below a root directory.
func copyWith(t *testing.T, root, content string) string {
	t.Helper()
	for _, file := range copiesIn(t, root) {
		if b, err := os.ReadFile(file); err == nil && string(b) == content {
			return file
		}
	}
	t.Fatalf("no copy of %.20q...", content)
	return ""
}

// rows are the lines of a table with single spaces.
func rows(table string) []string {
	return strings.Split(regexp.MustCompile(` +`).ReplaceAllString(strings.TrimSpace(table), " "), "\n")
}

func TestScrubOffline(t *testing.T) {
	t.Parallel()
	root, port := shortDir(t), freePorts(t, 1)[0]
	file := configIn(t, root, fmt.Sprintf(`, "http": {"port": %q}`, port))
	if got := call("scrub", file); got.code != exitFailed || !strings.Contains(got.stderr, "there is no node in "+root) {
		t.Errorf("before there is a node: %+v", got)
	}
	stop := started(t, file)
	at, large := "http://127.0.0.1:"+port, strings.Repeat("a large layer ", 50_000)
	untagged := pushImage(t, at, "team/app", "", "config", "another layer")
	pushImage(t, at, "team/app", "v1", "config", large)
	pushImage(t, at, "team/app", "v2", "config", "small")
	pushImage(t, at, "app", "v1", "config", "small", large)
	pushBlob(t, at, "app", "nobody's")
	if got := call("scrub", file); got.code != exitFailed || !strings.Contains(got.stderr, "a server answers on 127.0.0.1:"+port) {
		t.Errorf("while it runs: %+v", got)
	}
	eventually(t, "what was pushed twice is there once", func() bool { return len(copiesIn(t, root)) == 5 })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	want := []string{"IMAGE NAME TAG STATUS ERROR", "app v1 ok", "team/app v1 ok", "team/app v2 ok", "team/app " + untagged + " ok"}
	got := call("scrub", file)
	if have := rows(got.stdout); got.code != exitDone || strings.Join(have, "\n") != strings.Join(want, "\n") {
		t.Errorf("%d\n%s%s", got.code, got.stdout, got.stderr)
	}
	if got.stderr != "blobs: 5 hashed, 0 bad; 0 on other nodes alone, not looked at\n" {
		t.Errorf("said %s", got.stderr)
	}

	cut, gone, lone := copyWith(t, root, large), copyWith(t, root, "another layer"), copyWith(t, root, "nobody's")
	err := errors.Join(os.Chmod(cut, 0o600), os.Truncate(cut, 1000), os.Remove(gone), os.Chmod(lone, 0o600), os.WriteFile(lone, []byte("somebody"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	got = call("scrub", file)
	have := rows(got.stdout)
	if got.code != exitFailed || len(have) != 5 || have[3] != "team/app v2 ok" {
		t.Fatalf("%d\n%s%s", got.code, got.stdout, got.stderr)
	}
	for row, want := range map[int]string{
		1: "app v1 affected blob " + digestOf([]byte(large)) + ":", 2: "team/app v1 affected blob " + digestOf([]byte(large)) + ":",
		4: "team/app " + untagged + " affected blob " + digestOf([]byte("another layer")) + ":",
	} {
		if !strings.HasPrefix(have[row], want) {
			t.Errorf("row %d is %s, want %s", row, have[row], want)
		}
	}
	if !strings.Contains(got.stderr, "affected images: 3, bad blobs: 3") {
		t.Errorf("said %s", got.stderr)
	}
	if err := os.Remove(filepath.Join(root, "marker")); err != nil {
		t.Fatal(err)
	}
	if got := call("scrub", file); got.code != exitFailed || !strings.Contains(got.stderr, "marker") {
		t.Errorf("a store that is not there: %+v", got)
	}
}

// What lies on other nodes alone is counted, and not affected.
func TestScrubOfflineOfANodeOfThree(t *testing.T) {
	t.Parallel()
	ports, dir := freePorts(t, 6), shortDir(t)
	secret := filepath.Join(dir, "secret")
	put(t, secret, strings.Repeat("secret", 8))
	files, stops := make([]string, 3), make([]func() error, 3)
	var starting sync.WaitGroup
	for n := range files {
		files[n] = configIn(t, filepath.Join(dir, fmt.Sprint(n)), fmt.Sprintf(`, "http": {"port": %q}, "cluster": {"node": "n%d", "replicas": 1, "listen": "127.0.0.1:%s", `+
			`"advertise": "127.0.0.1:%s", "members": ["127.0.0.1:%s", "127.0.0.1:%s", "127.0.0.1:%s"], "secretFile": %q}`,
			ports[n], n, ports[3+n], ports[3+n], ports[3], ports[4], ports[5], secret))
		starting.Go(func() { stops[n] = started(t, files[n]) })
	}
	starting.Wait()
	at := "http://127.0.0.1:" + ports[1]
	for i := range 4 {
		pushImage(t, at, "team/app", fmt.Sprint("v", i), fmt.Sprint("config ", i), fmt.Sprint("layer ", i))
	}
	pushImage(t, "http://127.0.0.1:"+ports[0], "team/app", "here", "config of this node")
	if err := stops[0](); err != nil {
		t.Fatal(err)
	}
	got := call("scrub", files[0])
	if want := "blobs: 1 hashed, 0 bad; 8 on other nodes alone"; got.code != exitDone || !strings.HasPrefix(got.stderr, want) || len(rows(got.stdout)) != 6 {
		t.Errorf("%+v", got)
	}
	rot := copyWith(t, filepath.Join(dir, "0"), "config of this node")
	if err := errors.Join(os.Chmod(rot, 0o600), os.WriteFile(rot, []byte("rotten"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if got := call("scrub", files[0]); got.code != exitFailed || strings.Count(got.stdout, "affected") != 1 {
		t.Errorf("%+v", got)
	}
}
