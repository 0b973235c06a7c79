package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// quota is a SetLimits with one quota.
func quota(prefix string, bytes int64) fsm.SetLimits {
	return fsm.SetLimits{Limits: fsm.Limits{Quotas: []fsm.Quota{{Prefix: prefix, Bytes: bytes}}}}
}

// tells fails the test unless an answer has a status, and its body a code and some words.
func tells(t *testing.T, answer *httptest.ResponseRecorder, status int, code string, words ...string) {
	t.Helper()
	text := answer.Body.String()
	if answer.Code != status || !strings.Contains(text, `"code":"`+code+`"`) {
		t.Errorf("%d %s, want %d %s", answer.Code, text, status, code)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s does not say %q", text, w)
		}
	}
}

// sendUnread sends a request that must be answered before its body, which says how long it is, is read.
func sendUnread(t *testing.T, h http.Handler, c call) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, unread{t})
	r.ContentLength = int64(len(c.body))
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, r)
	return answer
}

// nothingLeft fails the test if an upload has bytes, a blob of this text is recorded, or there are more copies than so
// many.
func (w *world) nothingLeft(text string, copies int) {
	w.t.Helper()
	for id, err := range w.blobs.Copies(w.t.Context(), blobstore.CopyID{}) {
		if copies--; err != nil || copies < 0 {
			w.t.Errorf("copy %s is left, %v", id, err)
		}
	}
	for u, err := range w.blobs.Uploads(w.t.Context(), blobstore.UploadID{}) {
		if err != nil || u.Offset > 0 && !u.Ended {
			w.t.Errorf("upload %+v is left, %v", u, err)
		}
	}
	if err := w.state.View(func(v fsm.View) error {
		if _, known := v.Blob(fsm.DefaultStore, packed(text)); known {
			w.t.Errorf("%q is recorded", text)
		}
		return nil
	}); err != nil {
		w.t.Error(err)
	}
}

// While the registry is read-only whoever would change it is told so and why, before any bytes are taken.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	image := w.pushImage("1", "")
	loose := w.push("a/b", "loose blob")
	started := w.must(http.StatusAccepted, call{method: http.MethodPost, path: "/v2/a/b/blobs/uploads/"}).Header().Get("Location")
	propose(w, fsm.SetReadOnly{On: true, Reason: "the disks are changed"})
	proposed := len(w.seen)
	for name, c := range map[string]call{
		"an upload begins": {method: http.MethodPost, path: "/v2/a/b/blobs/uploads/"},
		"... goes on":      {method: http.MethodPatch, path: started, body: "bytes"},
		"... ends":         {method: http.MethodPut, path: withDigest(started, "bytes"), body: "bytes"},
		"a whole blob":     {method: http.MethodPost, path: withDigest("/v2/a/b/blobs/uploads/", "bytes"), body: "bytes"},
		"a mount":          {method: http.MethodPost, path: "/v2/x/blobs/uploads/?mount=" + loose + "&from=a/b"},
		"a manifest":       {method: http.MethodPut, path: "/v2/a/b/manifests/2", body: "{}"},
	} {
		t.Run(name, func(t *testing.T) {
			tells(t, sendUnread(t, w, c), http.StatusMethodNotAllowed, "UNSUPPORTED", "registry is read-only: the disks are changed")
		})
	}
	if len(w.seen) != proposed {
		t.Error("something was proposed")
	}
	for name, path := range map[string]string{
		"a tag": "/v2/a/b/manifests/1", "a manifest": "/v2/a/b/manifests/" + image, "a blob": "/v2/a/b/blobs/" + loose,
	} {
		t.Run("delete "+name, func(t *testing.T) {
			tells(t, w.do(call{method: http.MethodDelete, path: path}), http.StatusMethodNotAllowed, "UNSUPPORTED", "the disks are changed")
		})
	}
	w.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/manifests/1"})
	w.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/blobs/" + loose})
	w.pass(50 * time.Minute)
	w.must(http.StatusOK, call{method: http.MethodHead, path: "/v2/a/b/blobs/" + loose})
	if w.distinct("renew-lease") != 1 {
		t.Error("the lease was not renewed")
	}
	propose(w, fsm.SetReadOnly{})
	w.must(http.StatusCreated, call{method: http.MethodPut, path: withDigest(started, "bytes"), body: "bytes"})
}

