package api_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/api"
)

// limited makes the registry of a world anew, under other limits.
func (w *world) limited(change func(c *api.Config)) {
	w.t.Helper()
	c := api.DefaultConfig()
	c.UploadKeys = [][]byte{[]byte("a key of tests, long enough")}
	change(&c)
	g, err := api.New(c, api.Deps{Proposer: w.proposer, Consistency: w.consistency, State: w.state, Stores: only(w.blobs, nil)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Registry = g
}

// unread is a body that must not be read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body of a request that was turned away was read")
	return 0, errors.New("read")
}

// isTurnedAway fails the test unless a request with a body is told to come again before the body is read.
func isTurnedAway(t *testing.T, h http.Handler, c call) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, unread{t})
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, r)
	if answer.Code != http.StatusTooManyRequests || answer.Header().Get("Retry-After") == "" || !strings.Contains(answer.Body.String(), "TOOMANYREQUESTS") {
		t.Errorf("%s %s: %d %v %s", c.method, c.path, answer.Code, answer.Header(), answer.Body)
	}
}

// occupy sends a request whose body has begun and does not end until the function that it returns is called,
// which returns the status.
func occupy(t *testing.T, h http.Handler, c call) (end func() int) {
	t.Helper()
	in, out := io.Pipe()
	r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, in)
	for _, line := range c.header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	answer, done := httptest.NewRecorder(), make(chan struct{})
	go func() { // waited for by end
		defer close(done)
		h.ServeHTTP(answer, r)
	}()
	if _, err := io.WriteString(out, c.body); err != nil { // returns when it was read
		t.Fatal(err)
	}
	return func() int {
		_ = out.Close()
		<-done
		return answer.Code
	}
}

func TestTooManyBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.limited(func(c *api.Config) { c.MaxBodies = 1 })
	one, other := w.begin(), w.begin()
	end := occupy(t, w, call{method: http.MethodPatch, path: one, body: "abc"})
	for _, c := range []call{
		{method: http.MethodPatch, path: other},
		{method: http.MethodPut, path: withDigest(other, "x")},
		{method: http.MethodPost, path: withDigest("/v2/a/b/blobs/uploads/", "x")},
	} {
		isTurnedAway(t, w, c)
	}
	w.must(http.StatusNoContent, call{method: http.MethodGet, path: one})
	w.must(http.StatusAccepted, call{method: http.MethodPost, path: "/v2/a/b/blobs/uploads/"})
	w.must(http.StatusCreated, call{method: http.MethodPut, path: withDigest(other, "")})
	if status := end(); status != http.StatusAccepted {
		t.Errorf("status %d", status)
	}
	w.push("a/b", "layer")
}

// A request that is forwarded is one of this node's all the same: its bytes go through.
func TestTooManyForwardedBodies(t *testing.T) {
	t.Parallel()
	c := join(t, func(n *node) { n.config.MaxBodies = 1 }).serve()
	at := c.nodes[0].must(http.StatusNoContent, call{method: http.MethodGet, path: c.nodes[0].begin()}).Header().Get("Location")
	end := occupy(t, c.nodes[1], call{method: http.MethodPatch, path: at, body: "abc"})
	isTurnedAway(t, c.nodes[1], call{method: http.MethodPatch, path: c.nodes[1].begin()})
	if status := end(); status != http.StatusAccepted {
		t.Errorf("status %d", status)
	}
	c.nodes[1].push("layer")
}

func TestTooMuchOfManifests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.limited(func(c *api.Config) { c.ManifestMemory = 4<<20 + 1 })
	body := image(w.push("a/b", "config"), "")
	put := call{method: http.MethodPut, path: "/v2/a/b/manifests/v1", header: []string{"Content-Type: " + typeImage}, body: body}
	end := occupy(t, w, put) // its length is not said, so that it may be any
	isTurnedAway(t, w, call{method: http.MethodPut, path: "/v2/a/b/manifests/v2"})
	if status := end(); status != http.StatusCreated {
		t.Errorf("status %d", status)
	}
	w.must(http.StatusCreated, put)
	w.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/manifests/v1"})
}
