package api_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/blobstore"
)

// elsewhere has the bytes of blobs, or does not.
type elsewhere struct {
	asked blobstore.Blob
	err   error
}

func (e *elsewhere) Redirect(_ context.Context, b blobstore.Blob, lifetime time.Duration) (string, error) {
	e.asked = b
	if lifetime < time.Minute {
		return "", errors.New("nobody is so quick")
	}
	return "https://bucket.example/key?signature=s", e.err
}

// A GET of a blob is sent elsewhere, if that has it; a HEAD, a condition that holds and a blob that may not be seen are
// answered here.
func TestRedirect(t *testing.T) {
	t.Parallel()
	w, e := newWorld(t), &elsewhere{}
	config := api.DefaultConfig()
	config.UploadKeys = [][]byte{[]byte("a key of tests, long enough")}
	registry, err := api.New(config, api.Deps{Proposer: w.proposer, Consistency: w.consistency, State: w.state, Stores: only(w.blobs, e)})
	if err != nil {
		t.Fatal(err)
	}
	w.Registry = registry
	d := w.push("a/b", "layer")
	get := call{method: http.MethodGet, path: "/v2/a/b/blobs/" + d}
	r := w.must(http.StatusTemporaryRedirect, get)
	if to := r.Header().Get("Location"); to != "https://bucket.example/key?signature=s" || r.Body.Len() > 0 {
		t.Errorf("sent to %q with %q", to, r.Body)
	}
	if r.Header().Get("Docker-Content-Digest") != d || e.asked.Digest.String() != d || len(e.asked.Locations) != 1 {
		t.Errorf("the redirection of %s is that of %+v: %v", d, e.asked, r.Header())
	}
	e.asked = blobstore.Blob{}
	w.must(http.StatusOK, call{method: http.MethodHead, path: get.path})
	w.must(http.StatusNotFound, call{method: http.MethodGet, path: "/v2/c/d/blobs/" + d})
	w.must(http.StatusNotModified, call{method: http.MethodGet, path: get.path, header: []string{`If-None-Match: "` + d + `"`}})
	if e.asked.Digest != "" {
		t.Errorf("somebody was sent elsewhere for %s", e.asked.Digest)
	}
	if r := send(t, registry.Operator(), get); r.Code != http.StatusOK || r.Body.String() != "layer" {
		t.Errorf("the operator is sent elsewhere: %d %q", r.Code, r.Body)
	}
	e.err = errors.New("no such key")
	if r := w.must(http.StatusOK, get); r.Body.String() != "layer" || r.Header().Get("Location") != "" {
		t.Errorf("%q came from here, %v", r.Body, r.Header())
	}
}
