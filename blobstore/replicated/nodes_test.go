package replicated_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/blobstore/memory"
	"github.com/seed-16d79997/zot/blobstore/replicated"
	"github.com/seed-16d79997/zot/blobstore/storetest"
	"github.com/seed-16d79997/zot/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// nodes are the nodes of one process. Their requests to each other go over real connections, which a test may
// cut and stop.
type nodes struct {
	all       []*node
	transport *http.Transport

	mu         sync.Mutex
	membership replicated.Membership // but for Self
}

// node is one of them.
type node struct {
	nodes  *nodes
	member replicated.Member
	local  replicated.Local
	dir    string // of a store on a disk
	store  *replicated.Store
	server *httptest.Server
	stop   func()

	mu      sync.Mutex
	handler http.Handler
	seen    []string // the requests that it got
	down    bool
	conns   map[*conn]bool
	frozen  chan struct{} // nil while bytes flow; closed when they do again
}

// quick is Timing for nodes that are in one process.
func quick() replicated.Timing {
	return replicated.Timing{
		Poll: 50 * time.Millisecond, Stall: 150 * time.Millisecond, Answer: 300 * time.Millisecond, Retry: 20 * time.Millisecond,
		Idle: 100 * time.Millisecond, Finish: 10 * time.Second, GraceMin: 100 * time.Millisecond, GraceMax: 500 * time.Millisecond,
		FirstByte: 100 * time.Millisecond, Silence: 150 * time.Millisecond, Patience: 20 * time.Second, Find: 500 * time.Millisecond,
		Tidy: time.Second,
	}
}

// calm is quick for a machine on which nothing is meant to be slow, however busy it is.
func calm() replicated.Timing {
	return replicated.Timing{Poll: 10 * time.Second, GraceMin: 5 * time.Second, GraceMax: 10 * time.Second, Stall: 10 * time.Second, Answer: 10 * time.Second, FirstByte: 10 * time.Second, Silence: 10 * time.Second}
}

// options are how nodes are made.
type options struct {
	count          int
	replicas, need int
	zones          []string
	timing         replicated.Timing
	pace           func() replicated.Pace // of each node; nil: none
	onDisk         bool
	idle           bool // nobody runs
}

func start(t testing.TB, o options) *nodes {
	t.Helper()
	c := &nodes{membership: replicated.Membership{Counts: true, Replicas: o.replicas, Need: o.need, Time: 7}}
	c.transport = &http.Transport{DialContext: c.dial, MaxIdleConnsPerHost: 100}
	t.Cleanup(c.transport.CloseIdleConnections)
	for i := range o.count {
		m := replicated.Member{Incarnation: blobstore.Incarnation{byte(i + 1)}}
		if i < len(o.zones) {
			m.Zone = o.zones[i]
		}
		n := &node{nodes: c, member: m, conns: map[*conn]bool{}}
		n.local = newMemory(t, m.Incarnation)
		if o.onDisk {
			n.dir = filepath.Join(t.TempDir(), "store")
			must(t, disk.Create(n.config()))
			n.local = openDisk(t, n)
		}
		c.all = append(c.all, n)
		c.membership.Others = append(c.membership.Others, m)
	}
	for _, n := range c.all { // all of them before any asks another
		n.handler = http.NotFoundHandler()
		n.server = httptest.NewServer(n)
		t.Cleanup(func() { n.cut(); n.server.Close() })
	}
	for _, n := range c.all {
		n.make(t, o)
	}
	for _, n := range c.all { // only now: who is asked before it is made does not answer, and the word of it may come late
		n.runs(t, o)
	}
	if !o.idle {
		c.asked(t)
		c.poll(t)
	}
	return c
}

// asked waits until each node has had its first answer from each: one that comes later tells of how it was before the test
// began, and takes the place of what a poll of the test has found.
func (c *nodes) asked(t testing.TB) {
	t.Helper()
	for _, n := range c.all {
		for _, o := range c.all {
			eventually(t, "nodes know of each other", func() bool {
				u, _ := n.store.UsageOf(o.member.Incarnation)
				return u.Total > 0
			})
		}
	}
}

