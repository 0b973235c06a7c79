package replicated_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/replicated"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

// direct takes requests to one handler, whoever they are for.
type direct struct{ http.Handler }

// RoundTrip answers at once.
func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w.Result(), nil
}

// TestStoresOfANode: two nodes have the stores "default" and "/a/b", and the first has "/a" alone. What is asked of one
// store is never answered by another, and a node without the store is as one that does not answer: a reader may not
// take it for one that has lost its copy.
func TestStoresOfANode(t *testing.T) {
	t.Parallel()
	names := []string{"default", "/a/b", "/a"}
	there := map[string]*replicated.Store{}
	blobs := map[string]blobstore.Blob{}
	var all []*replicated.Store
	for _, name := range names[:2] {
		s, err := replicated.New(replicated.Config{Name: name, Local: newMemory(t, blobstore.Incarnation{2}), Members: fixed{}, Transport: http.DefaultTransport})
		must(t, err)
		there[name], all = s, append(all, s)
		blobs[name] = storetest.Store(t, s, "u", []byte("bytes of "+name))
	}
	blobs["/a"] = blobs["/a/b"]
	for _, name := range names {
		s, err := replicated.New(replicated.Config{Name: name, Local: newMemory(t, blobstore.Incarnation{1}), Members: pair{}, Transport: direct{replicated.Handler(all...)}})
		must(t, err)
		for of, b := range blobs {
			want := blobstore.ErrCopyUnknown
			switch {
			case there[name] == nil:
				want = blobstore.ErrUnreachable
			case of == name || of == "/a" && name == "/a/b":
				want = nil
			}
			r, err := s.Open(t.Context(), b, 0, -1)
			if err == nil {
				must(t, r.Close())
			}
			if !errors.Is(err, want) || err != nil && errors.Is(err, blobstore.ErrCopyUnknown) != errors.Is(want, blobstore.ErrCopyUnknown) {
				t.Errorf("blob of %s read in %s: %v, want %v", of, name, err, want)
			}
		}
		s.Poll(t.Context())
		if got, want := s.Reachable(blobstore.Incarnation{2}), there[name] != nil; got != want {
			t.Errorf("store %s of the other node reachable %t, want %t", name, got, want)
		}
	}
}
