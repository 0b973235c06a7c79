package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// through makes a cluster that waits little for its clients, an upload that is node 0's, and a server of node 1.
func through(t *testing.T, options ...option) (c *members, at string, server *httptest.Server) {
	t.Helper()
	c = join(t, append([]option{func(n *node) { n.config.Idle = idle }}, options...)...).serve()
	at = c.nodes[0].must(http.StatusNoContent, call{method: http.MethodGet, path: c.nodes[0].begin()}).Header().Get("Location")
	return c, at, listen(t, c.nodes[1])
}

// waitWriting waits until bytes go into an upload of the node, or no more do.
func (n *node) waitWriting(at string, want bool) {
	n.c.t.Helper()
	id := n.uploadID(n.must(http.StatusNoContent, call{method: http.MethodGet, path: at}))
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for writing := !want; writing != want; <-tick.C {
		u, err := n.blobs.Upload(n.c.t.Context(), id)
		if err != nil {
			n.c.t.Fatal(err)
		}
		writing = u.Writing
	}
}

// A client that sends nothing in the middle of a body is cut off by the node that it talks to, and the owner goes on
// with what it has got.
func TestSilentClientOfAnotherNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, at, server := through(t)
		text := strings.Repeat("x", 1<<20)
		_, answers := dial(t, server, fmt.Sprintf("PATCH %s HTTP/1.1\r\nHost: zot\r\nContent-Length: %d\r\n\r\n%s", at, 2*len(text), text))
		if have := statuses(t, answers); len(have) != 1 || have[0] != http.StatusBadRequest {
			t.Errorf("statuses %v", have)
		}
		c.nodes[0].waitWriting(at, false) // until the owner, too, knows that nothing more comes
		status := c.nodes[2].must(http.StatusNoContent, call{method: http.MethodGet, path: at})
		var taken int
		if _, err := fmt.Sscanf(status.Header().Get("Range"), "0-%d", &taken); err != nil || taken == 0 {
			t.Fatalf("Range %q", status.Header().Get("Range"))
		}
		at = status.Header().Get("Location")
		c.nodes[2].must(http.StatusCreated, call{method: http.MethodPut, path: withDigest(at, text), body: text[taken+1:]})
	})
}

// The answer to a body that nobody wants comes before the body, also from elsewhere. (In a bubble the clock would
// stand still: the server holds a lock while it reads a body.)
func TestUnwantedBodyForAnotherNode(t *testing.T) {
	t.Parallel()
	_, at, server := through(t, func(n *node) { n.config.Idle = 3 * time.Second })
	_, answers := dial(t, server, "PATCH "+at+" HTTP/1.1\r\nHost: zot\r\nContent-Length: 100\r\nContent-Range: 5-104\r\n\r\nabc")
	if have := statuses(t, answers); len(have) != 1 || have[0] != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("statuses %v", have)
	}
}

// A client that waits for an answer from elsewhere is not one that sends nothing.
func TestWaitingClientOfAnotherNode(t *testing.T) {
	t.Parallel()
	for name, sent := range map[string]string{
		"length is said":     "Content-Length: 3\r\n\r\nabc",
		"length is not said": "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, at, server := through(t, func(n *node) { n.store = &thoughtful{Store: n.store, finish: 3 * idle} })
				_, answers := dial(t, server, "PUT "+withDigest(at, "abc")+" HTTP/1.1\r\nHost: zot\r\n"+sent)
				if have := statuses(t, answers); len(have) != 1 || have[0] != http.StatusCreated {
					t.Errorf("statuses %v", have)
				}
				c.expectBlob("abc")
			})
		})
	}
}

// An owner that dies while bytes go to it takes nobody with it.
func TestOwnerDiesMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, at, _ := through(t)
		end := occupy(t, c.nodes[1], call{method: http.MethodPatch, path: at, body: strings.Repeat("x", 1<<20)})
		c.nodes[0].waitWriting(at, true) // the connection is one that it has accepted
		c.nodes[0].served.CloseClientConnections()
		if status := end(); status != http.StatusServiceUnavailable {
			t.Errorf("status %d", status)
		}
	})
}
