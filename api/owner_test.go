package api_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// A client whose every request goes to another node than the one before sees one upload. The node that got the
// first bytes has it, and each Location leads there.
func TestUploadOverAllNodes(t *testing.T) {
	t.Parallel()
	for name, ranges := range map[string][3]string{
		"with Content-Range":    {"0-2", "3-5", "6-8"},
		"without Content-Range": {"", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := join(t).serve()
			for first := range c.nodes {
				text, next := strings.Repeat(itoa(first), 9), first
				turn := func() *node { next++; return c.nodes[next%3] }
				at := c.nodes[first].begin()
				for i := range 2 {
					answer := turn().must(http.StatusAccepted, call{method: http.MethodPatch, path: at, header: []string{"Content-Range: " + ranges[i]}, body: text[:3]})
					status := turn().must(http.StatusNoContent, call{method: http.MethodGet, path: answer.Header().Get("Location")})
					if have, want := status.Header().Get("Range"), "0-"+itoa(3*i+2); have != want {
						t.Errorf("Range %q, want %q", have, want)
					}
					at = status.Header().Get("Location")
				}
				put := call{method: http.MethodPut, path: withDigest(at, text), header: []string{"Content-Range: " + ranges[2]}, body: text[:3]}
				turn().must(http.StatusCreated, put)
				turn().must(http.StatusCreated, put) // as if its answer had been lost
				turn().must(http.StatusNotFound, call{method: http.MethodDelete, path: at})
				c.expectBlob(text)
			}
			if have := c.proposed(); have != 3 {
				t.Errorf("%d sets of copies were proposed for 3 blobs", have)
			}
		})
	}
}

// An answer that another node gave looks like one of this node.
func TestForwardedAnswer(t *testing.T) {
	t.Parallel()
	c := join(t).serve()
	at := c.nodes[0].must(http.StatusAccepted, call{method: http.MethodPatch, path: c.nodes[0].begin(), body: "abc"}).Header().Get("Location")
	here := c.nodes[0].must(http.StatusNoContent, call{method: http.MethodGet, path: at}).Header()
	there := c.nodes[1].must(http.StatusNoContent, call{method: http.MethodGet, path: at}).Header()
	here.Del("Content-Length") // a 204 has none on its way (RFC 9110, 8.6)
	for name := range here {
		if one := len(there.Values(name)); one != 1 {
			t.Errorf("%s comes %d times", name, one)
		}
		if name != "X-Request-Id" && here.Get(name) != there.Get(name) {
			t.Errorf("%s is %q, %q at the owner", name, there.Get(name), here.Get(name))
		}
	}
	if c.forwards() != 1 {
		t.Errorf("%d requests were forwarded", c.forwards())
	}
}

// Whoever gets the first bytes of an upload owns it, and asks nobody: a push must not wait for nodes that are down.
func TestFirstBytesMakeAnOwner(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]call{
		"chunk":              {method: "PATCH", body: "abc"},
		"chunk with a range": {method: "PATCH", header: []string{"Content-Range: 0-2"}, body: "abc"},
		"put":                {method: "PUT", body: "abc"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := join(t).serve()
			one.path = withDigest(c.nodes[0].begin(), "abc")
			c.nodes[2].must(map[string]int{"PATCH": 202, "PUT": 201}[one.method], one)
			if asked := c.nodes[2].asked.Load(); asked != 0 || c.forwards() != 0 {
				t.Errorf("the others were asked %d times, %d requests were forwarded", asked, c.forwards())
			}
			one.header, one.body = []string{"Content-Range: 3-5"}, "def"
			c.nodes[1].do(one)
			if asked := c.nodes[1].asked.Load(); asked != 1 {
				t.Errorf("the others were asked %d times for later bytes", asked)
			}
		})
	}
}

// Whoever is asked for the status of an upload that nobody has owns it from then on.
func TestStatusMakesAnOwner(t *testing.T) {
	t.Parallel()
	c := join(t).serve()
	at := c.nodes[0].begin()
	at = c.nodes[1].must(http.StatusNoContent, call{method: http.MethodGet, path: at}).Header().Get("Location")
	answer := c.nodes[2].must(http.StatusAccepted, call{method: http.MethodPatch, path: at, body: "abc"})
	u, err := c.nodes[1].blobs.Upload(t.Context(), c.nodes[1].uploadID(answer))
	if err != nil || u.Offset != 3 {
		t.Errorf("the owner has %d bytes: %v", u.Offset, err)
	}
}

// Who asks with the Location of the POST finds the upload, wherever its first bytes went.
func TestUploadIsFoundWithoutOwner(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		call   call
		status int
	}{
		"status":               {call{method: "GET"}, 204},
		"cancel":               {call{method: "DELETE"}, 204},
		"later chunk":          {call{method: "PATCH", header: []string{"Content-Range: 3-5"}, body: "def"}, 202},
		"chunk too late":       {call{method: "PATCH", header: []string{"Content-Range: 4-5"}, body: "ef"}, 416},
		"empty chunk":          {call{method: "PATCH"}, 202},
		"put without a body":   {call{method: "PUT"}, 201},
		"put of a later chunk": {call{method: "PUT", header: []string{"Content-Range: 2-2"}, body: "c"}, 201}, // it is there
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := join(t).serve()
			at := c.nodes[0].begin()
			c.nodes[1].must(http.StatusAccepted, call{method: http.MethodPatch, path: at, body: "abc"})
			test.call.path = withDigest(at, "abc")
			answer := c.nodes[2].must(test.status, test.call)
			if c.forwards() != 1 {
				t.Errorf("%d requests were forwarded", c.forwards())
			}
			if name == "chunk too late" && answer.Header().Get("Range") != "0-2" {
				t.Errorf("Range %q", answer.Header().Get("Range"))
			}
		})
	}
}

