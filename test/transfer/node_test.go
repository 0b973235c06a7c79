package transfer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

func inode(path string) (uint64, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	return info.Sys().(*syscall.Stat_t).Ino, nil //nolint:forcetypeassert // it is one, on Linux
}

// get asks a registry for something.
func get(t *testing.T, url string) (status int, header http.Header, body []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	must(t, err)
	r.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "+dockerManifest)
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	body, err = io.ReadAll(response.Body)
	must(t, errors.Join(err, response.Body.Close()))
	return response.StatusCode, response.Header, body
}

// tagsOf is every tag of a registry with what it names.
func tagsOf(t *testing.T, n *harness.Node) map[string]digest.Digest {
	t.Helper()
	all := map[string]digest.Digest{}
	var catalog struct{ Repositories []string }
	_, _, body := get(t, n.URL("/v2/_catalog?n=10000"))
	must(t, json.Unmarshal(body, &catalog))
	for _, repository := range catalog.Repositories {
		var list struct{ Tags []string }
		_, _, body := get(t, n.URL("/v2/"+repository+"/tags/list?n=10000"))
		must(t, json.Unmarshal(body, &list))
		for _, tag := range list.Tags {
			_, header, _ := get(t, n.URL("/v2/"+repository+"/manifests/"+tag))
			all[repository+":"+tag] = digest.Digest(header.Get("Docker-Content-Digest"))
		}
	}
	return all
}

// sameTags fails the test unless a node has exactly these tags.
func sameTags(t *testing.T, n *harness.Node, want map[string]digest.Digest) {
	t.Helper()
	have := tagsOf(t, n)
	for tag, d := range want {
		if have[tag] != d {
			t.Errorf("%s names %q, want %s", tag, have[tag], d)
		}
	}
	if len(have) != len(want) {
		t.Errorf("%d tags, want %d", len(have), len(want))
	}
}

// sameBlobs fails the test unless the node serves the bytes of each file that a zot had, in its repository.
func sameBlobs(t *testing.T, n *harness.Node, z *zot, repository string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(z.dir, repository, "blobs", "*", "*"))
	must(t, err)
	if len(files) == 0 {
		t.Fatalf("no blobs of %s", repository)
	}
	for _, file := range files {
		want, err := os.ReadFile(file)
		must(t, err)
		d := digest.NewDigestFromEncoded(digest.Algorithm(filepath.Base(filepath.Dir(file))), filepath.Base(file))
		for _, kind := range []string{"blobs", "manifests"} {
			status, _, have := get(t, n.URL("/v2/"+repository+"/"+kind+"/"+d.String()))
			if status == http.StatusOK && string(have) == string(want) {
				want = nil
				break
			}
		}
		if want != nil {
			t.Errorf("%s: %s is not served as it was", repository, d)
		}
	}
}

// counts are the numbers of a summary.
type counts struct {
	manifests, tags, blobs, linked, manifestsThere, tagsThere, blobsThere int
}

// summaryOf reads what an import or export says in the end.
func summaryOf(t *testing.T, out string) (c counts) {
	t.Helper()
	for pattern, into := range map[string][]*int{
		`taken: (\d+) manifests and (\d+) tags of \d+ repositories; (\d+) blobs`: {&c.manifests, &c.tags, &c.blobs},
		`there already: (\d+) manifests, (\d+) tags, (\d+) blobs`:                {&c.manifestsThere, &c.tagsThere, &c.blobsThere},
		`, (\d+) linked with`: {&c.linked},
	} {
		found := regexp.MustCompile(pattern).FindStringSubmatch(out)
		for i := range found[min(1, len(found)):] {
			n, err := strconv.Atoi(found[i+1])
			must(t, err)
			*into[i] = n
		}
	}
	return c
}

// taken runs a command of a node that must do all that it is asked for.
func taken(t *testing.T, n *harness.Node, arguments ...string) counts {
	t.Helper()
	out, err := n.Zot(t, arguments...)
	must(t, err)
	t.Log(out)
	return summaryOf(t, out)
}

// refusedBy runs a command that must fail, and say all of some words.
func refusedBy(t *testing.T, n *harness.Node, words []string, arguments ...string) string {
	t.Helper()
	out, err := n.Zot(t, arguments...)
	if err == nil {
		t.Fatalf("%v is done: %s", arguments, out)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) && !strings.Contains(out, word) {
			t.Errorf("%v: %q is not in %v\n%s", arguments, word, err, out)
		}
	}
	return out
}

// hashed waits until no node has a copy that nobody has hashed, and all have as many copies.
func hashed(t *testing.T, copies int, nodes ...*harness.Node) {
	t.Helper()
	harness.Until(t, "all copies are there and hashed", func(context.Context) error {
		for _, n := range nodes {
			files, unsummed := 0, 0
			for _, name := range copyFiles(t, n) {
				switch filepath.Ext(name) {
				case "":
					files++
				case ".unsummed":
					unsummed++
				}
			}
			if unsummed > 0 || files < copies {
				return fmt.Errorf("%s has %d of %d copies, of which %d are not hashed", n.Name, files, copies, unsummed)
			}
		}
		return nil
	})
}

// copyFiles are the files of a node's copies.
func copyFiles(t *testing.T, n *harness.Node) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(n.Root, "copies", "*", "*"))
	must(t, err)
	return files
}

// killedAfter runs a command of a node until it has put so many manifests, and kills it there: the next ones are held up on
// their way.
func killedAfter(t *testing.T, n *harness.Node, manifests int64, arguments ...string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "zot-kill-") //nolint:usetesting // a socket in it needs a short path
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(dir, "admin.sock")})
	must(t, err)
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "zot"}) },
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(n.Root, "admin.sock"))
		}},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	var puts atomic.Int64
	reached, killed := make(chan struct{}), make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
			if after := puts.Add(1) - manifests; after > 0 {
				if after == 1 {
					close(reached)
				}
				<-killed
				return
			}
		}
		forward.ServeHTTP(w, r)
	}))
	must(t, server.Listener.Close())
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	file := filepath.Join(dir, "config.json")
	harness.WriteConfig(t, file, dir, "127.0.0.1:1", nil)
	cmd := exec.CommandContext(t.Context(), os.Getenv("ZOT"), append(arguments, "--config", file)...)
	must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // waited for below
	select {
	case <-reached:
	case err := <-ended:
		t.Fatalf("%v ended before %d manifests were put: %v", arguments, manifests, err)
	}
	must(t, cmd.Process.Kill())
	if err := <-ended; err == nil {
		t.Errorf("%v was done before it was killed", arguments)
	}
	close(killed)
}