// Who pushed before and has lost the answer gets it all the same.
func TestReadOnlyAnswersWhatWasTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	location := w.must(http.StatusAccepted, call{method: http.MethodPost, path: "/v2/a/b/blobs/uploads/"}).Header().Get("Location")
	put := call{method: http.MethodPut, path: withDigest(location, "layer"), body: "layer"}
	w.lose(fsm.ErrOutcomeUnknown)
	w.must(http.StatusServiceUnavailable, put)
	w.lose(nil)
	propose(w, fsm.SetReadOnly{On: true})
	w.must(http.StatusCreated, put)
}

// What does not fit is refused with how much there is, and nothing of it is left.
func TestQuota(t *testing.T) {
	t.Parallel()
	const text = "ten bytes!"
	words := []string{"quota exceeded: the quota of team is 15 bytes, 6 bytes of it are used, and this needs 10 bytes more"}
	begin := func(w *world) string {
		return w.must(http.StatusAccepted, call{method: http.MethodPost, path: "/v2/team/app/blobs/uploads/"}).Header().Get("Location")
	}
	for name, push := range map[string]func(w *world) *httptest.ResponseRecorder{
		"a chunk": func(w *world) *httptest.ResponseRecorder {
			return sendUnread(t, w, call{method: http.MethodPatch, path: begin(w), body: text})
		},
		"a second chunk": func(w *world) *httptest.ResponseRecorder {
			next := w.must(http.StatusAccepted, call{method: http.MethodPatch, path: begin(w), body: text[:5]}).Header().Get("Location")
			return sendUnread(t, w, call{method: http.MethodPatch, path: next, body: text[5:]})
		},
		"the end": func(w *world) *httptest.ResponseRecorder {
			return sendUnread(t, w, call{method: http.MethodPut, path: withDigest(begin(w), text), body: text})
		},
		"the end after a chunk": func(w *world) *httptest.ResponseRecorder {
			next := w.must(http.StatusAccepted, call{method: http.MethodPatch, path: begin(w), body: text[:5]}).Header().Get("Location")
			return sendUnread(t, w, call{method: http.MethodPut, path: withDigest(next, text), body: text[5:]})
		},
		"all at once": func(w *world) *httptest.ResponseRecorder {
			return sendUnread(t, w, call{method: http.MethodPost, path: withDigest("/v2/team/app/blobs/uploads/", text), body: text})
		},
		"of unknown length": func(w *world) *httptest.ResponseRecorder {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPut, withDigest(begin(w), text), io.MultiReader(strings.NewReader(text)))
			answer := httptest.NewRecorder()
			w.ServeHTTP(answer, r)
			return answer
		},
		"a mount": func(w *world) *httptest.ResponseRecorder {
			w.push("other", text)
			answer := w.do(call{method: http.MethodPost, path: "/v2/team/app/blobs/uploads/?mount=" + digest.FromString(text).String() + "&from=other"})
			return answer
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.push("team/app", "config")
			propose(w, quota("team", 15))
			tells(t, push(w), http.StatusForbidden, "DENIED", words...)
			if name != "a mount" {
				w.nothingLeft(text, 1)
			}
			w.push("team/app", "123456789") // this fits
			w.push("team/app", "config")    // and this is there
			w.push("beside", text)
			tells(t, w.do(call{method: http.MethodPost, path: "/v2/team/app/blobs/uploads/"}), http.StatusForbidden, "DENIED", "15 bytes of it are used")
		})
	}
}

