package api_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/memory"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// members is several registries with one log. Node 0 leads: it applies what is proposed at once, the others
// unless they are told to lag behind.
type members struct {
	t     testing.TB
	nodes []*node

	mu       sync.Mutex
	log      []entry.Entry
	sequence uint64
	lost     error // what a proposal gives although it was applied
}

// node is one registry, with a state and a store of its own.
type node struct {
	*api.Registry
	c      *members
	self   entry.Incarnation
	state  *fsm.State
	blobs  *memory.Store
	store  blobstore.Store // what the registry uses; over blobs
	config api.Config
	gate   func() *auth.Gate // nil: everybody may do everything
	served *httptest.Server  // answers what the others forward; nil if they call Forwarded as a function
	hangs  atomic.Bool       // it takes what the others forward, and says nothing
	sent   atomic.Int64      // how many requests it has forwarded
	asked  atomic.Int64      // how often it has asked for an upload
	pulls  tally

	// Guarded by members.mu.
	applied int
	lags    bool
	caught  chan struct{} // is closed when the node has applied all
	down    bool
	silent  time.Duration // for how long, as the others know it
	alone   bool          // no quorum, as this node sees it
}

// option changes a node before its registry is made.
type option func(n *node)

// join makes a cluster of three.
func join(t testing.TB, options ...option) *members {
	t.Helper()
	c := &members{t: t}
	for i := range 3 {
		c.nodes = append(c.nodes, c.open(entry.Incarnation{byte(i + 1)}))
	}
	for _, n := range c.nodes {
		name := "zot-" + itoa(int(n.self[0])-1)
		order(c, fsm.NodeStarted{Node: entry.Node{Incarnation: n.self, Name: name, Address: name + ":7373", Level: 1}})
		order(c, fsm.NodeJoined{Incarnation: n.self})
	}
	order(c, fsm.SetStore{Name: fsm.DefaultStore, GCDelay: time.Hour, Replicas: 1, WriteAcks: 1})
	for _, n := range c.nodes {
		for _, o := range options {
			o(n)
		}
		n.restart()
	}
	return c
}

// serve has the nodes forward over HTTP.
func (c *members) serve() *members {
	for _, n := range c.nodes {
		n.served = listen(c.t, http.HandlerFunc(n.forwarded))
	}
	return c
}

func (c *members) open(self entry.Incarnation) *node {
	c.t.Helper()
	n := &node{c: c, self: self, caught: make(chan struct{}), config: api.DefaultConfig()}
	close(n.caught)
	n.config.UploadKeys = [][]byte{[]byte("a key of tests, long enough")}
	var err error
	if n.state, err = fsm.Open(fsm.Config{Dir: c.t.TempDir(), Incarnation: self, NoSync: true}); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = n.state.Close() })
	if n.blobs, err = memory.New(memory.Config{Incarnation: blobstore.Incarnation(self), Capacity: 1 << 30}); err != nil {
		c.t.Fatal(err)
	}
	n.store = pooled{n.blobs, n}
	return n
}

// restart makes the node's registry anew: it remembers nothing.
func (n *node) restart() {
	n.c.t.Helper()
	registry, err := api.New(n.config, api.Deps{Proposer: requests{n}, Consistency: n, State: n.state, Stores: only(n.store, nil), Peers: others{n}, Pulls: &n.pulls, Gate: n.gate})
	if err != nil {
		n.c.t.Fatal(err)
	}
	n.Registry = registry
}

// order proposes a command that must be applied.
func order[R any](c *members, cmd fsm.CommandOf[R]) {
	c.t.Helper()
	if _, err := fsm.Do(c.t.Context(), requests{c.nodes[0]}, cmd); err != nil {
		c.t.Fatal(err)
	}
}

// requests is how a node proposes.
type requests struct{ *node }

func (r requests) Propose(ctx context.Context, payload []byte) (entry.Result, error) {
	return r.Once().Propose(ctx, payload)
}

func (r requests) Once() fsm.Proposer {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.c.sequence++
	return requestOnce{r.c, entry.RequestID{Incarnation: r.self, Random: 1, Sequence: r.c.sequence, FirstTry: r.state.Position().Time}}
}

type requestOnce struct {
	c  *members
	id entry.RequestID
}

