package api_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/blobstore"
)

// large is what makes a manifest a blob. Its subject is the image of digest subject, "" for none.
func large(subject string) string {
	more := `,"annotations":{"large":"` + strings.Repeat("x", 60<<10) + `"}`
	if subject != "" {
		more += `,"subject":{"mediaType":"` + typeImage + `","digest":"` + subject + `","size":2}`
	}
	return more
}

// A manifest that the state does not hold is read once, for all who ask for it at the same time or later.
func TestLargeManifestIsReadOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		subject := w.pushImage("v1", "")
		get := call{method: http.MethodGet, path: "/v2/a/b/manifests/" + w.pushImage("", large(subject))}
		want := image(digest.FromString("config").String(), large(subject))
		var opened atomic.Int64
		goes := make(chan struct{})
		w.over(func(ctx context.Context, b blobstore.Blob) (blobstore.Reader, error) {
			opened.Add(1)
			<-goes
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			return w.blobs.Open(ctx, b, 0, -1)
		})
		impatient, leave := context.WithCancel(t.Context())
		first := make(chan int)
		go func() {
			answer := httptest.NewRecorder()
			w.ServeHTTP(answer, httptest.NewRequestWithContext(impatient, get.method, get.path, http.NoBody))
			first <- answer.Code
		}()
		synctest.Wait() // it has begun to read
		answers := make(chan string)
		for range 8 {
			go func() { answers <- send(t, w, get).Body.String() }()
		}
		synctest.Wait()
		leave() // and the others get it all the same
		if status := <-first; status == http.StatusOK {
			t.Error("a client that has gone got an answer")
		}
		close(goes)
		for range 8 {
			if <-answers != want {
				t.Error("the body is another")
			}
		}
		w.must(http.StatusOK, get)
		var index v1.Index
		if err := json.Unmarshal(w.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/referrers/" + subject}).Body.Bytes(), &index); err != nil {
			t.Fatal(err)
		}
		if len(index.Manifests) != 1 || len(index.Manifests[0].Annotations["large"]) != 60<<10 {
			t.Errorf("%d referrers, or their annotations are missing", len(index.Manifests))
		}
		if n := opened.Load(); n != 1 {
			t.Errorf("it was read %d times", n)
		}
	})
}

// mistaken is a stream of other bytes than the blob's.
type mistaken struct{ io.Reader }

func (m mistaken) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, m.Reader) }

func (mistaken) Close() error { return nil }

// Neither bytes that are not the manifest's are kept, nor a panic, nor that it was not to be had.
func TestOnlyGoodBodiesAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	get := call{method: http.MethodGet, path: "/v2/a/b/manifests/" + w.pushImage("", large(""))}
	for name, test := range map[string]struct {
		open   func(context.Context, blobstore.Blob) (blobstore.Reader, error)
		status int
	}{
		"other bytes": {func(_ context.Context, b blobstore.Blob) (blobstore.Reader, error) {
			return mistaken{io.LimitReader(strings.NewReader(strings.Repeat("y", 1<<20)), b.Size)}, nil
		}, http.StatusServiceUnavailable},
		"panic":     {func(context.Context, blobstore.Blob) (blobstore.Reader, error) { panic("secret detail") }, http.StatusInternalServerError},
		"no holder": {func(context.Context, blobstore.Blob) (blobstore.Reader, error) { return nil, blobstore.ErrUnreachable }, http.StatusServiceUnavailable},
	} {
		opens := 0
		w.over(func(ctx context.Context, b blobstore.Blob) (blobstore.Reader, error) {
			if opens++; opens == 1 {
				return test.open(ctx, b)
			}
			return w.blobs.Open(ctx, b, 0, -1)
		})
		if answer := w.do(get); answer.Code != test.status || strings.Contains(answer.Body.String(), "secret") {
			t.Errorf("%s: %d %.200s", name, answer.Code, answer.Body)
		}
		w.must(http.StatusOK, get)
	}
}

// A manifest is sent also when there is no memory for it.
func TestLargeManifestWithoutMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.limited(func(c *api.Config) { c.ManifestMemory = 4<<20 + 1 })
	d := w.pushImage("", large(""))
	end := occupy(t, w, call{method: http.MethodPut, path: "/v2/a/b/manifests/v1", header: []string{"Content-Type: " + typeImage}, body: "{}"})
	if answer := w.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/manifests/" + d}); digest.FromString(answer.Body.String()).String() != d {
		t.Errorf("%d bytes", answer.Body.Len())
	}
	end()
}