func TestQuotaOfManifests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pushImage("1", "")
	propose(w, quota("a", 400))
	body := image(digest.FromString("config").String(), `,"annotations":{"x":"`+strings.Repeat("x", 200)+`"}`)
	put := func(tag, body string) *httptest.ResponseRecorder {
		return w.do(call{method: http.MethodPut, path: "/v2/a/b/manifests/" + tag, header: []string{"Content-Type: " + typeImage}, body: body})
	}
	tells(t, put("2", body), http.StatusForbidden, "DENIED", "quota of a is 400 bytes")
	if answer := put("2", image(digest.FromString("config").String(), "")); answer.Code != http.StatusCreated {
		t.Errorf("a tag of what is there: %d %s", answer.Code, answer.Body)
	}
	large := image(digest.FromString("config").String(), `,"annotations":{"x":"`+strings.Repeat("x", 50<<10)+`"}`)
	tells(t, put("3", large), http.StatusForbidden, "DENIED", "quota of a is 400 bytes")
	w.nothingLeft(large, 1)
}

// A push heals, whatever is full.
func TestQuotaLetsAPushHeal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.push("a/b", "layer")
	propose(w, quota("", 1))
	propose(w, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: packed("layer"), Location: w.copyOf("layer")})
	w.must(http.StatusNotFound, call{method: http.MethodHead, path: "/v2/a/b/blobs/" + d})
	location := w.must(http.StatusAccepted, call{method: http.MethodPost, path: "/v2/a/b/blobs/uploads/"}).Header().Get("Location")
	location = w.must(http.StatusAccepted, call{method: http.MethodPatch, path: location, body: "layer"}).Header().Get("Location")
	w.must(http.StatusCreated, call{method: http.MethodPut, path: withDigest(location, "layer")})
	w.must(http.StatusOK, call{method: http.MethodHead, path: "/v2/a/b/blobs/" + d})
	w.must(http.StatusForbidden, call{method: http.MethodPost, path: "/v2/a/b/blobs/uploads/"})
}

// measured counts what it takes.
type measured struct {
	blobstore.Store
	taken atomic.Int64
}

func (m *measured) Append(ctx context.Context, id blobstore.UploadID, offset int64, r io.Reader, at blobstore.Time) (int64, error) {
	end, err := m.Store.Append(ctx, id, offset, r, at)
	m.taken.Add(end - max(0, offset))
	return end, err
}

// A body that does not say how long it is is read to its end, so that its client reads why, but not stored.
func TestQuotaOfABodyOfUnknownLength(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := api.DefaultConfig()
	c.UploadKeys = [][]byte{[]byte("a key of tests, long enough")}
	store := &measured{Store: w.blobs}
	var err error
	if w.Registry, err = api.New(c, api.Deps{Proposer: w.proposer, Consistency: w.consistency, State: w.state, Stores: only(store, nil)}); err != nil {
		t.Fatal(err)
	}
	propose(w, quota("", 1<<20))
	location := w.must(http.StatusAccepted, call{method: http.MethodPost, path: "/v2/a/b/blobs/uploads/"}).Header().Get("Location")
	rest := bytes.NewReader(make([]byte, 200<<20))
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodPatch, location, io.MultiReader(rest)))
	tells(t, answer, http.StatusForbidden, "DENIED", "quota of the whole registry is 1 MiB")
	if taken := store.taken.Load(); rest.Len() > 0 || taken > 65<<20 {
		t.Errorf("%d bytes were stored, and %d not read", taken, rest.Len())
	}
	w.nothingLeft("", 0)
	w.must(http.StatusNotFound, call{method: http.MethodPatch, path: location, body: "more"})
}

