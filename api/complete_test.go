package api_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

// scarce is a store that takes bytes, and does not bring them to enough nodes while it is told so.
type scarce struct {
	blobstore.Store
	fault atomic.Pointer[error]
}

func (s *scarce) Finish(ctx context.Context, id blobstore.UploadID, d digest.Digest) (int64, error) {
	if err := s.fault.Load(); err != nil {
		return 0, *err
	}
	return s.Store.Finish(ctx, id, d)
}

// A PUT whose body was taken, or a part of it, and that failed, is repeated with its body, and succeeds: whatever
// the node still knows of the first.
func TestPutComesTwiceWithItsBody(t *testing.T) {
	t.Parallel()
	const first, second = "first ", "second"
	for name, test := range map[string]struct {
		fault   error  // of the first PUT
		breaks  string // its body, if that breaks off
		ranges  string // Content-Range of both
		restart bool   // between them
		chunk   string // what is sent before them
		status  int    // of the second
	}{
		"too few copies":                {fault: blobstore.ErrTooFewCopies, status: 201},
		"no space":                      {fault: blobstore.ErrNoSpace, status: 201},
		"behind a chunk":                {fault: blobstore.ErrTooFewCopies, chunk: first, status: 201},
		"after a restart":               {fault: blobstore.ErrTooFewCopies, restart: true, status: 201},
		"behind a chunk and a restart":  {fault: blobstore.ErrTooFewCopies, chunk: first, restart: true, status: 201},
		"with a range":                  {fault: blobstore.ErrTooFewCopies, chunk: first, ranges: "6-11", status: 201},
		"with a range, after a restart": {fault: blobstore.ErrTooFewCopies, chunk: first, ranges: "6-11", restart: true, status: 201},
		"broken off":                    {breaks: "sec", status: 201},
		"broken off at once":            {breaks: "", status: 201},
		"broken off behind a chunk":     {breaks: "sec", chunk: first, status: 201},
		"with a range, broken off":      {breaks: "sec", chunk: first, ranges: "6-11", status: 416}, // and goes on where the answer says
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stores []*scarce
			c := join(t, func(n *node) {
				s := &scarce{Store: n.store}
				n.store, stores = s, append(stores, s)
			}).serve()
			at := c.nodes[0].begin()
			if test.chunk != "" {
				at = c.nodes[0].must(http.StatusAccepted, call{method: http.MethodPatch, path: at, body: test.chunk}).Header().Get("Location")
			}
			put := call{method: http.MethodPut, path: withDigest(at, test.chunk+second), header: []string{"Content-Range: " + test.ranges}, body: second}
			if test.fault != nil {
				stores[0].fault.Store(&test.fault)
				refusal := http.StatusServiceUnavailable
				if errors.Is(test.fault, blobstore.ErrNoSpace) {
					refusal = http.StatusInsufficientStorage
				}
				comesAgain(t, c.nodes[0].do(put), refusal)
				comesAgain(t, c.nodes[0].do(put), refusal)
				stores[0].fault.Store(nil)
			} else if code := breakOff(t, c.nodes[0], put, test.breaks); code != http.StatusBadRequest {
				t.Fatalf("status %d of a body that broke off", code)
			}
			if test.restart {
				c.nodes[0].restart()
			}
			owner := c.nodes[0]
			if test.chunk != "" {
				owner = c.nodes[1] // the Location leads to the owner
			}
			answer := owner.must(test.status, put)
			if test.status == http.StatusRequestedRangeNotSatisfiable {
				put.path, put.header, put.body = withDigest(answer.Header().Get("Location"), test.chunk+second), nil, second[3:]
				owner.must(http.StatusCreated, put)
			}
			c.expectBlob(test.chunk + second)
		})
	}
}

// breakOff sends a request whose body breaks off after some text, and returns the status.
func breakOff(t *testing.T, h http.Handler, c call, text string) int {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, io.MultiReader(strings.NewReader(text), iotest.ErrReader(io.ErrUnexpectedEOF)))
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, r)
	return answer.Code
}

// A client that goes by the Location of its POST, although it was given newer ones, can finish its upload.
func TestPutWithAnOldLocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := w.begin()
	w.must(http.StatusAccepted, call{method: http.MethodPatch, path: at, body: "abc"})
	w.must(http.StatusAccepted, call{method: http.MethodPatch, path: at, body: "def"})
	w.must(http.StatusCreated, call{method: http.MethodPut, path: withDigest(at, "abcdefghi"), body: "ghi"})
	w.expectBlob("abcdefghi")
}

// A body that is shorter than what was taken of it is another one; the upload is not spoilt by it.
func TestPutComesTwiceWithAnotherBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put := call{method: http.MethodPut, path: withDigest(w.begin(), "abcdef")}
	if code := w.sendBroken(put.method, put.path, "abcd"); code != http.StatusBadRequest {
		t.Fatalf("status %d", code)
	}
	put.body = "ab"
	w.must(http.StatusBadRequest, put)
	put.body = "abcdef"
	w.must(http.StatusCreated, put)
	w.expectBlob("abcdef")
}

// What a power cut took of an upload is not passed over: the client is told where the upload is.
func TestUploadIsShorterThanItsLocation(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]call{
		"chunk":              {method: "PATCH", body: "def"},
		"put with a body":    {method: "PUT", body: "def"},
		"put without a body": {method: "PUT"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			answer := w.must(http.StatusAccepted, call{method: http.MethodPatch, path: w.begin(), body: "abc"})
			id, err := blobstore.ParseUploadID(answer.Header().Get("Docker-Upload-Uuid"))
			if err != nil {
				t.Fatal(err)
			}
			w.forgetUploads()
			if err := w.blobs.CreateUpload(t.Context(), id, digest.SHA256, 0); err != nil {
				t.Fatal(err)
			}
			if _, err := w.blobs.Append(t.Context(), id, 0, strings.NewReader("a"), 0); err != nil {
				t.Fatal(err)
			}
			one.path = withDigest(answer.Header().Get("Location"), "abcdef")
			answer = w.must(http.StatusRequestedRangeNotSatisfiable, one)
			if have := answer.Header().Get("Range"); have != "0-0" {
				t.Errorf("Range %q", have)
			}
			w.must(http.StatusCreated, call{method: http.MethodPut, path: withDigest(answer.Header().Get("Location"), "abcdef"), body: "bcdef"})
			w.expectBlob("abcdef")
		})
	}
}

// A blob that came whole and could not be stored leaves nothing behind: its client has no Location to come back to.
func TestWholeBlobThatFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(http.StatusBadRequest, call{method: http.MethodPost, path: "/v2/a/b/blobs/uploads/?digest=" + absent, body: "x"})
	for u, err := range w.blobs.Uploads(t.Context(), blobstore.UploadID{}) {
		t.Errorf("upload %s is left, with %d bytes, %v", u.ID, u.Offset, err)
	}
}