// open makes the node's store over its local one, and runs it.
func (n *node) open(t testing.TB, o options) {
	t.Helper()
	n.make(t, o)
	n.runs(t, o)
}

func (n *node) runs(t testing.TB, o options) {
	t.Helper()
	if !o.idle {
		n.stop = run(t, n.store)
	}
}

func (n *node) make(t testing.TB, o options) {
	t.Helper()
	c := replicated.Config{Name: storeName, Local: n.local, Members: n, Transport: n.nodes.transport, Timing: o.timing}
	if o.pace != nil {
		c.Pace = o.pace()
	}
	s, err := replicated.New(c)
	must(t, err)
	n.store = s
	n.mu.Lock()
	n.handler = replicated.Handler(s)
	n.mu.Unlock()
}

// run runs a store until the test ends or the function that it returns is called.
func run(t testing.TB, s *replicated.Store) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	eventually(t, "the store runs", s.Running)
	return stop
}

func newMemory(t testing.TB, i blobstore.Incarnation) *memory.Store {
	t.Helper()
	c := memory.DefaultConfig()
	c.Incarnation = i
	s, err := memory.New(c)
	must(t, err)
	return s
}

// config is that of the node's store on a disk. The operating system survives the test, so nothing is synced:
// that takes most of the time, and is tested where it belongs.
func (n *node) config() disk.Config {
	return disk.Config{Dir: n.dir, Incarnation: n.member.Incarnation, Files: func(root *os.Root) disk.Files {
		return unsynced{disk.SystemFiles(root)}
	}}
}

type unsynced struct{ disk.Files }

// Usage is of a disk that has room, however full the one below it is.
func (unsynced) Usage() (total, free int64, err error) { return 1 << 40, 1 << 40, nil }

// SyncDir does nothing.
func (unsynced) SyncDir(string) error { return nil }

// OpenFile opens a file whose Sync does nothing.
func (f unsynced) OpenFile(name string, flag int) (disk.File, error) {
	file, err := f.Files.OpenFile(name, flag)
	if err != nil {
		return nil, err
	}
	return unsyncedFile{file}, nil
}

type unsyncedFile struct{ disk.File }

// Sync does nothing.
func (unsyncedFile) Sync() error { return nil }

func openDisk(t testing.TB, n *node) *disk.Store {
	t.Helper()
	s, err := disk.Open(n.config())
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Membership is that of all nodes, as this one sees it.
func (n *node) Membership() (replicated.Membership, error) {
	n.nodes.mu.Lock()
	defer n.nodes.mu.Unlock()
	m := n.nodes.membership
	m.Self = n.member
	m.Others = nil
	for _, o := range n.nodes.membership.Others {
		if o.Incarnation != m.Self.Incarnation {
			m.Others = append(m.Others, o)
		}
	}
	return m, nil
}

// poll has every node ask all others.
func (c *nodes) poll(t testing.TB) {
	for _, n := range c.all {
		n.store.Poll(t.Context())
	}
}

// ServeHTTP is the node's handler.
func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	h := n.handler
	if r.URL.Path != "/store/default/usage" {
		n.seen = append(n.seen, r.Method+" "+r.URL.Path)
	}
	n.mu.Unlock()
	h.ServeHTTP(w, r)
}

// requests returns what the node was asked, polls left out, and forgets it.
func (n *node) requests() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	seen := n.seen
	n.seen = nil
	return seen
}

// wrap puts a handler before the node's own.
func (n *node) wrap(f func(http.Handler) http.Handler) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handler = f(n.handler)
}

func (c *nodes) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	for _, n := range c.all {
		if n.member.Incarnation.String() == host {
			return n.dial(ctx)
		}
	}
	return nil, fmt.Errorf("dial %s: %w", host, replicated.ErrNodeUnknown)
}