func TestMaxRepositories(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.push("a", "layer")
	propose(w, fsm.SetLimits{Limits: fsm.Limits{MaxRepositories: 1}})
	for name, c := range map[string]call{
		"an upload": {method: http.MethodPost, path: "/v2/b/blobs/uploads/"},
		"a blob":    {method: http.MethodPost, path: withDigest("/v2/b/blobs/uploads/", "x"), body: "x"},
		"a mount":   {method: http.MethodPost, path: "/v2/b/blobs/uploads/?mount=" + d + "&from=a"},
		"an index": {
			method: http.MethodPut, path: "/v2/b/manifests/1", header: []string{"Content-Type: " + typeIndex},
			body: `{"schemaVersion":2,"mediaType":"` + typeIndex + `","manifests":[]}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			answer := w.do(c)
			tells(t, answer, http.StatusTooManyRequests, "TOOMANYREQUESTS", "the registry has 1 repositories and may have 1: b cannot be made")
			if after := answer.Header().Get("Retry-After"); after != "" {
				t.Errorf("is told to come again after %s s", after)
			}
		})
	}
	w.push("a", "another layer")
}

// catching is a node that lags until a round.
type catching struct {
	*consistency
	catchUp func()
}

func (c catching) ReadIndex(ctx context.Context) error {
	c.catchUp()
	return c.consistency.ReadIndex(ctx)
}

// A node that lags behind refuses nobody for what is over.
func TestNobodyIsRefusedByAnOldState(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]func(w *world){
		"read-only":    func(w *world) { propose(w, fsm.SetReadOnly{On: true}) },
		"a quota":      func(w *world) { propose(w, quota("", 1)) },
		"repositories": func(w *world) { propose(w, fsm.SetLimits{Limits: fsm.Limits{MaxRepositories: 1}}) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.push("there", "x")
			limit(w)
			c := api.DefaultConfig()
			c.UploadKeys = [][]byte{[]byte("a key of tests, long enough")}
			rounds := catching{w.consistency, func() { propose(w, fsm.SetReadOnly{}); propose(w, fsm.SetLimits{}) }}
			var err error
			if w.Registry, err = api.New(c, api.Deps{Proposer: w.proposer, Consistency: rounds, State: w.state, Stores: only(w.blobs, nil)}); err != nil {
				t.Fatal(err)
			}
			w.must(http.StatusAccepted, call{method: http.MethodPost, path: "/v2/a/b/blobs/uploads/"})
		})
	}
}

// meeting is a store that gives copies their names only when so many pushes are at it, so that each was judged before
// any is proposed.
type meeting struct {
	blobstore.Store
	all *sync.WaitGroup
}

func (m meeting) Publish(ctx context.Context, id blobstore.UploadID) ([]blobstore.Location, error) {
	l, err := m.Store.Publish(ctx, id)
	m.all.Done()
	m.all.Wait()
	return l, err
}

// Pushes through different nodes at once that each fit, but not together: the log takes exactly one.
func TestRacingPushesCannotPassALimit(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		limits fsm.Limits
		status int
	}{
		"quota":        {fsm.Limits{Quotas: []fsm.Quota{{Prefix: "team", Bytes: 14}}}, http.StatusForbidden},
		"repositories": {fsm.Limits{MaxRepositories: 1}, http.StatusTooManyRequests},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all sync.WaitGroup
			all.Add(3)
			c := join(t, func(n *node) { n.store = meeting{n.store, &all} })
			order(c, fsm.SetLimits{Limits: test.limits})
			answers := make([]*httptest.ResponseRecorder, 3)
			var pushes sync.WaitGroup
			for i, n := range c.nodes {
				pushes.Go(func() {
					text := fmt.Sprintf("layer %d", i)
					answers[i] = send(t, n, call{method: http.MethodPost, path: withDigest(fmt.Sprintf("/v2/team/app%d/blobs/uploads/", i), text), body: text})
				})
			}
			pushes.Wait()
			if name == "quota" { // seven bytes each: two fit
				count(t, answers, map[int]int{http.StatusCreated: 2, test.status: 1})
			} else {
				count(t, answers, map[int]int{http.StatusCreated: 1, test.status: 2})
			}
			for _, n := range c.nodes {
				n.sound(t)
			}
		})
	}
}

// count compares how many answers have which status.
func count(t *testing.T, answers []*httptest.ResponseRecorder, want map[int]int) {
	t.Helper()
	have := map[int]int{}
	for _, a := range answers {
		have[a.Code]++
	}
	if fmt.Sprint(have) != fmt.Sprint(want) {
		t.Errorf("%v, want %v: %s %s %s", have, want, answers[0].Body, answers[1].Body, answers[2].Body)
	}
}

// sound fails the test if a node's state breaks an invariant.
func (n *node) sound(t *testing.T) {
	t.Helper()
	err := n.state.View(func(v fsm.View) error {
		var all []error
		for _, line := range v.Check() {
			all = append(all, errors.New(line))
		}
		return errors.Join(all...)
	})
	if err != nil {
		t.Error(err)
	}
}
