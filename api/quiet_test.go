package api_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

// silence is how long the registries of these tests may let a client wait.
const silence = 50 * time.Millisecond

// thoughtful is a store that takes its time for one of its works.
type thoughtful struct {
	blobstore.Store
	finish, create time.Duration
}

func (s *thoughtful) Finish(ctx context.Context, id blobstore.UploadID, d digest.Digest) (int64, error) {
	if err := think(ctx, s.finish); err != nil {
		return 0, err
	}
	return s.Store.Finish(ctx, id, d)
}

func (s *thoughtful) Publish(ctx context.Context, id blobstore.UploadID) ([]blobstore.Location, error) {
	if err := think(ctx, s.create); err != nil {
		return nil, err
	}
	return s.Store.Publish(ctx, id)
}

func think(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// statuses reads the answers to one request: those that are not the last, and the last.
func statuses(t *testing.T, answers *bufio.Reader) (all []int) {
	t.Helper()
	for {
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		all = append(all, response.StatusCode)
		if response.StatusCode >= http.StatusOK {
			return all
		}
	}
}

// A client hears of a push that takes long, four times at most, also through another node. One that speaks an
// older HTTP is not told what it cannot understand.
func TestLongWorkIsNotSilent(t *testing.T) {
	t.Parallel()
	manifest := image(digest.FromString("config").String(), `,"annotations":{"large":"`+strings.Repeat("x", 60<<10)+`"}`)
	for name, test := range map[string]struct {
		request        string // %s stands for the Location of an upload
		body           string
		finish, create time.Duration
		signs          bool
		through        int // the node that is asked; node 0 owns the upload
	}{
		"verify":               {request: "PUT %s HTTP/1.1", body: "config", finish: 10 * silence, signs: true},
		"publish":              {request: "PUT %s HTTP/1.1", body: "config", create: 10 * silence, signs: true},
		"through another node": {request: "PUT %s HTTP/1.1", body: "config", finish: 10 * silence, signs: true, through: 1},
		"large manifest":       {request: "PUT /v2/a/b/manifests/v1 HTTP/1.1", body: manifest, finish: 10 * silence, signs: true},
		"old HTTP":             {request: "PUT %s HTTP/1.0", body: "config", finish: 4 * silence},
		"soon":                 {request: "PUT %s HTTP/1.1", body: "config"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var stores []*thoughtful
				c := join(t, func(n *node) {
					s := &thoughtful{Store: n.store}
					n.store, stores = s, append(stores, s)
					n.config.Silence = silence
				}).serve()
				c.nodes[0].push("config")
				stores[0].finish, stores[0].create = test.finish, test.create
				at := c.nodes[0].must(http.StatusNoContent, call{method: http.MethodGet, path: c.nodes[0].begin()}).Header().Get("Location")
				server := listen(t, c.nodes[test.through])
				line := strings.Replace(test.request, "%s", withDigest(at, "config"), 1)
				_, answers := dial(t, server, fmt.Sprintf("%s\r\nHost: zot\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", line, typeImage, len(test.body), test.body))
				all := statuses(t, answers)
				if last := all[len(all)-1]; last != http.StatusCreated {
					t.Fatalf("statuses %v", all)
				}
				if want := map[bool]int{true: 4}[test.signs]; len(all) != want+1 {
					t.Errorf("statuses %v", all)
				}
				for _, status := range all[:len(all)-1] {
					if status != http.StatusProcessing {
						t.Errorf("statuses %v", all)
					}
				}
			})
		})
	}
}

// confused is a store that panics.
type confused struct{ blobstore.Store }

func (confused) Finish(context.Context, blobstore.UploadID, digest.Digest) (int64, error) {
	panic("secret detail")
}

// A panic in work that goes on beside a request ends that request alone.
func TestPanicInLongWork(t *testing.T) {
	t.Parallel()
	c := join(t, func(n *node) { n.store = confused{n.store} }).serve()
	answer := c.nodes[0].must(http.StatusInternalServerError, call{method: http.MethodPost, path: withDigest("/v2/a/b/blobs/uploads/", "x"), body: "x"})
	if strings.Contains(answer.Body.String(), "secret") {
		t.Errorf("%s", answer.Body)
	}
}
