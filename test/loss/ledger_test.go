package loss_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// ledger is what was acknowledged: paths, each with the digest of what must be found there.
type ledger struct {
	t    *testing.T
	into string // the repository, as a path
	mu   sync.Mutex
	all  map[string]digest.Digest // guarded by mu, as the rest
	rng  *rand.Rand
	next int
	late int // pushes that were not acknowledged, and may be there or not

	brief bool // what no manifest names is collected while the test goes on: a blob counts when its manifest does
}

func newLedger(t *testing.T) *ledger {
	return &ledger{t: t, into: repository, all: map[string]digest.Digest{}, rng: rand.New(rand.NewPCG(3, 5))}
}

// largest is the size that no blob exceeds, with its sums.
const largest = 2<<20 + 200_000

// image makes up the next image: a layer and a manifest.
func (l *ledger) image() (layer []byte, tag, manifest string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	size := 1 + l.rng.IntN(100_000)
	if l.next%10 == 0 {
		size += 2 << 20 // more than a chunk, and sent to others while it arrives
	}
	layer = make([]byte, size)
	for i := range layer {
		layer[i] = byte(l.rng.Uint32())
	}
	tag = fmt.Sprint("v", l.next)
	l.next++
	d := digest.FromBytes(layer)
	manifest = fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/x","digest":%q,"size":%d},"layers":[]}`, d, size)
	return layer, tag, manifest
}

const repository = "/v2/team/app"

// push pushes an image through a node, and notes it if it was acknowledged.
func (l *ledger) push(ctx context.Context, n *harness.Node) error {
	layer, tag, manifest := l.image()
	d := digest.FromBytes(layer)
	err := send(ctx, http.MethodPost, n.URL(l.into+"/blobs/uploads/?digest="+d.String()), layer)
	if err == nil {
		if !l.brief {
			l.note(l.into+"/blobs/"+d.String(), d)
		}
		err = send(ctx, http.MethodPut, n.URL(l.into+"/manifests/"+tag), []byte(manifest))
	}
	if err == nil {
		l.note(l.into+"/blobs/"+d.String(), d)
		l.note(l.into+"/manifests/"+tag, digest.FromString(manifest))
	}
	return err
}

func (l *ledger) note(path string, d digest.Digest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all[path] = d
}

// fill pushes images through all nodes in turn. Each must be acknowledged.
func (l *ledger) fill(images int, nodes ...*harness.Node) {
	l.t.Helper()
	for i := range images {
		if err := l.pushAgain(l.t.Context(), nodes[i%len(nodes)]); err != nil {
			l.t.Fatal(err)
		}
	}
}

// pushing pushes images through nodes, which may be away, until stop is called. What is begun then is finished: a blob without
// its manifest would be collected.
func (l *ledger) pushing(nodes ...*harness.Node) (stop func()) {
	ctx, cancel := context.WithCancel(l.t.Context())
	var clients sync.WaitGroup
	for _, n := range nodes {
		clients.Go(func() {
			for pace := time.NewTicker(500 * time.Millisecond); ; {
				if l.push(l.t.Context(), n) != nil {
					l.mu.Lock()
					l.late++
					l.mu.Unlock()
				}
				select {
				case <-pace.C:
				case <-ctx.Done():
					pace.Stop()
					return
				}
			}
		})
	}
	return sync.OnceFunc(func() { cancel(); clients.Wait() })
}

// pulling pulls what was acknowledged, from each node, until stop is called. None of it may be missing or wrong.
func (l *ledger) pulling(nodes ...*harness.Node) (stop func()) {
	ctx, cancel := context.WithCancel(l.t.Context())
	l.mu.Lock()
	all := maps.Clone(l.all)
	l.mu.Unlock()
	var clients sync.WaitGroup
	for _, n := range nodes {
		clients.Go(func() {
			pace := time.NewTicker(20 * time.Millisecond) // the nodes need the processors too
			defer pace.Stop()
			for pulls := 0; ; {
				for path, want := range all {
					select {
					case <-pace.C:
					case <-ctx.Done():
						l.t.Logf("%d pulls from %s meanwhile", pulls, n.Name)
						return
					}
					body, err := get(ctx, n.URL(path))
					if ctx.Err() == nil && (err != nil || digest.FromBytes(body) != want) {
						l.t.Errorf("%s%s: %v, %d bytes", n.Name, path, err, len(body))
					}
					pulls++
				}
			}
		})
	}
	return sync.OnceFunc(func() { cancel(); clients.Wait() })
}

// found pulls all that was acknowledged, from each node.
func (l *ledger) found(nodes ...*harness.Node) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range nodes {
		for path, want := range l.all {
			body, err := get(l.t.Context(), n.URL(path))
			if have := digest.FromBytes(body); err != nil || have != want {
				l.t.Errorf("%s%s: %v, %d bytes that hash to %s, want %s", n.Name, path, err, len(body), have, want)
			}
		}
	}
	l.t.Logf("%d blobs and manifests at %d nodes, %d pushes were not acknowledged", len(l.all), len(nodes), l.late)
}

func send(ctx context.Context, method, url string, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	_, err = answer(r, http.StatusCreated)
	return err
}

func get(ctx context.Context, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	return answer(r, http.StatusOK)
}

func answer(r *http.Request, want int) ([]byte, error) {
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close() //nolint:errcheck // it is only read
	body, err := io.ReadAll(a.Body)
	if err == nil && a.StatusCode != want {
		err = fmt.Errorf("%s %s: %s: %.300s", r.Method, r.URL.Path, a.Status, body)
	}
	return body, err
}
