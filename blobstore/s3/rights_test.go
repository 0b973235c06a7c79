package s3_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

// right is what of the policy that operators are promised (docs/bucket.md) a request to bucket "blobs" needs; "" is none
// of it. Whatever a request says that needs a right of its own (an ACL, tags, a version) is none of it either.
func right(r *http.Request) string {
	q := r.URL.Query()
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	known := []string{
		"list-type", "prefix", "start-after", "continuation-token", "uploads", "key-marker", "upload-id-marker",
		"uploadId", "partNumber", "part-number-marker", "x-id",
	}
	for name := range q {
		if !slices.Contains(known, name) {
			return ""
		}
	}
	if bucket != "blobs" || r.Header.Get("X-Amz-Acl") != "" || r.Header.Get("X-Amz-Tagging") != "" {
		return ""
	}
	if key == "" {
		switch {
		case r.Method == http.MethodGet && q.Get("list-type") == "2":
			return "ListBucket"
		case r.Method == http.MethodGet && q.Has("uploads"):
			return "ListBucketMultipartUploads"
		}
		return ""
	}
	switch r.Method {
	case http.MethodGet:
		if q.Has("uploadId") {
			return "ListMultipartUploadParts"
		}
		return "GetObject"
	case http.MethodHead:
		return "GetObject"
	case http.MethodPut, http.MethodPost:
		return "PutObject"
	case http.MethodDelete:
		if q.Has("uploadId") {
			return "AbortMultipartUpload"
		}
		return "DeleteObject"
	}
	return ""
}

// The whole suite, parts and orphans need no more than the policy, and nothing outside of a cluster's prefix.
func TestRights(t *testing.T) {
	t.Parallel()
	p := newProxy(t, fake(t))
	var mu sync.Mutex
	used := map[string]bool{}
	p.set(func(w http.ResponseWriter, r *http.Request, _ func() *httptest.ResponseRecorder) bool {
		needs := right(r)
		at := strings.TrimPrefix(r.URL.Path, "/blobs/")
		if r.URL.Path == "/blobs" || at == "" {
			at = r.URL.Query().Get("prefix")
		}
		inside := strings.HasPrefix(at, "some/where/") && strings.Count(at, "/") == 3
		if needs == "" || !inside {
			t.Errorf("%s %s needs %q", r.Method, r.URL, needs)
			answer(w, http.StatusForbidden, "AccessDenied")
			return true
		}
		mu.Lock()
		defer mu.Unlock()
		used[needs] = true
		return false
	})
	t.Run("suite", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) storetest.Subject { return subject(t, config(t, p.url), blobstore.ChunkSize) })
	})
	s := open(t, config(t, p.url))
	_, err := s.Begin(t.Context(), 1)
	must(t, err)
	for _, u := range uploadsOf(t, s) {
		must(t, s.RemoveUpload(t.Context(), u.ID))
	}
	for _, needs := range []string{
		"ListBucket", "ListBucketMultipartUploads", "GetObject", "PutObject", "DeleteObject", "ListMultipartUploadParts", "AbortMultipartUpload",
	} {
		if !used[needs] {
			t.Errorf("nothing needed %s: the test does not see it, or the policy need not have it", needs)
		}
	}
}

// One object that the bucket does not let go of, as one that is locked, keeps none of the others.
func TestRemoveAroundALockedObject(t *testing.T) {
	t.Parallel()
	p := newProxy(t, fake(t))
	s := open(t, config(t, p.url))
	var ids []blobstore.CopyID
	for i := range 20 {
		ids = append(ids, blobstore.CopyID{byte(i)})
		must(t, s.Put(t.Context(), ids[i].String(), []byte("x")))
	}
	p.set(only(func(r *http.Request) bool {
		return r.Method == http.MethodDelete && strings.HasSuffix(r.URL.Path, ids[3].String())
	}, status(http.StatusForbidden, "AccessDenied")))
	err := s.RemoveCopies(t.Context(), ids...)
	if err == nil || errors.Is(err, blobstore.ErrUnreachable) || !strings.Contains(err.Error(), ids[3].String()) {
		t.Errorf("it is not said that a copy, and no more than that, is kept: %v", err)
	}
	nothingElse(t, s, 1)
	p.set(nil)
	must(t, s.RemoveCopies(t.Context(), ids...))
	nothingElse(t, s, 0)
}

// What a node that ends in the middle of its start has written to see how the bucket takes it is listed as a copy, for
// the sweeper to remove.
func TestProbeIsSwept(t *testing.T) {
	t.Parallel()
	p := newProxy(t, fake(t))
	c := config(t, p.url)
	s := open(t, c)
	p.set(only(func(r *http.Request) bool { return r.Method == http.MethodDelete }, resets))
	if err := attached(t, c); err == nil {
		t.Fatal("a bucket from which nothing can be removed is taken")
	}
	p.set(nil)
	names, err := s.Names(t.Context())
	must(t, err)
	if len(names) != 2 { // and the marker
		t.Fatalf("a start that has failed leaves %q", names)
	}
	for _, u := range uploadsOf(t, s) {
		must(t, s.RemoveUpload(t.Context(), u.ID))
	}
	sweep(t, s, blobstore.CopyID{})
	nothingElse(t, s, 0)
}

// An address that a client is sent to is good for as long as was asked, and says that what comes is bytes.
func TestRedirect(t *testing.T) {
	t.Parallel()
	s := open(t, config(t, fake(t)))
	b := storetest.Bytes(1, 1000)
	to, err := s.Redirect(t.Context(), storetest.Store(t, s, "u", b), 1200e9)
	must(t, err)
	u, err := url.Parse(to)
	must(t, err)
	if q := u.Query(); q.Get("X-Amz-Expires") != "1200" || q.Get("response-content-type") != "application/octet-stream" {
		t.Errorf("a client is sent to %s", to)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, to, http.NoBody)
	must(t, err)
	got, err := http.DefaultClient.Do(r)
	must(t, err)
	p, err := io.ReadAll(got.Body)
	must(t, errors.Join(err, got.Body.Close()))
	http.DefaultClient.CloseIdleConnections()
	if !bytes.Equal(p, b) {
		t.Errorf("%s: %d bytes came", got.Status, len(p))
	}
	if _, err := s.Redirect(t.Context(), blobstore.Blob{Digest: digest.FromString("x"), Size: 1}, 1e9); !errors.Is(err, blobstore.ErrCopyUnknown) {
		t.Errorf("sent elsewhere for what is not there: %v", err)
	}
}
