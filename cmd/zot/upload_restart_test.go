package main

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// An upload whose owner is killed and comes back goes on, through another node, behind the bytes that the owner has
// acknowledged. What is not worth a record on the disk is unknown, at every node, and its client begins anew.
func TestUploadOutlivesItsOwner(t *testing.T) {
	t.Parallel()
	nodes := threeNodes(t)
	restart(nodes)
	url := func(n int) string { return "http://127.0.0.1:" + nodes[n].port }
	large := strings.Repeat("x", 1<<20) + "lay"
	begin := func(text string) string {
		at := sent(t, http.MethodPost, url(1)+"/v2/team/app/blobs/uploads/", "", http.StatusAccepted)
		return sent(t, http.MethodPatch, url(0)+at, text, http.StatusAccepted)
	}
	begun, small := begin(large), begin("lay")

	nodes[0].end(syscall.SIGKILL)
	for _, p := range nodes[1:] {
		p.ready("/readyz?for=write")
	}
	for _, at := range []string{begun, small} { // it may come back, so nobody says that it is gone
		sent(t, http.MethodGet, url(1)+at, "", http.StatusServiceUnavailable)
	}
	restart(nodes[:1])

	status := wish{method: http.MethodGet, url: url(1) + begun}.must(t, http.StatusNoContent).header
	if have, want := status.Get("Range"), fmt.Sprintf("0-%d", len(large)-1); have != want {
		t.Errorf("Range %q, want %q", have, want)
	}
	layer := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(large+"er")))
	sent(t, http.MethodPut, url(2)+status.Get("Location")+"?digest="+layer, "er", http.StatusCreated)
	for n, p := range nodes {
		if code, body := got(t, url(n)+"/v2/team/app/blobs/"+layer); code != http.StatusOK || body != large+"er" {
			t.Errorf("%s: %d, %d bytes", p.name, code, len(body))
		}
		if code, body := got(t, url(n)+small); code != http.StatusNotFound || !strings.Contains(body, "BLOB_UPLOAD_UNKNOWN") {
			t.Errorf("node %d knows the small upload: %d %s", n, code, body)
		}
	}
}
