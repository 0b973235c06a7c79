package api_test

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

// client is one upload, by a client that does what the specification says and whose requests go anywhere.
type client struct {
	t      *testing.T
	c      *members
	stores []*scarce
	at     string // the newest Location
	taken  string // what the registry has said to have
}

// A client may do what it likes in any order, at any node: it is told how much of its upload is there, and a blob of
// just that comes of it.
func TestUploadsOverNodesInAnyOrder(t *testing.T) {
	t.Parallel()
	var stores []*scarce
	c := join(t, func(n *node) {
		s := &scarce{Store: n.store}
		n.store, stores = s, append(stores, s)
	})
	for seed := range uint64(40) {
		t.Log("seed", seed)
		chance := rand.New(rand.NewPCG(seed, 0))
		pick := func() *node { return c.nodes[chance.IntN(3)] }
		o := &client{t: t, c: c, stores: stores, at: pick().begin()}
		for range chance.IntN(8) {
			o.step(pick(), chance.IntN(6))
		}
		text := o.taken + "end" + itoa(int(seed))
		put := call{method: http.MethodPut, path: withDigest(o.at, text), body: text[len(o.taken):]}
		for range chance.IntN(3) {
			o.scarcity(blobstore.ErrTooFewCopies)
			isUnavailable(t, pick().do(put))
			o.scarcity(nil)
			if chance.IntN(2) == 0 {
				pick().restart()
			}
		}
		pick().must(http.StatusCreated, put)
		c.expectBlob(text)
	}
}

// scarcity makes each Finish fail, or none.
func (o *client) scarcity(err error) {
	for _, s := range o.stores {
		if err == nil {
			s.fault.Store(nil)
		} else {
			s.fault.Store(&err)
		}
	}
}

// step is one request to a node.
func (o *client) step(n *node, what int) {
	o.t.Helper()
	end := len(o.taken)
	switch chunk := "chunk" + itoa(end); what {
	case 0:
		o.follow(n.must(http.StatusAccepted, call{method: http.MethodPatch, path: o.at, body: chunk}), chunk)
	case 1:
		ranges := "Content-Range: " + itoa(end) + "-" + itoa(end+len(chunk)-1)
		o.follow(n.must(http.StatusAccepted, call{method: http.MethodPatch, path: o.at, header: []string{ranges}, body: chunk}), chunk)
	case 2:
		ranges := "Content-Range: " + itoa(end+7) + "-" + itoa(end+6+len(chunk))
		o.follow(n.must(http.StatusRequestedRangeNotSatisfiable, call{method: http.MethodPatch, path: o.at, header: []string{ranges}, body: chunk}), "")
	case 3:
		o.follow(n.must(http.StatusNoContent, call{method: http.MethodGet, path: o.at}), "")
	case 4:
		n.restart()
	case 5: // what was there is not a blob of this digest
		n.must(http.StatusBadRequest, call{method: http.MethodPut, path: o.at + "?digest=" + digest.FromString("other").String()})
	}
}

// follow takes a new Location, and compares what it is told with what it has sent.
func (o *client) follow(answer *httptest.ResponseRecorder, chunk string) {
	o.t.Helper()
	o.at = answer.Header().Get("Location")
	o.taken += chunk
	want := "0-" + itoa(max(0, len(o.taken)-1))
	if have := answer.Header().Get("Range"); have != want {
		o.t.Errorf("Range %q, want %q", have, want)
	}
	if !strings.HasPrefix(o.at, "/v2/a/b/blobs/uploads/") {
		o.t.Fatalf("Location %q", o.at)
	}
}