func (n *node) dial(ctx context.Context) (net.Conn, error) {
	n.mu.Lock()
	down := n.down
	n.mu.Unlock()
	if down {
		return nil, errors.New("connection refused")
	}
	var d net.Dialer
	inner, err := d.DialContext(ctx, "tcp", n.server.Listener.Addr().String())
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: inner, node: n, closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down { // it died meanwhile: cut did not see this connection
		_ = inner.Close()
		return nil, errors.New("connection refused")
	}
	n.conns[c] = true
	return c, nil
}

// conn is a connection to a node, as the other end has it.
type conn struct {
	net.Conn
	node   *node
	once   sync.Once
	closed chan struct{}
}

// wait waits while the node is frozen.
func (c *conn) wait() error {
	c.node.mu.Lock()
	frozen := c.node.frozen
	c.node.mu.Unlock()
	if frozen == nil {
		return nil
	}
	select {
	case <-frozen:
		return nil
	case <-c.closed:
		return net.ErrClosed
	}
}

// Read reads, and hands out nothing while the node is frozen.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if werr := c.wait(); werr != nil {
		return 0, werr
	}
	return n, err
}

// Write writes, unless the node is frozen.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.wait(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Close closes.
func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	c.node.mu.Lock()
	delete(c.node.conns, c)
	c.node.mu.Unlock()
	return c.Conn.Close()
}

// cut ends all connections of a node, and lets nobody make new ones: it died.
func (n *node) cut() {
	n.mu.Lock()
	n.down = true
	conns := n.conns
	n.conns = map[*conn]bool{}
	n.mu.Unlock()
	for c := range conns {
		_ = c.Conn.Close()
	}
	n.thaw()
}

// reset makes a node well again.
func (n *node) reset() {
	n.thaw()
	n.revive()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handler = replicated.Handler(n.store)
}

// revive lets others connect to a node again.
func (n *node) revive() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = false
}

// freeze stops all bytes from and to a node, and breaks no connection: it hangs.
func (n *node) freeze() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.frozen == nil {
		n.frozen = make(chan struct{})
	}
}

// thaw lets them flow again.
func (n *node) thaw() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.frozen != nil {
		close(n.frozen)
		n.frozen = nil
	}
}

// eventually waits for what other goroutines bring about.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("not in time: %s", what)
		}
	}
}

// feed is the body of a request that a test gives piece by piece.
func feed(t testing.TB, s blobstore.Store, id blobstore.UploadID) (w *io.PipeWriter, done <-chan error) {
	t.Helper()
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := s.Append(context.WithoutCancel(t.Context()), id, -1, r, 1)
		r.CloseWithError(err)
		ended <- err
	}()
	t.Cleanup(func() { _ = w.Close() })
	return w, ended
}

// holders says on which nodes there is a whole copy of a blob, by looking there.
func (c *nodes) holders(t testing.TB, b blobstore.Blob) []int {
	t.Helper()
	var on []int
	for i, n := range c.all {
		if err := n.local.Verify(t.Context(), b, nil); err == nil {
			on = append(on, i)
		}
	}
	return on
}

func blobOf(p []byte, at []blobstore.Location) blobstore.Blob {
	return blobstore.Blob{Digest: digest.FromBytes(p), Size: int64(len(p)), Locations: at}
}

// upload makes an upload of p that waits for Finish.
func upload(t testing.TB, s blobstore.Store, name string, p []byte) blobstore.UploadID {
	t.Helper()
	id := storetest.ID(name)
	must(t, s.CreateUpload(t.Context(), id, "", 1))
	if _, err := s.Append(t.Context(), id, 0, bytesReader(p), 1); err != nil {
		t.Fatal(err)
	}
	return id
}

// finish finishes and publishes an upload.
func finish(t testing.TB, s blobstore.Store, id blobstore.UploadID, p []byte) blobstore.Blob {
	t.Helper()
	if _, err := s.Finish(t.Context(), id, digest.FromBytes(p)); err != nil {
		t.Fatal(err)
	}
	at, err := s.Publish(t.Context(), id)
	must(t, err)
	must(t, s.EndUpload(t.Context(), id, 1))
	return blobOf(p, at)
}
