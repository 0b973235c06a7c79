package kill_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// rack is all nodes, and which of them live. It does what a load balancer does with its health checks, and
// knows at once when a node is killed.
type rack struct {
	setting
	nodes   []*node
	starter diesWithUs
	fail    func(format string, args ...any)

	watching sync.WaitGroup // one for each process
	release  func()

	mu       sync.Mutex
	lives    map[*node]*life // guarded by mu, as all below
	next     int             // whose turn it is
	changed  chan struct{}   // closed and made anew whenever lives changes
	troubles []*trouble
}

// trouble is a time in which a node does not live, and the part of it is a fault.
type trouble struct {
	node   *node
	killed bool
	began  time.Time
	ended  time.Time // when it lived again; zero until then
}

// newRack makes the nodes' files. None is started.
func newRack(s setting, dir string, fail func(string, ...any)) (*rack, error) {
	r := &rack{setting: s, fail: fail, lives: map[*node]*life{}, changed: make(chan struct{})}
	ports, err := freePorts(s.random("ports"), 2*s.size)
	if err != nil {
		return nil, err
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("a secret of a test, and of nothing else"), 0o600); err != nil {
		return nil, err
	}
	var members []string
	for _, port := range ports[s.size:] {
		members = append(members, net.JoinHostPort("127.0.0.1", port))
	}
	for i := range s.size {
		name := fmt.Sprintf("n%d", i+1)
		n := &node{
			name: name, root: filepath.Join(dir, name), file: filepath.Join(dir, name+".json"),
			log: filepath.Join(s.out, name+".log"), address: net.JoinHostPort("127.0.0.1", ports[i]), zot: s.zot,
		}
		n.admin = operator(n.root)
		if err := r.configure(n, ports[i], members, i, secret); err != nil {
			return nil, err
		}
		r.nodes = append(r.nodes, n)
	}
	r.starter, r.release = starter()
	return r, nil
}

// configure writes a node's configuration file.
func (r *rack) configure(n *node, port string, members []string, number int, secret string) error {
	storage := map[string]any{"rootDirectory": n.root}
	if r.bucket != nil {
		storage["storageDriver"] = r.bucket.Driver(prefix)
	}
	c := map[string]any{
		"storage": storage,
		"http":    map[string]any{"address": "127.0.0.1", "port": port},
		"log":     map[string]any{"level": "debug"},
	}
	if r.size > 1 {
		c["cluster"] = map[string]any{
			"name": "kill", "node": n.name, "listen": members[number], "advertise": members[number], "members": members,
			"secretFile": secret, "replicas": r.replicas(), "writeAcks": r.acks(),
		}
	}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(n.file, b, 0o600)
}

// freePorts are such that the kernel gives to nobody by itself, so that a node that was killed finds its
// own free again.
func freePorts(rng *rand.Rand, count int) ([]string, error) {
	var found []string
	for range 1000 {
		port := fmt.Sprint(20_000 + rng.IntN(12_000))
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port)) //nolint:noctx // binding waits for nobody
		if err != nil {
			continue
		}
		_ = l.Close()
		if !slices.Contains(found, port) {
			found = append(found, port)
		}
		if len(found) == count {
			return found, nil
		}
	}
	return nil, errors.New("no ports are free")
}

// start starts a node and watches it until it lives, and then until it ends.
func (r *rack) start(ctx context.Context, n *node) {
	e, err := n.boot(r.starter)
	if err != nil {
		r.fail("%v", err)
		return
	}
	r.watching.Go(func() { r.watch(ctx, n, e) })
}

// watch has a node live once it is ready. A node that ends without having been told to is a failure.
func (r *rack) watch(ctx context.Context, n *node, e *ending) {
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for ready := false; ; {
		select {
		case <-e.done:
			if why := n.unwanted(e); why != "" {
				r.fail("%s:\n%s", why, n.lastWords(20))
			}
			return
		case <-ctx.Done():
			<-e.done // whoever ends the run ends the processes
			return
		case <-retry.C:
			if !ready && n.probe(ctx, "/readyz") {
				ready = r.live(n, e)
			}
		}
		if ready {
			retry.Stop()
		}
	}
}

