package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/fsm/oci"
)

func TestBlobsHaveTheirDigestAndDiffer(t *testing.T) {
	t.Parallel()
	base := noise(small)
	first, second := newBlob(base, 1), newBlob(base, 2)
	for _, b := range []blob{first, second} {
		content, err := io.ReadAll(b.reader())
		if err != nil || int64(len(content)) != b.size() || len(content) != small || digest.FromBytes(content) != b.digest {
			t.Errorf("%d bytes, %v: not what the blob says", len(content), err)
		}
	}
	if first.digest == second.digest {
		t.Error("two blobs are the same")
	}
}

func TestManifestsAreValidAndDiffer(t *testing.T) {
	t.Parallel()
	e := newExample()
	seen := map[digest.Digest]bool{}
	for number := range uint64(3) {
		m, err := oci.ParseManifest(mediaType, e.manifest(number), digest.SHA256)
		if err != nil || len(m.References) != len(e.blobs) {
			t.Fatalf("%v, %d references:\n%s", err, len(m.References), e.manifest(number))
		}
		seen[m.Digest] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d of 3 manifests differ", len(seen))
	}
}

func TestSpread(t *testing.T) {
	t.Parallel()
	s := series{rounds: []round{{rate: 5}, {rate: 1}, {rate: 3}}}
	if got := s.rate(); got != (spread{median: 3, least: 1, most: 5}) {
		t.Errorf("got %v", got)
	}
	for name, c := range map[string]struct {
		a, b spread
		want bool
	}{
		"clearly":      {spread{2, 1, 3}, spread{5, 4, 6}, true},
		"by a hair":    {spread{2, 1, 4}, spread{5, 4, 6}, false},
		"faster":       {spread{5, 4, 6}, spread{2, 1, 3}, false},
		"median alone": {spread{2, 1, 9}, spread{5, 4, 6}, false},
	} {
		if got := c.a.below(c.b); got != c.want {
			t.Errorf("%s: %v below %v is %v", name, c.a, c.b, got)
		}
	}
}

// Clients ask the nodes in turn, go on until jobs or time are over, and what goes wrong is not counted.
func TestRun(t *testing.T) {
	t.Parallel()
	var asked [2]atomic.Int64
	r := &registry{name: "fake"}
	for i := range asked {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			asked[i].Add(1)
			if strings.HasSuffix(q.URL.Path, "wrong") {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			_, _ = io.WriteString(w, "content") // the client sees what it got
		}))
		t.Cleanup(server.Close)
		r.addresses = append(r.addresses, server.Listener.Addr().String())
	}
	get := func(path string, size int64) job {
		return func(ctx context.Context, c *client) error { return c.get(ctx, path, size) }
	}
	jobs := make([]job, 40)
	for i := range jobs {
		jobs[i] = get("/right", 7)
	}
	if _, err := r.run(t.Context(), 1, jobs[:4], time.Minute); err != nil || asked[0].Load() != 2 || asked[1].Load() != 2 {
		t.Errorf("%v: one client asked %d and %d times", err, asked[0].Load(), asked[1].Load())
	}
	result, err := r.run(t.Context(), 4, jobs[4:], time.Minute)
	if err != nil || result.rate <= 0 || asked[0].Load()+asked[1].Load() != 40 {
		t.Errorf("%v, %v, asked %d and %d times", result, err, asked[0].Load(), asked[1].Load())
	}
	for name, bad := range map[string]job{"another length": get("/right", 8), "another status": get("/wrong", 0)} {
		if _, err := r.run(t.Context(), 1, []job{bad}, time.Minute); err == nil {
			t.Errorf("%s was counted", name)
		}
	}
	if _, err := r.run(t.Context(), 1, jobs, 0); err != nil || asked[0].Load()+asked[1].Load() != 42 {
		t.Errorf("%v: requests were begun when the time was over", err)
	}
}
