package api_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/fsm"
)

// begin starts an upload to a/b and returns its Location.
func (w *world) begin() string {
	w.t.Helper()
	return w.must(http.StatusAccepted, call{method: http.MethodPost, path: "/v2/a/b/blobs/uploads/"}).Header().Get("Location")
}

// expectBlob fails the test unless a/b shows a blob of this text.
func (w *world) expectBlob(text string) {
	w.t.Helper()
	answer := w.do(call{method: http.MethodGet, path: "/v2/a/b/blobs/" + digest.FromString(text).String()})
	if answer.Code != http.StatusOK || answer.Body.String() != text {
		w.t.Errorf("a/b has no blob %q: %d", text, answer.Code)
	}
}

func TestUploadInChunks(t *testing.T) {
	t.Parallel()
	for name, ranges := range map[string][3]string{
		"with Content-Range":     {"0-2", "3-5", "6-8"},
		"as HTTP has it":         {"bytes 0-2/9", "bytes 3-5/*", "bytes 6-8/9"},
		"with another unit":      {"bytes=0-2", "bytes=3-5/9", "bytes=6-8/*"},
		"without Content-Range":  {"", "", ""},
		"with it for some chunk": {"", "3-5", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			at := w.begin()
			for i, chunk := range []string{"abc", "def"} {
				answer := w.must(http.StatusAccepted, call{method: http.MethodPatch, path: at, header: []string{"Content-Range: " + ranges[i]}, body: chunk})
				at = answer.Header().Get("Location")
				if have, want := answer.Header().Get("Range"), "0-"+itoa(3*i+2); have != want {
					t.Errorf("Range %q, want %q", have, want)
				}
			}
			if have := w.must(http.StatusNoContent, call{method: http.MethodGet, path: at}).Header().Get("Range"); have != "0-5" {
				t.Errorf("status says %q", have)
			}
			w.must(http.StatusCreated, call{method: http.MethodPut, path: at + "?digest=" + digest.FromString("abcdefghi").String(), header: []string{"Content-Range: " + ranges[2]}, body: "ghi"})
			w.expectBlob("abcdefghi")
		})
	}
}

func TestChunkOutOfOrderSaysWhereTheUploadIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := w.must(http.StatusAccepted, call{method: http.MethodPatch, path: w.begin(), body: "abc"}).Header().Get("Location")
	answer := w.must(http.StatusRequestedRangeNotSatisfiable, call{method: http.MethodPatch, path: at, header: []string{"Content-Range: 1-3"}, body: "bcd"})
	if have := answer.Header().Get("Range"); have != "0-2" {
		t.Errorf("Range %q, want 0-2", have)
	}
	w.must(http.StatusCreated, call{method: http.MethodPut, path: answer.Header().Get("Location") + "?digest=" + digest.FromString("abcdef").String(), body: "def"})
	w.expectBlob("abcdef")
}

// What was taken of a body that broke off is kept, and the client goes on behind it.
func TestBodyBreaksOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := w.begin()
	if code := w.sendBroken(http.MethodPatch, at, "abc"); code != http.StatusBadRequest {
		t.Fatalf("status %d", code)
	}
	answer := w.must(http.StatusNoContent, call{method: http.MethodGet, path: at})
	if have := answer.Header().Get("Range"); have != "0-2" {
		t.Fatalf("Range %q", have)
	}
	w.must(http.StatusCreated, call{method: http.MethodPut, path: answer.Header().Get("Location") + "?digest=" + digest.FromString("abcdef").String(), header: []string{"Content-Range: 3-5"}, body: "def"})
	w.expectBlob("abcdef")
}

func TestCancelledUploadIsGone(t *testing.T) {
	t.Parallel()
	for name, chunk := range map[string]string{"with bytes": "abc", "without": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			at := w.begin()
			if chunk != "" {
				at = w.must(http.StatusAccepted, call{method: http.MethodPatch, path: at, body: chunk}).Header().Get("Location")
			}
			w.must(http.StatusNoContent, call{method: http.MethodDelete, path: at})
			for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodDelete} {
				w.must(http.StatusNotFound, call{method: method, path: at, body: "x"})
			}
			w.must(http.StatusNotFound, call{method: http.MethodPut, path: at + "?digest=" + digest.FromString("x").String(), body: "x"})
		})
	}
}

// An upload that no store knows is new only if it never had bytes, and was begun not long ago.
func TestLostUploadIsNotNew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	begun := w.begin()
	started := w.must(http.StatusAccepted, call{method: http.MethodPatch, path: w.begin(), body: "abc"}).Header().Get("Location")
	w.forgetUploads()
	w.must(http.StatusNotFound, call{method: http.MethodPatch, path: started, body: "def"})
	w.must(http.StatusAccepted, call{method: http.MethodPatch, path: begun, body: "abc"})
	w.forgetUploads()
	w.pass(25 * time.Hour)
	w.must(http.StatusNotFound, call{method: http.MethodPatch, path: begun, body: "abc"})
}