func (r requestOnce) Propose(_ context.Context, payload []byte) (entry.Result, error) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	leader := r.c.nodes[0].state
	if err := leader.Admit(payload); err != nil {
		return entry.Result{}, err
	}
	r.c.log = append(r.c.log, entry.Entry{
		Index: uint64(len(r.c.log)) + 1, Term: 1, Kind: entry.Command, Payload: payload,
		Envelope: entry.Envelope{Request: r.id, Term: 1, Time: leader.Position().Time.Add(time.Second), Date: 1},
	})
	var result entry.Result
	for i, n := range r.c.nodes {
		if all := n.catchUp(); i == 0 {
			result = all[len(all)-1]
		}
	}
	return result, r.c.lost
}

// catchUp applies what the node lacks, unless it lags.
func (n *node) catchUp() []entry.Result {
	if n.lags {
		return nil
	}
	results := n.state.Apply(n.c.log[n.applied:])
	n.applied = len(n.c.log)
	return results
}

// lag has a node apply nothing more, and hurry all that it lacks.
func (n *node) lag() {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.lags, n.caught = true, make(chan struct{})
}

func (n *node) hurry() {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.lags = false
	n.catchUp()
	close(n.caught)
}

// set changes what is guarded.
func (n *node) set(change func(n *node)) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	change(n)
}

// Read is api.Consistency's.
func (n *node) Read(ctx context.Context) (bool, error) {
	n.c.mu.Lock()
	alone := n.alone
	n.c.mu.Unlock()
	if alone {
		return true, nil
	}
	return false, n.ReadIndex(ctx)
}

// ReadIndex is api.Consistency's.
func (n *node) ReadIndex(ctx context.Context) error {
	n.c.mu.Lock()
	caught, alone := n.caught, n.alone
	n.c.mu.Unlock()
	if alone {
		return errNoQuorum
	}
	select {
	case <-caught: // however little time is left
		return nil
	default:
	}
	select {
	case <-caught:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// NoQuorum is api.Consistency's.
func (n *node) NoQuorum() bool {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return n.alone
}

// pooled is a store that reads what the others have.
type pooled struct {
	*memory.Store
	n *node
}

func (p pooled) Open(ctx context.Context, b blobstore.Blob, offset, length int64) (blobstore.Reader, error) {
	for _, n := range p.n.c.nodes {
		n.c.mu.Lock()
		down := n.down
		n.c.mu.Unlock()
		if stream, err := n.blobs.Open(ctx, b, offset, length); err == nil && !down {
			return stream, nil
		}
	}
	return nil, blobstore.ErrUnreachable
}

// others is the peers of a node.
type others struct{ *node }

func (o others) Self() blobstore.Incarnation { return blobstore.Incarnation(o.self) }

func (o others) Leader() (blobstore.Incarnation, bool) {
	return blobstore.Incarnation(o.c.nodes[0].self), o.self != o.c.nodes[0].self
}

func (o others) FindUpload(ctx context.Context, _ string, id blobstore.UploadID) (blobstore.Incarnation, blobstore.Upload, error) {
	o.asked.Add(1)
	result := blobstore.ErrUploadUnknown
	var owner blobstore.Incarnation
	var longest blobstore.Upload
	for _, n := range o.c.nodes {
		n.c.mu.Lock()
		asked := !n.down && n.self != o.self
		n.c.mu.Unlock()
		if !asked {
			continue
		}
		u, err := n.blobs.Upload(ctx, id)
		switch {
		case err == nil && (result != nil || u.Offset > longest.Offset):
			result, owner, longest = nil, blobstore.Incarnation(n.self), u
		case errors.Is(err, blobstore.ErrUploadEnded) && result != nil:
			result = err
		}
	}
	return owner, longest, result
}

func (o others) Silence(of blobstore.Incarnation) time.Duration {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	return o.c.nodes[of[0]-1].silent
}

func (o others) Forward(w http.ResponseWriter, r *http.Request, to blobstore.Incarnation) (err error) {
	o.sent.Add(1)
	n := o.c.nodes[to[0]-1]
	n.c.mu.Lock()
	down := n.down
	n.c.mu.Unlock()
	if down {
		return errors.New("connection refused")
	}
	if n.served == nil {
		return direct(n, w, r)
	}
	target, err := url.Parse(n.served.URL)
	if err != nil {
		return err
	}
	proxy := httputil.ReverseProxy{
		Rewrite:      func(p *httputil.ProxyRequest) { p.SetURL(target) },
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, failed error) { err = errors.New(failed.Error()) }, // no more than it must say
		Transport:    n.served.Client().Transport,
	}
	proxy.ServeHTTP(w, r)
	return err
}

// direct forwards where there is no network.
func direct(n *node, w http.ResponseWriter, r *http.Request) error {
	answer := httptest.NewRecorder()
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.forwarded(answer, r)
	}()
	<-done
	if err := r.Context().Err(); err != nil {
		return err
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // some statuses have none
	return nil
}

func (n *node) forwarded(w http.ResponseWriter, r *http.Request) {
	if n.hangs.Load() {
		<-r.Context().Done()
		return
	}
	n.Forwarded().ServeHTTP(w, r)
}

// do sends a request to the node, and must is do of one that must have this status.
func (n *node) do(c call) *httptest.ResponseRecorder {
	n.c.t.Helper()
	return send(n.c.t, n, c)
}

func (n *node) must(status int, c call) *httptest.ResponseRecorder {
	n.c.t.Helper()
	answer := n.do(c)
	if answer.Code != status {
		n.c.t.Fatalf("node %d: %s %s: %d %s, want %d", n.self[0]-1, c.method, c.path, answer.Code, answer.Body, status)
	}
	return answer
}

// begin starts an upload to a/b at the node and returns its Location.
func (n *node) begin() string {
	n.c.t.Helper()
	return n.must(http.StatusAccepted, call{method: http.MethodPost, path: "/v2/a/b/blobs/uploads/"}).Header().Get("Location")
}

// push uploads a blob to a/b at the node and returns its digest.
func (n *node) push(text string) string {
	n.c.t.Helper()
	d := digest.FromString(text).String()
	n.must(http.StatusCreated, call{method: http.MethodPost, path: "/v2/a/b/blobs/uploads/?digest=" + d, body: text})
	return d
}

// pushImage pushes an image with configuration "config" to a/b:v1 at the node.
func (n *node) pushImage() string {
	n.c.t.Helper()
	body := image(n.push("config"), "")
	n.must(http.StatusCreated, call{method: http.MethodPut, path: "/v2/a/b/manifests/v1", header: []string{"Content-Type: " + typeImage}, body: body})
	return digest.FromString(body).String()
}

// expectBlob fails the test unless all nodes show a blob of this text in a/b.
func (c *members) expectBlob(text string) {
	c.t.Helper()
	for _, n := range c.nodes {
		answer := n.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/blobs/" + digest.FromString(text).String()})
		if answer.Body.String() != text {
			c.t.Errorf("blob is %q", answer.Body)
		}
	}
}

// proposed counts the sets of copies that were proposed, the same one counted once.
func (c *members) proposed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := map[string]bool{}
	for _, e := range c.log {
		if n := int(e.Payload[0]); string(e.Payload[1:1+n]) == "blob-stored" {
			found[string(e.Payload)] = true
		}
	}
	return len(found)
}

