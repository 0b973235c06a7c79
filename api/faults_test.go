package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/memory"
	"github.com/seed-16d79997/zot/fsm"
)

// Without a quorum finds are told and marked; that something is not there never is, and nothing is promised.
func TestStale(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	image := w.pushImage("v1", "")
	signature := w.pushImage("", `,"subject":{"mediaType":"`+typeImage+`","digest":"`+image+`","size":2}`)
	layer := w.push("a/b", "layer")
	w.set(true, nil)
	for name, test := range map[string]struct {
		call   call
		status int
	}{
		"tag":               {call{method: "GET", path: "/v2/a/b/manifests/v1"}, 200},
		"tag head":          {call{method: "HEAD", path: "/v2/a/b/manifests/v1"}, 200},
		"manifest":          {call{method: "GET", path: "/v2/a/b/manifests/" + image}, 200},
		"tags":              {call{method: "GET", path: "/v2/a/b/tags/list"}, 200},
		"catalog":           {call{method: "GET", path: "/v2/_catalog"}, 200},
		"referrers":         {call{method: "GET", path: "/v2/a/b/referrers/" + image}, 200},
		"no referrers":      {call{method: "GET", path: "/v2/a/b/referrers/" + signature}, 503},
		"no tags":           {call{method: "GET", path: "/v2/a/b/tags/list?last=v1"}, 503},
		"no repositories":   {call{method: "GET", path: "/v2/_catalog?last=a/b"}, 503},
		"blob":              {call{method: "GET", path: "/v2/a/b/blobs/" + layer}, 200},
		"blob head":         {call{method: "HEAD", path: "/v2/a/b/blobs/" + layer}, 503},
		"unknown tag":       {call{method: "GET", path: "/v2/a/b/manifests/v2"}, 503},
		"unknown manifest":  {call{method: "GET", path: "/v2/a/b/manifests/" + absent}, 503},
		"unknown blob":      {call{method: "GET", path: "/v2/a/b/blobs/" + absent}, 503},
		"unknown name":      {call{method: "GET", path: "/v2/no/tags/list"}, 503},
		"mount from where?": {call{method: "POST", path: "/v2/a/b/blobs/uploads/?mount=" + layer}, 503},
	} {
		t.Run(name, func(t *testing.T) {
			answer := w.must(test.status, test.call)
			stale, retry := answer.Header().Get("X-Zot-Consistency"), answer.Header().Get("Retry-After")
			if (test.status == 200) != (stale == "stale") || (test.status == 503) != (retry != "") {
				t.Errorf("X-Zot-Consistency %q, Retry-After %q", stale, retry)
			}
		})
	}
}

// A round that takes long does not hold up what a digest names and is here.
func TestRoundTakesLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	image := w.pushImage("v1", "")
	w.set(false, errNoQuorum)
	for path, status := range map[string]int{
		"/v2/a/b/manifests/" + image:                                    200,
		"/v2/a/b/blobs/" + digest.FromString("config").String():         200,
		"/v2/a/b/manifests/v1":                                          503,
		"/v2/a/b/manifests/" + absent:                                   503,
		"/v2/a/b/tags/list":                                             503,
		"/v2/a/b/referrers/" + image + "?artifactType=application/none": 503,
	} {
		w.must(status, call{method: http.MethodGet, path: path})
	}
}

func TestUndecidedIsSaidSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	image := w.pushImage("v1", "")
	w.refuse(errors.New("no leader"))
	for _, c := range []call{
		{method: "DELETE", path: "/v2/a/b/manifests/v1"},
		{method: "DELETE", path: "/v2/a/b/manifests/" + image},
		{method: "DELETE", path: "/v2/a/b/blobs/" + image},
		{method: "POST", path: "/v2/x/blobs/uploads/?from=a/b&mount=" + digest.FromString("config").String()},
	} {
		answer := w.must(http.StatusServiceUnavailable, c)
		if answer.Header().Get("Retry-After") == "" || !strings.Contains(answer.Body.String(), "UNAVAILABLE") {
			t.Errorf("%v %s", answer.Header(), answer.Body)
		}
	}
}

// A blob whose lease is half over is good for a HEAD only after the lease was renewed (GC R16).
func TestHeadRenewsTheLease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	head := call{method: http.MethodHead, path: "/v2/a/b/blobs/" + w.push("a/b", "layer")}
	w.must(http.StatusOK, head)
	if w.distinct("renew-lease") != 0 {
		t.Error("a young lease was renewed")
	}
	w.pass(35 * time.Minute)
	w.refuse(errors.New("no leader"))
	w.must(http.StatusServiceUnavailable, head)
	w.refuse(nil)
	w.must(http.StatusOK, head)
	w.pass(35 * time.Minute)
	w.must(http.StatusOK, call{method: http.MethodGet, path: head.path})
	w.pass(2 * time.Hour)
	w.must(http.StatusNotFound, head)
}

