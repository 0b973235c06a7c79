package api_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-16d79997/zot/api"
)

// A node that knows of no quorum turns pushes away where they begin, not when the client has sent a large layer.
func TestNoPushBeginsWithoutQuorum(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	layer := w.push("a/b", "layer")
	w.set(true, nil)
	for name, path := range map[string]string{
		"upload": "/v2/a/b/blobs/uploads/",
		"whole":  withDigest("/v2/a/b/blobs/uploads/", "new"),
		"mount":  "/v2/x/y/blobs/uploads/?mount=" + layer + "&from=a/b",
	} {
		t.Run(name, func(t *testing.T) { isUnavailable(t, w.do(call{method: http.MethodPost, path: path, body: "new"})) })
	}
	if w.distinct("blob-stored") != 1 || w.distinct("mount") != 0 {
		t.Error("something was proposed")
	}
	w.set(false, nil)
	w.must(http.StatusAccepted, call{method: http.MethodPost, path: "/v2/a/b/blobs/uploads/"})
}

// electing is a cluster that has no leader for a while. That there was none is known for ever.
type electing struct{ elected time.Time }

func (electing) NoQuorum() bool { return true }

func (e electing) Read(ctx context.Context) (bool, error) { return false, e.ReadIndex(ctx) }

func (e electing) ReadIndex(ctx context.Context) error {
	t := time.NewTimer(time.Until(e.elected))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A push that begins during an election is not turned away, nor one after it because of what was known before.
func TestPushBeginsDuringAnElection(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		election, answer time.Duration
		status           int
	}{{0, 0, 202}, {700 * time.Millisecond, 700 * time.Millisecond, 202}, {4 * time.Second, 4 * time.Second, 202}, {time.Hour, 5 * time.Second, 503}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			c := api.DefaultConfig()
			c.UploadKeys = [][]byte{[]byte("a key of tests, long enough")}
			var err error
			w.Registry, err = api.New(c, api.Deps{Proposer: w.proposer, Consistency: electing{time.Now().Add(test.election)}, State: w.state, Stores: only(w.blobs, nil)})
			if err != nil {
				t.Fatal(err)
			}
			expectTook(t, "an election of "+test.election.String(), took(func() {
				w.must(test.status, call{method: http.MethodPost, path: "/v2/a/b/blobs/uploads/"})
			}), test.answer)
		})
	}
}
