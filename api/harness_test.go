package api_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/memory"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// world is a registry over a state that is the whole cluster: what is proposed is the next entry.
type world struct {
	*api.Registry
	t     testing.TB
	state *fsm.State
	blobs *memory.Store
	*consistency
	*proposer
}

// consistency answers as it is told to.
type consistency struct {
	mu    sync.Mutex
	stale bool
	err   error
}

var errNoQuorum = errors.New("no quorum")

func (c *consistency) Read(context.Context) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stale, c.err
}

func (c *consistency) ReadIndex(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stale {
		return errNoQuorum
	}
	return c.err
}

func (c *consistency) NoQuorum() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stale
}

// set says what rounds give from now on.
func (c *consistency) set(stale bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stale, c.err = stale, err
}

// proposer applies each payload as an entry of its own, a second of state time after the one before.
type proposer struct {
	state *fsm.State

	mu       sync.Mutex
	sequence uint64
	lost     error // what a proposal gives although it was applied
	refusing error // what a proposal gives that is not applied
	seen     [][]byte
}

func (p *proposer) Propose(ctx context.Context, payload []byte) (entry.Result, error) {
	return p.Once().Propose(ctx, payload)
}

func (p *proposer) Once() fsm.Proposer {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sequence++
	return once{p, entry.RequestID{Incarnation: self(), Random: 1, Sequence: p.sequence, FirstTry: p.state.Position().Time}}
}

type once struct {
	*proposer
	id entry.RequestID
}

func (o once) Propose(_ context.Context, payload []byte) (entry.Result, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refusing != nil {
		return entry.Result{}, o.refusing
	}
	if err := o.state.Admit(payload); err != nil {
		return entry.Result{}, err
	}
	at := o.state.Position()
	result := o.state.Apply([]entry.Entry{{
		Index: at.Index + 1, Term: 1, Kind: entry.Command, Payload: payload,
		Envelope: entry.Envelope{Request: o.id, Term: 1, Time: at.Time.Add(time.Second), Date: 1},
	}})[0]
	o.seen = append(o.seen, payload)
	return result, o.lost
}

// pass lets state time pass.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	payload, err := fsm.Encode(fsm.TermStarted{})
	if err != nil {
		w.t.Fatal(err)
	}
	for end := w.state.Position().Time.Add(d); w.state.Position().Time < end; {
		at := w.state.Position()
		w.state.Apply([]entry.Entry{{
			Index: at.Index + 1, Term: 1, Kind: entry.Command, Payload: payload,
			Envelope: entry.Envelope{Term: 1, Time: min(end, at.Time.Add(2*w.state.Tick())), Date: 1},
		}})
	}
}

func self() entry.Incarnation { return entry.Incarnation{1} }

// single is a registry with one store.
type single struct{ store api.Store }

// only is the default store alone.
func only(blobs blobstore.Store, e api.Elsewhere) api.Stores {
	return single{store: api.Store{Name: fsm.DefaultStore, Blobs: blobs, Elsewhere: e}}
}

func (s single) Store(name string) (api.Store, bool) { return s.store, name == s.store.Name }

func (s single) Route(string) string { return s.store.Name }