// forwards is how many requests were forwarded, by all nodes.
func (c *members) forwards() (n int) {
	for _, one := range c.nodes {
		n += int(one.sent.Load())
	}
	return n
}

// uploadID is the store's name of the upload at a Location.
func (n *node) uploadID(answer *httptest.ResponseRecorder) blobstore.UploadID {
	n.c.t.Helper()
	id, err := blobstore.ParseUploadID(answer.Header().Get("Docker-Upload-Uuid"))
	if err != nil {
		n.c.t.Fatal(err)
	}
	return id
}

// withDigest is the path of the PUT that makes a blob of a text.
func withDigest(location, text string) string {
	return location + "?digest=" + digest.FromString(text).String()
}

// isUnavailable fails the test unless an answer tells to come again.
func isUnavailable(t testing.TB, answer *httptest.ResponseRecorder) {
	t.Helper()
	comesAgain(t, answer, http.StatusServiceUnavailable)
}

// comesAgain checks that an answer asks the client to try once more.
func comesAgain(t testing.TB, answer *httptest.ResponseRecorder, status int) {
	t.Helper()
	if answer.Header().Get("X-Request-Id") == "" {
		t.Error("the answer has no request id")
	}
	if answer.Code != status || answer.Header().Get("Retry-After") == "" || !strings.Contains(answer.Body.String(), "UNAVAILABLE") {
		t.Errorf("%d %v %s", answer.Code, answer.Header(), answer.Body)
	}
}