// faulty is a store that panics, or whose copies are not where they should be.
type faulty struct {
	*memory.Store
	open func(context.Context, blobstore.Blob) (blobstore.Reader, error)
}

func (f faulty) Open(ctx context.Context, b blobstore.Blob, _, _ int64) (blobstore.Reader, error) {
	return f.open(ctx, b)
}

// over is a registry over the state of w and a faulty store.
func (w *world) over(open func(context.Context, blobstore.Blob) (blobstore.Reader, error)) {
	w.t.Helper()
	c := api.DefaultConfig()
	c.UploadKeys = [][]byte{[]byte("a key of tests, long enough")}
	g, err := api.New(c, api.Deps{Proposer: w.proposer, Consistency: w.consistency, State: w.state, Stores: only(faulty{w.blobs, open}, nil)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Registry = g
}

func TestPanicIsAnAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	get := call{method: http.MethodGet, path: "/v2/a/b/blobs/" + w.push("a/b", "layer")}
	w.over(func(context.Context, blobstore.Blob) (blobstore.Reader, error) { panic("secret detail") })
	answer := w.must(http.StatusInternalServerError, get)
	id := answer.Header().Get("X-Request-Id")
	if id == "" || !strings.Contains(answer.Body.String(), id) || strings.Contains(answer.Body.String(), "secret") {
		t.Errorf("request %q: %s", id, answer.Body)
	}
}

// Copies that are elsewhere by now are looked for in the newest record; that they are not found is no 404.
func TestCopiesMove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	get := call{method: http.MethodGet, path: "/v2/a/b/blobs/" + w.push("a/b", "layer")}
	looks := 0
	w.over(func(ctx context.Context, b blobstore.Blob) (blobstore.Reader, error) {
		if looks++; looks == 1 {
			return nil, blobstore.ErrCopyUnknown
		}
		return w.blobs.Open(ctx, b, 0, -1)
	})
	w.must(http.StatusOK, get)
	w.over(func(context.Context, blobstore.Blob) (blobstore.Reader, error) { return nil, blobstore.ErrCopyUnknown })
	w.must(http.StatusServiceUnavailable, get)
	w.over(func(context.Context, blobstore.Blob) (blobstore.Reader, error) {
		propose(w, fsm.DeleteBlob{Repository: "a/b", Digest: packed("layer")}) //nolint:contextcheck // the test's own
		return nil, blobstore.ErrCopyUnknown
	})
	w.must(http.StatusNotFound, get)
}

// broken gives some bytes and then an error.
type broken struct{ io.Reader }

func (broken) Close() error { return nil }

func (b broken) WriteTo(w io.Writer) (int64, error) {
	n, _ := io.Copy(w, b.Reader)
	return n, blobstore.ErrCopyDamaged
}

// Bytes that turn out to be bad in mid-stream, or when they have all been read, end the connection: the client sees
// no whole answer (invariant 11).
func TestStreamBreaksVisibly(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"in the middle": "lay", "at the end": "layer"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			path := "/v2/a/b/blobs/" + w.push("a/b", "layer")
			w.over(func(context.Context, blobstore.Blob) (blobstore.Reader, error) {
				return broken{strings.NewReader(text)}, nil
			})
			server := httptest.NewServer(w)
			defer server.Close()
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			response, err := server.Client().Do(request)
			if err != nil {
				return // it broke off before the first bytes were under way
			}
			defer response.Body.Close() //nolint:errcheck // it was only read
			if b, err := io.ReadAll(response.Body); err == nil {
				t.Errorf("a whole answer: %q", b)
			}
		})
	}
}

// A damaged blob is not there for a HEAD, so that a push heals it (GC R9).
func TestDamagedBlob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	head := call{method: http.MethodHead, path: "/v2/a/b/blobs/" + w.push("a/b", "layer")}
	propose(w, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: packed("layer"), Location: w.copyOf("layer")})
	w.must(http.StatusNotFound, head)
	w.must(http.StatusAccepted, call{method: http.MethodPost, path: "/v2/x/blobs/uploads/?from=a/b&mount=" + digest.FromString("layer").String()})
	w.push("a/b", "layer")
	w.must(http.StatusOK, head)
}

