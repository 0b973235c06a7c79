package main

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// What was pushed is there after a restart, and an upload that was begun goes on.
func TestRegistryOfOneNode(t *testing.T) {
	t.Parallel()
	port := freePorts(t, 1)[0]
	file := configIn(t, shortDir(t), fmt.Sprintf(`, "http": {"port": %q}`, port))
	stop := started(t, file)
	at := "http://127.0.0.1:" + port
	layer := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("layer")))
	sent(t, http.MethodPost, at+"/v2/team/app/blobs/uploads/?digest="+layer, "layer", http.StatusCreated)
	manifest := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",` +
		`"config":{"mediaType":"application/x","digest":"` + layer + `","size":5},"layers":[]}`
	sent(t, http.MethodPut, at+"/v2/team/app/manifests/1", manifest, http.StatusCreated)
	begun := sent(t, http.MethodPost, at+"/v2/team/app/blobs/uploads/", "", http.StatusAccepted)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	stop = started(t, file)
	for path, want := range map[string]string{"/v2/team/app/manifests/1": manifest, "/v2/team/app/blobs/" + layer: "layer"} {
		if code, body := answers(t.Context(), port, path); code != http.StatusOK || body != want {
			t.Errorf("%s: %d %q, want %q", path, code, body, want)
		}
	}
	other := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("other")))
	sent(t, http.MethodPut, at+begun+"?digest="+other, "other", http.StatusCreated)
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// What was pushed to one node is there on each, at once, and an upload goes on at any.
func TestRegistryOfThreeNodes(t *testing.T) {
	t.Parallel()
	at, _, stop, _ := threeWith(t, "")
	layer := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("layer")))
	begun := sent(t, http.MethodPost, at[0]+"/v2/team/app/blobs/uploads/", "", http.StatusAccepted)
	begun = sent(t, http.MethodPatch, at[1]+begun, "lay", http.StatusAccepted)
	sent(t, http.MethodPut, at[2]+begun+"?digest="+layer, "er", http.StatusCreated)
	manifest := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",` +
		`"config":{"mediaType":"application/x","digest":"` + layer + `","size":5},"layers":[]}`
	for round := range 6 {
		tag := fmt.Sprintf("/v2/team/app/manifests/%d", round)
		sent(t, http.MethodPut, at[round%3]+tag, manifest, http.StatusCreated)
		for _, node := range at {
			for path, want := range map[string]string{tag: manifest, "/v2/team/app/blobs/" + layer: "layer"} {
				if code, body := got(t, node+path); code != http.StatusOK || body != want {
					t.Errorf("%s%s: %d %q, want %q", node, path, code, body, want)
				}
			}
		}
		sent(t, http.MethodDelete, at[(round+1)%3]+tag, "", http.StatusAccepted)
		for _, node := range at {
			if code, body := got(t, node+tag); code != http.StatusNotFound {
				t.Errorf("%s%s was deleted: %d %q", node, tag, code, body)
			}
		}
	}
	stop(0)
	other := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("other")))
	sent(t, http.MethodPost, at[1]+"/v2/team/app/blobs/uploads/?digest="+other, "other", http.StatusCreated)
	if code, body := got(t, at[2]+"/v2/team/app/blobs/"+other); code != http.StatusOK || body != "other" {
		t.Errorf("with two of three: %d %q", code, body)
	}
}

// threeWith runs three nodes in this process, with more in the section "http" of each, and returns where they serve, their root
// directories, what stops one, and what starts it again.
func threeWith(t *testing.T, more string) (at, roots []string, stop, start func(n int)) {
	t.Helper()
	all := threeLike(t, more, "", "")
	return all.at, all.roots, all.stop, all.start
}

// trio is three nodes in this process.
type trio struct {
	at, roots, files []string // where they serve, their directories and configurations
	secret           string   // the file of what they share

	stop, start func(n int)
}

// threeLike runs three nodes with more in their sections "http" and "cluster", and beside these.
func threeLike(t *testing.T, http, cluster, beside string) *trio {
	t.Helper()
	ports, dir := freePorts(t, 6), shortDir(t)
	all := &trio{secret: filepath.Join(dir, "secret"), files: make([]string, 3)}
	put(t, all.secret, strings.Repeat("secret", 8))
	members := fmt.Sprintf(`["127.0.0.1:%s", "127.0.0.1:%s", "127.0.0.1:%s"]`, ports[3], ports[4], ports[5])
	stops := make([]func() error, 3)
	all.start = func(n int) { stops[n] = started(t, all.files[n]) }
	all.stop = func(n int) {
		if err := stops[n](); err != nil {
			t.Error(err)
		}
	}
	var starting sync.WaitGroup
	for n := range 3 {
		root := filepath.Join(dir, strconv.Itoa(n))
		all.files[n] = configIn(t, root, fmt.Sprintf(`, "http": {"port": %q%s}, "cluster": {"name": "three", "node": "n%d", "listen": "127.0.0.1:%s", `+
			`"advertise": "127.0.0.1:%s", "members": %s, "secretFile": %q%s}%s`, ports[n], http, n, ports[3+n], ports[3+n], members, all.secret, cluster, beside))
		all.at, all.roots = append(all.at, "http://127.0.0.1:"+ports[n]), append(all.roots, root)
		starting.Go(func() { all.start(n) })
	}
	starting.Wait()
	return all
}

// got asks for a URL, once there is a quorum.
func got(t *testing.T, url string) (int, string) {
	t.Helper()
	answer := wish{method: http.MethodGet, url: url}.settled(t)
	return answer.status, answer.body
}

// sent sends a body and returns the Location of the answer, which must have this status, once there is a quorum.
func sent(t *testing.T, method, url, body string, status int) string {
	t.Helper()
	return wish{method: method, url: url, body: body}.must(t, status).header.Get("Location")
}

// A node that takes the place of one whose disk was lost gets copies of what was there.
func TestRepairAfterALostDisk(t *testing.T) {
	t.Parallel()
	all := threeLike(t, "", "", "")
	at := all.at
	layer := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("layer")))
	sent(t, http.MethodPost, at[0]+"/v2/team/app/blobs/uploads/?digest="+layer, "layer", http.StatusCreated)
	all.stop(2)
	if err := os.RemoveAll(all.roots[2]); err != nil {
		t.Fatal(err)
	}
	all.start(2)
	eventually(t, "the node knows that it has a copy", func() bool {
		return slices.ContainsFunc(asked(t, all.files[2]).Members, func(m memberStatus) bool { return m.Name == "n2" && m.State == "member" && m.Held.Copies == 1 })
	})
	all.stop(0)
	all.stop(1)
	if body := (wish{method: http.MethodGet, url: at[2] + "/v2/team/app/blobs/" + layer}).must(t, http.StatusOK).body; body != "layer" {
		t.Errorf("%q", body)
	}
}