// A cancelled upload stays cancelled, whether it had an owner or not.
func TestCancelledEverywhere(t *testing.T) {
	t.Parallel()
	for _, chunk := range []string{"abc", ""} {
		c := join(t).serve()
		first := c.nodes[0].begin()
		at := first
		if chunk != "" {
			at = c.nodes[0].must(http.StatusAccepted, call{method: http.MethodPatch, path: at, body: chunk}).Header().Get("Location")
		}
		c.nodes[1].must(http.StatusNoContent, call{method: http.MethodDelete, path: at})
		for _, n := range c.nodes {
			for _, path := range []string{at, first} {
				n.must(http.StatusNotFound, call{method: http.MethodGet, path: path})
				n.must(http.StatusNotFound, call{method: http.MethodDelete, path: path})
				n.must(http.StatusNotFound, call{method: http.MethodPut, path: path + "?digest=" + digest.FromString("").String()})
			}
		}
	}
}

// An upload that nobody knows is at offset 0, here from now on.
func TestUnknownToAll(t *testing.T) {
	t.Parallel()
	c := join(t).serve()
	answer := c.nodes[1].must(http.StatusRequestedRangeNotSatisfiable, call{method: http.MethodPatch, path: c.nodes[0].begin(), header: []string{"Content-Range: 3-5"}, body: "def"})
	at := answer.Header().Get("Location")
	c.nodes[2].must(http.StatusAccepted, call{method: http.MethodPatch, path: at, header: []string{"Content-Range: 0-2"}, body: "abc"})
	if n := c.nodes[2].sent.Load(); n != 1 {
		t.Errorf("%d requests were forwarded to the owner", n)
	}
}

// An upload whose owner does not answer is not known to be lost, until it has been silent for longer than a restart
// takes; one is lost whose owner has forgotten it, or was removed.
func TestOwnerIsGone(t *testing.T) {
	t.Parallel()
	c := join(t).serve()
	at := c.nodes[1].must(http.StatusAccepted, call{method: http.MethodPatch, path: c.nodes[0].begin(), body: "abc"}).Header().Get("Location")
	every := []call{
		{method: http.MethodGet, path: at},
		{method: http.MethodPatch, path: at, body: "def"},
		{method: http.MethodPut, path: withDigest(at, "abcdef"), body: "def"},
		{method: http.MethodDelete, path: at},
	}
	expect := func(status int, text string) {
		t.Helper()
		for _, one := range every {
			answer := c.nodes[2].must(status, one)
			if !strings.Contains(answer.Body.String(), text) || (status == 503) != (answer.Header().Get("Retry-After") != "") {
				t.Errorf("%s: %s %v", one.method, answer.Body, answer.Header())
			}
			if answer.Header().Get("X-Request-Id") == "" {
				t.Error("the answer has no request id")
			}
		}
	}
	c.nodes[1].served.Close()
	expect(http.StatusServiceUnavailable, "start this blob again")
	c.nodes[1].set(func(n *node) { n.silent = 29 * time.Second })
	expect(http.StatusServiceUnavailable, "start this blob again")
	c.nodes[1].set(func(n *node) { n.silent = 30 * time.Second })
	expect(http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	c.nodes[1].set(func(n *node) { n.silent = 0 })
	order(c, fsm.DropNode{Incarnation: c.nodes[1].self, Lost: true})
	expect(http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")

	at = c.nodes[0].must(http.StatusAccepted, call{method: http.MethodPatch, path: c.nodes[0].begin(), body: "abc"}).Header().Get("Location")
	for u, err := range c.nodes[0].blobs.Uploads(t.Context(), blobstore.UploadID{}) {
		if err != nil {
			t.Fatal(err)
		}
		if err := c.nodes[0].blobs.RemoveUpload(t.Context(), u.ID); err != nil {
			t.Fatal(err)
		}
	}
	for i := range every {
		every[i].path = at
	}
	every[2].path = withDigest(at, "abcdef")
	expect(http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
}

// What was forwarded is answered where it arrives, whatever its id says: nothing goes in circles.
func TestForwardedIsNotForwarded(t *testing.T) {
	t.Parallel()
	c := join(t).serve()
	at := c.nodes[0].must(http.StatusAccepted, call{method: http.MethodPatch, path: c.nodes[0].begin(), body: "abc"}).Header().Get("Location")
	answer := send(t, c.nodes[1].Forwarded(), call{method: http.MethodGet, path: at, header: []string{byAll}})
	if answer.Code != http.StatusNotFound || c.forwards() != 0 {
		t.Errorf("status %d, %d requests were forwarded", answer.Code, c.forwards())
	}
}

// A PUT whose outcome is unknown comes back to the owner, at whichever node it is repeated, and proposes the same
// copies (invariant 9).
func TestRepeatedPutReachesTheOwner(t *testing.T) {
	t.Parallel()
	c := join(t).serve()
	at := c.nodes[0].must(http.StatusAccepted, call{method: http.MethodPatch, path: c.nodes[0].begin(), body: "abc"}).Header().Get("Location")
	put := call{method: http.MethodPut, path: withDigest(at, "abcdef"), body: "def"}
	c.lose(errors.New("leadership lost"))
	isUnavailable(t, c.nodes[1].do(put))
	isUnavailable(t, c.nodes[2].do(put))
	c.lose(nil)
	c.nodes[1].must(http.StatusCreated, put)
	if have := c.proposed(); have != 1 {
		t.Errorf("%d sets of copies were proposed", have)
	}
	c.expectBlob("abcdef")
}

// lose has the outcome of what is proposed be lost.
func (c *members) lose(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = err
}