// A manifest of more than 48 KiB is a blob, and nobody sees that.
func TestLargeManifest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	subject := w.pushImage("v1", "")
	more := `,"subject":{"mediaType":"` + typeImage + `","digest":"` + subject + `","size":2},"annotations":{"large":"` + strings.Repeat("x", 60<<10) + `"}`
	d := w.pushImage("large", more)
	body := image(digest.FromString("config").String(), more)
	answer := w.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/manifests/large"})
	if answer.Body.String() != body || answer.Header().Get("Docker-Content-Digest") != d || answer.Header().Get("Content-Length") != itoa(len(body)) {
		t.Errorf("%d bytes, %v", answer.Body.Len(), answer.Header())
	}
	var index v1.Index
	if err := json.Unmarshal(w.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/referrers/" + subject}).Body.Bytes(), &index); err != nil {
		t.Fatal(err)
	}
	if len(index.Manifests) != 1 || len(index.Manifests[0].Annotations["large"]) != 60<<10 {
		t.Errorf("%d referrers, or their annotations are missing", len(index.Manifests))
	}
	w.must(http.StatusAccepted, call{method: http.MethodDelete, path: "/v2/a/b/manifests/" + d})
	w.must(http.StatusNotFound, call{method: http.MethodGet, path: "/v2/a/b/manifests/large"})
}

// Who follows the Links sees each referrer once, and the filter goes with them.
func TestReferrersInPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	subject := w.pushImage("v1", "")
	for _, kind := range []string{"application/a", "application/b"} {
		for i := range 5 {
			w.pushImage("", `,"artifactType":"`+kind+`","annotations":{"n":"`+itoa(i)+`"},"subject":{"mediaType":"`+typeImage+`","digest":"`+subject+`","size":2}`)
		}
	}
	for filter, want := range map[string]int{"": 10, "&artifactType=application/b": 5} {
		seen := map[string]bool{}
		for next := "/v2/a/b/referrers/" + subject + "?n=3" + filter; next != ""; {
			answer := w.must(http.StatusOK, call{method: http.MethodGet, path: next})
			var index v1.Index
			if err := json.Unmarshal(answer.Body.Bytes(), &index); err != nil {
				t.Fatal(err)
			}
			for _, one := range index.Manifests {
				seen[one.Digest.String()] = true
			}
			next, _, _ = strings.Cut(strings.TrimPrefix(answer.Header().Get("Link"), "<"), ">")
		}
		if len(seen) != want {
			t.Errorf("filter %q: %d referrers, want %d", filter, len(seen), want)
		}
	}
}

// The whole set of tags is set, or none of it.
func TestTagsMoveTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.pushImage("v1", "")
	second := image(digest.FromString("config").String(), `,"annotations":{"a":"b"}`)
	w.must(http.StatusPreconditionFailed, call{
		method: http.MethodPut, path: "/v2/a/b/manifests/" + digest.FromString(second).String() + "?tag=new&tag=v1",
		header: []string{"Content-Type: " + typeImage, "If-None-Match: *"}, body: second,
	})
	w.must(http.StatusNotFound, call{method: http.MethodHead, path: "/v2/a/b/manifests/new"})
	w.must(http.StatusAccepted, call{method: http.MethodDelete, path: "/v2/a/b/manifests/v1", header: []string{`If-Match: "` + first + `"`}})
	w.must(http.StatusOK, call{method: http.MethodHead, path: "/v2/a/b/manifests/" + first})
}

// A manifest that an index lists stays, and the answer says who needs it.
func TestDeleteOfAChild(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	child := w.pushImage("", "")
	index := `{"schemaVersion":2,"mediaType":"` + typeIndex + `","manifests":[{"mediaType":"` + typeImage + `","digest":"` + child + `","size":2}]}`
	w.must(http.StatusCreated, call{method: http.MethodPut, path: "/v2/a/b/manifests/all", header: []string{"Content-Type: " + typeIndex}, body: index})
	answer := w.must(http.StatusMethodNotAllowed, call{method: http.MethodDelete, path: "/v2/a/b/manifests/" + child})
	if by := digest.FromString(index).String(); !strings.Contains(answer.Body.String(), by) {
		t.Errorf("%s does not name %s", answer.Body, by)
	}
	w.must(http.StatusAccepted, call{method: http.MethodDelete, path: "/v2/a/b/manifests/" + digest.FromString(index).String()})
	w.must(http.StatusAccepted, call{method: http.MethodDelete, path: "/v2/a/b/manifests/" + child})
}
