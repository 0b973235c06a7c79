package api_test

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/fsm"
)

// tally notes what was pulled.
type tally struct {
	mu  sync.Mutex
	all []string
}

func (p *tally) Pulled(repository string, d fsm.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, repository+"@"+d.String())
}

// COMPAT 11, pulledWithin: zot counts a GET of a manifest, by tag and by digest, and nothing else.
func TestPullsAreCounted(t *testing.T) {
	t.Parallel()
	w, counted := newWorld(t), &tally{}
	c := api.DefaultConfig()
	c.UploadKeys = [][]byte{[]byte("a key of tests, long enough")}
	var err error
	w.Registry, err = api.New(c, api.Deps{Proposer: w.proposer, Consistency: w.consistency, State: w.state, Stores: only(w.blobs, nil), Pulls: counted})
	if err != nil {
		t.Fatal(err)
	}
	d := w.pushImage("v1", "")
	blob := w.push("a/b", "layer")
	for _, test := range []struct {
		status int
		call   call
		counts bool
	}{
		{http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/manifests/v1"}, true},
		{http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/manifests/" + d}, true},
		{http.StatusNotModified, call{method: http.MethodGet, path: "/v2/a/b/manifests/v1", header: []string{`If-None-Match: "` + d + `"`}}, true},
		{http.StatusOK, call{method: http.MethodHead, path: "/v2/a/b/manifests/v1"}, false},
		{http.StatusOK, call{method: http.MethodHead, path: "/v2/a/b/manifests/" + d}, false},
		{http.StatusNotFound, call{method: http.MethodGet, path: "/v2/a/b/manifests/v2"}, false},
		{http.StatusNotFound, call{method: http.MethodGet, path: "/v2/a/c/manifests/" + d}, false},
		{http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/blobs/" + blob}, false},
		{http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/tags/list"}, false},
		{http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/referrers/" + d}, false},
	} {
		counted.all = nil
		w.must(test.status, test.call)
		want := []string{"a/b@" + d}[:map[bool]int{true: 1}[test.counts]]
		if !slices.Equal(counted.all, want) {
			t.Errorf("%s %s: counted %v, want %v", test.call.method, test.call.path, counted.all, want)
		}
	}
}

// A pull that another node answers, because the asked one lags behind, counts once, and there.
func TestForwardedPullCountsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := join(t)
		lagging := c.nodes[2]
		lagging.lag()
		defer lagging.hurry()
		d := c.nodes[1].pushImage()
		lagging.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/manifests/v1"})
		for i, n := range c.nodes {
			want := []string{"a/b@" + d}[:map[int]int{0: 1}[i]]
			if !slices.Equal(n.pulls.all, want) {
				t.Errorf("node %d counted %v, want %v", i, n.pulls.all, want)
			}
		}
	})
}