// A PUT whose answer was lost is repeated: the same copies under the same request id, or new ones when that
// is spent, and never the same copies under another (GC R6).
func TestRepeatedPut(t *testing.T) {
	t.Parallel()
	const text = "layer"
	for name, test := range map[string]struct {
		between func(w *world)
		status  int // of the repeated PUT
		copies  int // sets that were proposed, the same one counted once
	}{
		"at once":            {func(*world) {}, http.StatusCreated, 1},
		"within the window":  {func(w *world) { w.pass(9 * time.Minute) }, http.StatusCreated, 1},
		"after the window":   {func(w *world) { w.pass(11 * time.Minute) }, http.StatusCreated, 2},
		"of a deleted blob":  {func(w *world) { propose(w, fsm.DeleteBlob{Repository: "a/b", Digest: packed(text)}) }, http.StatusCreated, 1},
		"of a lost upload":   {func(w *world) { w.pass(11 * time.Minute); w.forgetUploads() }, http.StatusCreated, 2},
		"of a lost upload 2": {func(w *world) { w.pass(25 * time.Hour); w.forgetUploads() }, http.StatusNotFound, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			put := call{method: http.MethodPut, path: w.begin() + "?digest=" + digest.FromString(text).String(), body: text}
			w.lose(errors.New("leadership lost"))
			if answer := w.must(http.StatusServiceUnavailable, put); answer.Header().Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			w.lose(nil)
			test.between(w)
			w.must(test.status, put)
			if have := w.distinct("blob-stored"); have != test.copies {
				t.Errorf("%d sets of copies were proposed, want %d", have, test.copies)
			}
		})
	}
}

// A PUT that is repeated after its 201 gets it again, also when its upload is gone.
func TestPutAfterItsAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put := call{method: http.MethodPut, path: w.begin() + "?digest=" + digest.FromString("x").String(), body: "x"}
	w.must(http.StatusCreated, put)
	w.must(http.StatusCreated, put)
	put.path = strings.Replace(put.path, digest.FromString("x").String(), digest.FromString("y").String(), 1)
	w.must(http.StatusNotFound, put)
}

// A digest that the bytes do not have leaves the upload as it was.
func TestPutWithTheWrongDigest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := w.begin()
	w.must(http.StatusBadRequest, call{method: http.MethodPut, path: at + "?digest=" + absent, body: "x"})
	if w.distinct("blob-stored") != 0 {
		t.Error("something was recorded")
	}
	w.must(http.StatusCreated, call{method: http.MethodPut, path: at + "?digest=" + digest.FromString("x").String()})
	w.expectBlob("x")
}

func TestNothingIsStoredWithoutARound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := w.begin()
	put := call{method: http.MethodPut, path: at + "?digest=" + digest.FromString("x").String(), body: "x"}
	w.set(true, nil)
	w.must(http.StatusServiceUnavailable, put)
	w.set(false, nil)
	w.must(http.StatusCreated, put)
	w.expectBlob("x")
}

func TestFullStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := w.begin()
	w.blobs.SetCapacity(1)
	comesAgain(t, w.do(call{method: http.MethodPatch, path: at, body: "abc"}), http.StatusInsufficientStorage)
	w.blobs.SetCapacity(1 << 20)
	w.must(http.StatusAccepted, call{method: http.MethodPatch, path: at, body: "abc"})

	// A manifest needs room too, in the state. What is there is read and deleted.
	w.pushImage("v1", "")
	post := call{method: http.MethodPost, path: "/v2/a/b/blobs/uploads/"}
	mount := call{method: http.MethodPost, path: "/v2/a/c/blobs/uploads/?from=a/b&mount=" + digest.FromString("config").String()}
	put := call{method: http.MethodPut, path: "/v2/a/b/manifests/v1", header: []string{"Content-Type: " + typeImage}, body: image(digest.FromString("config").String(), "")}
	w.must(http.StatusCreated, put)
	w.blobs.SetCapacity(10)
	comesAgain(t, w.do(put), http.StatusInsufficientStorage)
	comesAgain(t, w.do(post), http.StatusInsufficientStorage)
	w.must(http.StatusCreated, mount)
	w.must(http.StatusOK, call{path: "/v2/a/b/manifests/v1"})
	w.must(http.StatusAccepted, call{method: http.MethodDelete, path: "/v2/a/b/manifests/v1"})
	w.blobs.SetCapacity(1 << 20)
	w.must(http.StatusCreated, put)
}