// live notes that a node lives, unless it was ended meanwhile.
func (r *rack) live(n *node, e *ending) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	if e.wanted {
		return false
	}
	r.begin(n)
	return true
}

// begin begins a life. The caller holds mu.
func (r *rack) begin(n *node) {
	t := &http.Transport{MaxIdleConnsPerHost: 32, DisableCompression: true}
	r.lives[n] = &life{node: n, client: &http.Client{Transport: t}, over: make(chan struct{})}
	for _, one := range r.troubles {
		if one.node == n && one.ended.IsZero() {
			one.ended = time.Now()
		}
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// finish ends a life, before the node knows.
func (r *rack) finish(n *node, killed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lives[n]
	if l == nil {
		return
	}
	delete(r.lives, n)
	r.troubles = append(r.troubles, &trouble{node: n, killed: killed, began: time.Now()})
	l.killed = killed
	close(l.over)
	close(r.changed)
	r.changed = make(chan struct{})
}

// kill ends a node as kill -9 does.
func (r *rack) kill(n *node) {
	n.doom()
	r.finish(n, true)
	n.halt(syscall.SIGKILL)
}

// pause stops a node for a while. It lives again once it is ready.
func (r *rack) pause(ctx context.Context, n *node, d time.Duration) {
	r.finish(n, false)
	n.signal(syscall.SIGSTOP)
	wait(ctx, d)
	n.signal(syscall.SIGCONT)
	for ctx.Err() == nil && !n.probe(ctx, "/readyz") {
		wait(ctx, 20*time.Millisecond)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begin(n)
}

// pick returns whose turn it is among those that live, and waits while none does. It fails with the
// context's error.
func (r *rack) pick(ctx context.Context) (*life, error) {
	for {
		r.mu.Lock()
		for range r.nodes {
			l := r.lives[r.nodes[r.next%len(r.nodes)]]
			r.next++
			if l != nil {
				r.mu.Unlock()
				return l, nil
			}
		}
		changed := r.changed
		r.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// living waits until a node lives; nil if that takes longer than d.
func (r *rack) living(ctx context.Context, n *node, d time.Duration) *life {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for {
		r.mu.Lock()
		l, changed := r.lives[n], r.changed
		r.mu.Unlock()
		if l != nil {
			return l
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// troubled reports whether any node was not living at some time between two.
func (r *rack) troubled(from, to time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.troubles, func(t *trouble) bool {
		return t.began.Before(to) && (t.ended.IsZero() || t.ended.After(from))
	})
}

// killedSince reports whether a node was killed after a time.
func (r *rack) killedSince(n *node, from time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.troubles, func(t *trouble) bool { return t.node == n && t.killed && t.began.After(from) })
}

// leader is the node that leads, as one that lives knows; nil if nobody knows one.
func (r *rack) leader(ctx context.Context) *node {
	r.mu.Lock()
	lives := r.lives
	var asked []*node
	for n := range lives {
		asked = append(asked, n)
	}
	r.mu.Unlock()
	for _, n := range asked {
		s, err := n.status(ctx)
		if err != nil {
			continue
		}
		for _, one := range r.nodes {
			if one.name == s.Leader || r.size == 1 {
				return one
			}
		}
	}
	return nil
}

// end ends all nodes by a signal, and returns when they have ended.
func (r *rack) end(s os.Signal) {
	var ending sync.WaitGroup
	for _, n := range r.nodes {
		n.doom()
		r.finish(n, true)
		ending.Go(func() {
			n.signal(syscall.SIGCONT)
			n.halt(s)
		})
	}
	ending.Wait()
	r.watching.Wait()
}

// wait waits, but not longer than ctx.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
