package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/memory"
)

// idle is how long the registry of these tests waits for a client.
const idle = 200 * time.Millisecond

// serve runs the registry of a world, over a store, until the test ends.
func (w *world) serve(store blobstore.Store) *httptest.Server {
	w.t.Helper()
	c := api.DefaultConfig()
	c.UploadKeys, c.Idle = [][]byte{[]byte("a key of tests, long enough")}, idle
	g, err := api.New(c, api.Deps{Proposer: w.proposer, Consistency: w.consistency, State: w.state, Stores: only(store, nil)})
	if err != nil {
		w.t.Fatal(err)
	}
	return listen(w.t, g)
}

// A client that sends nothing in the middle of a body is cut off; what it sent before is kept.
func TestSilentClientIsCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		server := w.serve(w.blobs)
		at := w.begin()
		_, answers := dial(t, server, "PATCH "+at+" HTTP/1.1\r\nHost: zot\r\nContent-Length: 100\r\n\r\nabc")
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("status %d", response.StatusCode)
		}
		if have := w.must(http.StatusNoContent, call{method: http.MethodGet, path: at}).Header().Get("Range"); have != "0-2" {
			t.Errorf("Range %q", have)
		}
	})
}

// A client is not waited for whose body nobody wants: the answer comes first, and the connection ends.
func TestSilentClientWithAnUnwantedBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, answers := dial(t, w.serve(w.blobs), "PATCH "+w.begin()+" HTTP/1.1\r\nHost: zot\r\nContent-Length: 100\r\nContent-Range: 5-104\r\n\r\nabc")
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusRequestedRangeNotSatisfiable {
			t.Errorf("status %d", response.StatusCode)
		}
	})
}

// slow is a store that takes long to verify.
type slow struct{ *memory.Store }

func (s slow) Finish(ctx context.Context, id blobstore.UploadID, d digest.Digest) (int64, error) {
	t := time.NewTimer(3 * idle)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	return s.Store.Finish(ctx, id, d)
}

// A client that waits for its answer is not one that sends nothing, and what comes next on its connection has
// its own time.
func TestWaitingClientIsNotCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		server := w.serve(slow{w.blobs})
		path := w.begin() + "?digest=" + digest.FromString("abc").String()
		c, answers := dial(t, server, "PUT "+path+" HTTP/1.1\r\nHost: zot\r\nContent-Length: 3\r\n\r\nabc")
		for range 2 {
			response, err := http.ReadResponse(answers, &http.Request{Method: http.MethodHead})
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode/100 != 2 {
				t.Errorf("status %d", response.StatusCode)
			}
			blob := "/v2/a/b/blobs/" + digest.FromString("abc").String()
			if _, err := fmt.Fprintf(c, "HEAD %s HTTP/1.1\r\nHost: zot\r\n\r\n", blob); err != nil {
				t.Fatal(err)
			}
		}
		w.expectBlob("abc")
	})
}

// A body of any length that keeps coming arrives.
func TestSlowClientIsNotCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		text := strings.Repeat("x", 8)
		path := w.begin() + "?digest=" + digest.FromString(text).String()
		c, answers := dial(t, w.serve(w.blobs), "PUT "+path+" HTTP/1.1\r\nHost: zot\r\nContent-Length: 8\r\n\r\n")
		pace := time.NewTicker(idle / 4)
		defer pace.Stop()
		for _, b := range []byte(text) {
			<-pace.C
			if _, err := c.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusCreated {
			t.Errorf("status %d", response.StatusCode)
		}
	})
}
