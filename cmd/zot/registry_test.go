package main

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
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

// A node that has others does not take blobs, for it could not keep what a 201 promises.
func TestNoRegistryBesideOthers(t *testing.T) {
	t.Parallel()
	ports := freePorts(t, 2)
	file := configIn(t, shortDir(t), fmt.Sprintf(`, "http": {"port": %q}, "cluster": {"listen": "127.0.0.1:%s", "advertise": "127.0.0.1:%s"}`, ports[0], ports[1], ports[1]))
	stop := started(t, file)
	if code, body := answers(t.Context(), ports[0], "/v2/"); code != http.StatusNotFound {
		t.Errorf("%d %s", code, body)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// sent sends a body and returns the Location of the answer, which must have this status.
func sent(t *testing.T, method, url, body string, status int) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	once := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := once.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // it is not read
	if response.StatusCode != status {
		t.Fatalf("%s %s: %s, want %d", method, url, response.Status, status)
	}
	return response.Header.Get("Location")
}
