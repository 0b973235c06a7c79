package api_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

// pushSignature pushes an image to a/b at the node whose subject is that of pushImage, and returns its digest.
func (n *node) pushSignature(subject string) {
	n.c.t.Helper()
	body := image(n.push("config"), `,"artifactType":"application/sig","subject":{"mediaType":"`+typeImage+`","digest":"`+subject+`","size":2}`)
	n.must(http.StatusCreated, call{method: http.MethodPut, path: "/v2/a/b/manifests/sig", header: []string{"Content-Type: " + typeImage}, body: body})
}

// An empty list says that something is not there, such as a signature: a node without a quorum does not tell that
// from its old state, but asks the others. What it finds it tells.
func TestEmptyListIsNeverStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := join(t).serve()
		lagging := c.nodes[2]
		d := c.nodes[1].pushImage()
		c.nodes[0].must(http.StatusAccepted, call{method: http.MethodDelete, path: "/v2/a/b/manifests/v1"}) // so that no list has anything
		c.nodes[0].must(http.StatusAccepted, call{method: http.MethodDelete, path: "/v2/a/b/manifests/" + d})
		alone := func(alone bool, nodes ...*node) {
			for _, n := range nodes {
				n.set(func(n *node) { n.alone = alone })
			}
		}
		lists := map[string]string{
			"/v2/a/b/tags/list": "v1", "/v2/_catalog": "a/b", "/v2/a/b/referrers/" + d: "application/sig",
			"/v2/a/b/referrers/" + d + "?artifactType=application/sig": "application/sig",
		}
		for path := range lists {
			lagging.must(http.StatusOK, call{method: http.MethodGet, path: path})
		}
		alone(true, c.nodes...)
		for path := range lists {
			isUnavailable(t, lagging.do(call{method: http.MethodGet, path: path}))
		}
		alone(false, c.nodes...)
		lagging.lag()
		c.nodes[1].pushImage()
		c.nodes[1].pushSignature(d)
		alone(true, c.nodes...)
		for path, entry := range lists { // the others have it
			expectEntry(t, lagging, path, entry)
		}
		lagging.hurry()
		alone(false, c.nodes[:2]...)
		for path, entry := range lists { // now it has it itself
			expectEntry(t, lagging, path, entry)
		}
		sent := c.forwards()
		lagging.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/tags/list?n=0"}) // empty because it is asked for
		if c.forwards() != sent {
			t.Error("another node was asked for an empty page")
		}
		for path := range map[string]bool{"/v2/a/b/referrers/" + absent: true, "/v2/a/b/tags/list?last=z": true} { // one of the others can tell
			if answer := lagging.must(http.StatusOK, call{method: http.MethodGet, path: path}); answer.Header().Get("X-Zot-Consistency") != "" {
				t.Errorf("%s: %v", path, answer.Header())
			}
		}
	})
}

// expectEntry fails the test unless a node's list has an entry, and is said to be old.
func expectEntry(t *testing.T, n *node, path, entry string) {
	t.Helper()
	answer := n.must(http.StatusOK, call{method: http.MethodGet, path: path})
	if !strings.Contains(answer.Body.String(), entry) || answer.Header().Get("X-Zot-Consistency") != "stale" {
		t.Errorf("%s: %v %s", path, answer.Header(), answer.Body)
	}
}

// A node whose reads are local by configuration answers with what it has, marked, be it nothing.
func TestEmptyListOfLocalReads(t *testing.T) {
	t.Parallel()
	c := join(t, func(n *node) { n.config.LocalReads = true }).serve()
	c.nodes[2].set(func(n *node) { n.alone = true })
	for _, path := range []string{"/v2/_catalog", "/v2/a/b/referrers/" + absent} {
		answer := c.nodes[2].must(http.StatusOK, call{method: http.MethodGet, path: path})
		if answer.Header().Get("X-Zot-Consistency") != "stale" || c.forwards() != 0 {
			t.Errorf("%s: %v, %d requests were forwarded", path, answer.Header(), c.forwards())
		}
	}
}