// newWorld is an empty registry of one node.
func newWorld(t testing.TB) *world {
	t.Helper()
	state, err := fsm.Open(fsm.Config{Dir: t.TempDir(), Incarnation: self(), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	blobs, err := memory.New(memory.Config{Incarnation: blobstore.Incarnation(self()), Capacity: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, state: state, blobs: blobs, consistency: &consistency{}, proposer: &proposer{state: state}}
	propose(w, fsm.NodeStarted{Node: entry.Node{Incarnation: self(), Name: "zot-0", Address: "zot:7373", Level: 1}})
	propose(w, fsm.NodeJoined{Incarnation: self()})
	config := api.DefaultConfig()
	config.UploadKeys = [][]byte{[]byte("a key of tests, long enough")}
	w.Registry, err = api.New(config, api.Deps{Proposer: w.proposer, Consistency: w.consistency, State: state, Stores: only(blobs, nil)})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// propose applies a command that must be applied.
func propose[R any](w *world, cmd fsm.CommandOf[R]) {
	w.t.Helper()
	if _, err := fsm.Do(w.t.Context(), w.proposer, cmd); err != nil {
		w.t.Fatal(err)
	}
}

// call is one request. Header is lines of "Name: value".
type call struct {
	method, path string
	header       []string
	body         string
}

// do sends a request.
func (w *world) do(c call) *httptest.ResponseRecorder {
	w.t.Helper()
	return send(w.t, w, c)
}

func send(t testing.TB, h http.Handler, c call) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, strings.NewReader(c.body))
	for _, line := range c.header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, r)
	return answer
}

// must is do of a request that must have this status.
func (w *world) must(status int, c call) *httptest.ResponseRecorder {
	w.t.Helper()
	answer := w.do(c)
	if answer.Code != status {
		w.t.Fatalf("%s %s: %d %s, want %d", c.method, c.path, answer.Code, answer.Body, status)
	}
	return answer
}

// push uploads a blob and returns its digest.
func (w *world) push(repository, text string) string {
	w.t.Helper()
	d := digest.FromString(text).String()
	w.must(http.StatusCreated, call{method: http.MethodPost, path: "/v2/" + repository + "/blobs/uploads/?digest=" + d, body: text})
	return d
}

const (
	typeImage = "application/vnd.oci.image.manifest.v1+json"
	typeIndex = "application/vnd.oci.image.index.v1+json"
)

// image is a manifest that names a configuration of six bytes, and has this in addition.
func image(config, more string) string {
	return `{"schemaVersion":2,"mediaType":"` + typeImage + `","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` +
		config + `","size":6},"layers":[]` + more + `}`
}

// pushImage pushes an image with configuration "config" to a/b, under a tag or its digest, which it returns.
func (w *world) pushImage(reference, more string) string {
	w.t.Helper()
	const repository, text = "a/b", "config"
	body := image(w.push(repository, text), more)
	if reference == "" {
		reference = digest.FromString(body).String()
	}
	w.must(http.StatusCreated, call{
		method: http.MethodPut, path: "/v2/" + repository + "/manifests/" + reference, header: []string{"Content-Type: " + typeImage}, body: body,
	})
	return digest.FromString(body).String()
}

// lose makes proposals be applied and their outcome be lost; refuse has them not applied.
func (p *proposer) lose(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = err
}

func (p *proposer) refuse(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = err
}

// distinct counts the payloads of a command that were proposed, equal ones once.
func (p *proposer) distinct(command string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := map[string]bool{}
	for _, payload := range p.seen {
		if n := int(payload[0]); string(payload[1:1+n]) == command {
			found[string(payload)] = true
		}
	}
	return len(found)
}

// forgetUploads has the store lose all uploads, as a restart may.
func (w *world) forgetUploads() {
	w.t.Helper()
	for u, err := range w.blobs.Uploads(w.t.Context(), blobstore.UploadID{}) {
		if err == nil {
			err = w.blobs.RemoveUpload(w.t.Context(), u.ID)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// sendBroken sends a request whose body breaks off after some text, and returns the status.
func (w *world) sendBroken(method, path, text string) int {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), method, path, io.MultiReader(strings.NewReader(text), iotest.ErrReader(io.ErrUnexpectedEOF)))
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, r)
	return answer.Code
}

// packed is the digest of a text, as commands have it.
func packed(text string) fsm.Digest {
	d, err := fsm.Pack(digest.FromString(text))
	if err != nil {
		panic(err)
	}
	return d
}

// copyOf is the location of a blob's one copy.
func (w *world) copyOf(text string) (l fsm.Location) {
	w.t.Helper()
	err := w.state.View(func(v fsm.View) error {
		b, known := v.Blob(fsm.DefaultStore, packed(text))
		if !known || len(b.Copies) != 1 {
			w.t.Fatalf("blob %q has %d copies", text, len(b.Copies))
		}
		l = b.Copies[0].Location
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}
