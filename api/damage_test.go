package api_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

// rotten is a stream whose first bytes are bad, which is found when they are read.
type rotten struct{ blobstore.Reader }

func (rotten) Close() error { return nil }

func (rotten) Read([]byte) (int, error) { return 0, damage() }

func (rotten) WriteTo(io.Writer) (int64, error) { return 0, damage() }

func damage() error {
	return fmt.Errorf("open copy: %w", &blobstore.DamageError{Copy: blobstore.CopyID{7}, Cause: io.ErrUnexpectedEOF})
}

// A blob of which no good copy answers is said to be damaged, and how it is healed, not that this registry is at
// fault; whole, by range and as a manifest.
func TestDamageIsSaidSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	blob := "/v2/a/b/blobs/" + w.push("a/b", "layer")
	large := "/v2/a/b/manifests/" + w.pushImage("", `,"annotations":{"large":"`+strings.Repeat("x", 60<<10)+`"}`)
	for name, open := range map[string]func(context.Context, blobstore.Blob) (blobstore.Reader, error){
		"when it is opened": func(context.Context, blobstore.Blob) (blobstore.Reader, error) { return nil, damage() },
		"when it is read":   func(context.Context, blobstore.Blob) (blobstore.Reader, error) { return rotten{}, nil },
	} {
		w.over(open)
		for what, get := range map[string]call{
			"whole": {method: http.MethodGet, path: blob}, "a range": {method: http.MethodGet, path: blob, header: []string{"Range: bytes=1-2"}},
			"a manifest": {method: http.MethodGet, path: large},
		} {
			answer := w.do(get)
			isUnavailable(t, answer)
			if text := answer.Body.String(); !strings.Contains(text, "damaged") || !strings.Contains(text, "push it again") || strings.Contains(text, "07000") {
				t.Errorf("%s, %s: %s", what, name, text)
			}
			for _, header := range []string{"Content-Range", "ETag", "Docker-Content-Digest"} {
				if answer.Header().Get(header) != "" {
					t.Errorf("%s, %s: %v", what, name, answer.Header())
				}
			}
		}
	}
}

// forgetful is a store that forgets what it has finished, among many others, before it is published.
type forgetful struct {
	blobstore.Store
	forgets, finished atomic.Int64
}

func (s *forgetful) Finish(ctx context.Context, id blobstore.UploadID, d digest.Digest) (int64, error) {
	s.finished.Add(1)
	return s.Store.Finish(ctx, id, d)
}

func (s *forgetful) Publish(ctx context.Context, id blobstore.UploadID) ([]blobstore.Location, error) {
	if s.forgets.Add(-1) >= 0 {
		return nil, fmt.Errorf("publish: %w", blobstore.ErrUploadNotFinished)
	}
	return s.Store.Publish(ctx, id)
}

// An upload that the store has forgotten to have finished is finished once more, a manifest's body too.
func TestFinishIsForgotten(t *testing.T) {
	t.Parallel()
	c := join(t)
	store := &forgetful{Store: c.nodes[0].store}
	c.nodes[0].store = store
	c.nodes[0].restart()
	store.forgets.Store(1)
	c.nodes[0].push("config")
	if n := store.finished.Load(); n != 2 {
		t.Errorf("it was finished %d times", n)
	}
	c.expectBlob("config")
	body := image(digest.FromString("config").String(), `,"annotations":{"large":"`+strings.Repeat("x", 60<<10)+`"}`)
	put := call{method: http.MethodPut, path: "/v2/a/b/manifests/v1", header: []string{"Content-Type: " + typeImage}, body: body}
	store.forgets.Store(1)
	c.nodes[0].must(http.StatusCreated, put)

	at := c.nodes[0].begin()
	store.forgets.Store(2)
	again := call{method: http.MethodPut, path: withDigest(at, "layer"), body: "layer"}
	isUnavailable(t, c.nodes[0].do(again))
	c.nodes[0].must(http.StatusCreated, again)
	c.expectBlob("layer")
}
