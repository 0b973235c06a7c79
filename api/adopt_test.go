package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/storetest"
	"github.com/seed-16d79997/zot/fsm"
)

// hints is another cluster that has what a test says.
type hints struct {
	t         *testing.T
	to        blobstore.Store
	has       map[string]string // by digest
	err       error
	meanwhile func() // nil: nothing happens while a copy is made

	asked  int
	stored []blobstore.Blob
}

func (h *hints) Stored(b blobstore.Blob) {
	h.stored = append(h.stored, b)
}

func (h *hints) Adopt(_ context.Context, d digest.Digest) (blobstore.Blob, error) {
	h.asked++
	content, ok := h.has[d.String()]
	if !ok || h.err != nil {
		return blobstore.Blob{}, errors.Join(blobstore.ErrCopyUnknown, h.err)
	}
	b := storetest.Store(h.t, h.to, fmt.Sprint("adopted ", h.asked), []byte(content)) //nolint:contextcheck // it is the test's
	if h.meanwhile != nil {
		h.meanwhile()
	}
	return b, nil
}

func newHinted(t *testing.T, gate *auth.Gate) (*world, *hints) {
	t.Helper()
	w := newWorld(t)
	h := &hints{t: t, to: w.blobs, has: map[string]string{}}
	config := api.DefaultConfig()
	config.UploadKeys = [][]byte{[]byte("a key of tests, long enough")}
	registry, err := api.New(config, api.Deps{
		Proposer: w.proposer, Consistency: w.consistency, State: w.state, Gate: func() *auth.Gate { return gate },
		Stores: single{api.Store{Name: fsm.DefaultStore, Blobs: w.blobs, Hints: h}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Registry = registry
	return w, h
}

func mounts(d string) call {
	return call{method: http.MethodPost, path: "/v2/a/b/blobs/uploads/?from=x/y&mount=" + d}
}

// A mount that finds no source here is one of what another cluster has, once.
func TestAdopt(t *testing.T) {
	t.Parallel()
	w, h := newHinted(t, nil)
	d := digest.FromString("layer").String()
	w.must(http.StatusAccepted, mounts(d))
	h.has[d] = "layer"
	r := w.must(http.StatusCreated, mounts(d))
	if r.Header().Get("Location") != "/v2/a/b/blobs/"+d || r.Header().Get("Docker-Content-Digest") != d {
		t.Errorf("%v", r.Header())
	}
	if body := w.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/blobs/" + d}).Body.String(); body != "layer" {
		t.Errorf("%q came", body)
	}
	if len(h.stored) != 1 || h.stored[0].Digest.String() != d || h.stored[0].Size != 5 || len(h.stored[0].Locations) != 1 {
		t.Errorf("others are told of %+v", h.stored)
	}
	asked := h.asked
	w.must(http.StatusAccepted, mounts(d)) // it is there; from where it was to come it did not
	w.must(http.StatusCreated, call{method: http.MethodPost, path: "/v2/c/d/blobs/uploads/?from=a/b&mount=" + d})
	w.must(http.StatusNotFound, call{method: http.MethodHead, path: "/v2/e/f/blobs/" + d})
	if h.asked != asked {
		t.Errorf("others are asked for what is here: %d times, and %d before", h.asked, asked)
	}
	w.must(http.StatusBadRequest, mounts("sha256:x"))
}

// Others are told of what was uploaded, when it is recorded.
func TestStoredIsTold(t *testing.T) {
	t.Parallel()
	w, h := newHinted(t, nil)
	d := w.push("a/b", "layer")
	if len(h.stored) != 1 || h.stored[0].Digest.String() != d || len(h.stored[0].Locations) != 1 {
		t.Errorf("told is %+v", h.stored)
	}
	w.refuse(errNoQuorum)
	w.must(http.StatusServiceUnavailable, call{
		method: http.MethodPost, path: "/v2/a/b/blobs/uploads/?digest=" + digest.FromString("other").String(), body: "other",
	})
	if len(h.stored) != 1 {
		t.Errorf("told is what was not recorded: %+v", h.stored)
	}
}

// Others are told only of what everybody may read, whoever has pushed it.
func TestOnlyWhatIsPublicIsTold(t *testing.T) {
	t.Parallel()
	rules := func(patterns map[string]access.Repository) *access.Rules {
		return compiled(t, access.Config{Repositories: patterns})
	}
	anybody, named := access.Repository{Anonymous: everything, Default: everything}, access.Repository{Default: everything}
	pusher := []auth.Method{passwords{"pusher": nil}}
	for name, test := range map[string]struct {
		gate auth.Config
		told bool
	}{
		"no rules":                   {auth.Config{}, true},
		"no rules, and a password":   {auth.Config{Methods: pusher}, false},
		"anybody":                    {auth.Config{Rules: rules(map[string]access.Repository{"**": anybody})}, true},
		"anybody, and a password":    {auth.Config{Rules: rules(map[string]access.Repository{"**": anybody}), Methods: pusher}, true},
		"anybody, elsewhere":         {auth.Config{Rules: rules(map[string]access.Repository{"**": anybody, "a/b": named}), Methods: pusher}, false},
		"those with a name":          {auth.Config{Rules: rules(map[string]access.Repository{"**": named}), Methods: pusher}, false},
		"anybody may push, not read": {auth.Config{Rules: rules(map[string]access.Repository{"**": {Anonymous: access.Create}})}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, h := newHinted(t, auth.New(test.gate))
			who := ""
			if len(test.gate.Methods) > 0 {
				who = "pusher"
			}
			w.must(http.StatusCreated, call{
				method: http.MethodPost, path: "/v2/a/b/blobs/uploads/?digest=" + digest.FromString("layer").String(), body: "layer", header: []string{as(who)},
			})
			if told := len(h.stored) == 1; told != test.told {
				t.Errorf("others are told of %+v", h.stored)
			}
		})
	}
}

// What cannot be adopted is uploaded; what is not decided is to be asked for again, and becomes another copy.
func TestAdoptFails(t *testing.T) {
	t.Parallel()
	w, h := newHinted(t, nil)
	d := digest.FromString("layer").String()
	h.has[d] = "layer"
	h.err = errors.New("the bucket is away")
	w.must(http.StatusAccepted, mounts(d))
	h.err = nil
	h.meanwhile = func() { w.pass(time.Hour) } // it took so long that the sweeper may have found the copy (GC R10)
	at := w.must(http.StatusAccepted, mounts(d)).Header().Get("Location")
	w.must(http.StatusNotFound, call{method: http.MethodHead, path: "/v2/a/b/blobs/" + d})
	h.meanwhile = nil
	w.lose(errNoQuorum)
	w.must(http.StatusServiceUnavailable, mounts(d))
	w.lose(nil)
	if len(h.stored) != 0 {
		t.Errorf("told is %+v", h.stored)
	}
	w.must(http.StatusCreated, call{method: http.MethodPut, path: withDigest(at, "layer"), body: "layer"})
	if !strings.Contains(at, "/v2/a/b/blobs/uploads/") {
		t.Errorf("the upload is at %s", at)
	}
}
