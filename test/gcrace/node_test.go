package gcrace_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// node is one node of the cluster: a process that is killed and started again on its directory.
type node struct {
	name    string
	root    string // its directory
	file    string // its configuration
	log     string // what its processes print
	address string // for clients
	zot     string

	mu  sync.Mutex
	cmd *exec.Cmd // guarded by mu
	end *ending   // of cmd; guarded by mu
}

// ending is how a process ends.
type ending struct {
	wanted bool          // by us; guarded by the node's mu
	done   chan struct{} // closed when it has
	state  string        // valid once done is closed
}

// life is a time in which a node counts as living: from a 200 of /readyz until it is killed. Each has
// connections of its own: those of a process that is gone would break requests that were sent later.
type life struct {
	node   *node
	client *http.Client
}

// diesWithUs starts commands whose processes are killed when this one ends, however it ends. The kernel
// counts the thread that has started a process, not the process, so all are started by one that stays.
type diesWithUs struct{ start chan starting }

type starting struct {
	cmd    *exec.Cmd
	result chan error
}

// starter is the thread that starts processes. It lives until stop is called.
func starter() (d diesWithUs, stop func()) {
	d = diesWithUs{make(chan starting)}
	var thread sync.WaitGroup
	thread.Go(func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		for s := range d.start {
			s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
			s.result <- s.cmd.Start()
		}
	})
	return d, func() { close(d.start); thread.Wait() }
}

func (d diesWithUs) run(cmd *exec.Cmd) error {
	s := starting{cmd, make(chan error, 1)}
	d.start <- s
	return <-s.result
}

// boot starts the process. It is not living yet.
func (n *node) boot(d diesWithUs) (*ending, error) {
	log, err := os.OpenFile(n.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()                                // the process has its own descriptor
	cmd := exec.Command(n.zot, "serve", n.file, "--drain-wait", "0s") //nolint:noctx // it is ended by signals
	cmd.Stdout, cmd.Stderr = log, log
	if err := d.run(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", n.name, err)
	}
	e := &ending{done: make(chan struct{})}
	go func() { // ends with the process; who signals it waits for done
		_ = cmd.Wait() // its state says more
		e.state = cmd.ProcessState.String()
		close(e.done)
	}()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cmd, n.end = cmd, e
	return e, nil
}

// halt ends the process by a signal, and returns when it has ended.
func (n *node) halt(s os.Signal) {
	n.mu.Lock()
	cmd, e := n.cmd, n.end
	n.cmd, n.end = nil, nil
	if e != nil {
		e.wanted = true
	}
	n.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(s) // it may have ended
	select {
	case <-e.done:
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		<-e.done
	}
}

// unwanted says how the process ended if nobody wanted that; "" otherwise.
func (n *node) unwanted(e *ending) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e.wanted {
		return ""
	}
	return fmt.Sprintf("%s ended by itself (%s)", n.name, e.state)
}

// lastWords are the last lines of the log.
func (n *node) lastWords(lines int) string {
	b, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// probe asks one of the health pages.
func (n *node) probe(ctx context.Context, path string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.address+path, http.NoBody)
	if err != nil {
		return false
	}
	t := &http.Transport{DisableKeepAlives: true}
	answer, err := t.RoundTrip(r)
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// status is what a node says of its cluster.
type status struct {
	Leader  string `json:"leader"`
	Members []struct {
		Applied *uint64 `json:"applied"`
	} `json:"members"`
}

// status asks the node's operator's socket.
func (n *node) status(ctx context.Context) (s status, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", filepath.Join(n.root, "admin.sock"))
		},
	}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://zot/cluster/status", http.NoBody)
	if err != nil {
		return s, err
	}
	answer, err := client.Do(r)
	if err != nil {
		return s, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return s, errors.New(answer.Status)
	}
	return s, json.NewDecoder(answer.Body).Decode(&s)
}

// rack is all nodes, and which of them live. It does what a load balancer does with its health checks, and
// knows at once when a node is killed.
type rack struct {
	nodes   []*node
	starter diesWithUs
	fail    func(format string, args ...any)

	watching sync.WaitGroup // one for each process
	release  func()

	mu     sync.Mutex
	lives  map[*node]*life // guarded by mu, as all below
	next   int             // whose turn it is
	killed time.Time       // when a node was last killed
}

// newRack makes the nodes' files. None is started.
func newRack(s setting, dir string, fail func(string, ...any)) (*rack, error) {
	r := &rack{fail: fail, lives: map[*node]*life{}}
	ports, err := freePorts(s.random("ports"), 2*size)
	if err != nil {
		return nil, err
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("a secret of a test, and of nothing else"), 0o600); err != nil {
		return nil, err
	}
	var members []string
	for _, port := range ports[size:] {
		members = append(members, net.JoinHostPort("127.0.0.1", port))
	}
	for i := range size {
		name := fmt.Sprintf("n%d", i+1)
		n := &node{
			name: name, root: filepath.Join(dir, name), file: filepath.Join(dir, name+".json"),
			log: filepath.Join(s.out, name+".log"), address: net.JoinHostPort("127.0.0.1", ports[i]), zot: s.zot,
		}
		if err := n.configure(ports[i], members, i, secret, s.bucket); err != nil {
			return nil, err
		}
		r.nodes = append(r.nodes, n)
	}
	r.starter, r.release = starter()
	return r, nil
}

// configure writes a node's configuration file.
func (n *node) configure(port string, members []string, number int, secret string, bucket *harness.Bucket) error {
	storage := map[string]any{"rootDirectory": n.root, "gcDelay": lease.String(), "gcInterval": interval.String()}
	if bucket != nil {
		storage["storageDriver"] = bucket.Driver(prefix)
	}
	b, err := json.MarshalIndent(map[string]any{
		"storage": storage,
		"http":    map[string]any{"address": "127.0.0.1", "port": port},
		"log":     map[string]any{"level": "debug"},
		"cluster": map[string]any{
			"name": "gcrace", "node": n.name, "listen": members[number], "advertise": members[number], "members": members,
			"secretFile": secret, "replicas": replicas, "writeAcks": acks,
		},
	}, "", "  ")
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

// watch has a node live once it is ready. A node that is not, after a while, or that ends without having been
// told to, is a failure.
func (r *rack) watch(ctx context.Context, n *node, e *ending) {
	began := time.Now()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
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
			if n.probe(ctx, "/readyz") && r.live(n, e) {
				retry.Stop()
			} else if time.Since(began) > patience && ctx.Err() == nil {
				r.fail("%s is not ready %s after its start:\n%s", n.name, patience, n.lastWords(20))
			}
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
	r.lives[n] = &life{n, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * workers, DisableCompression: true}}}
	return true
}

// kill ends a node as kill -9 does.
func (r *rack) kill(n *node) {
	r.mu.Lock()
	delete(r.lives, n)
	r.killed = time.Now()
	r.mu.Unlock()
	n.halt(syscall.SIGKILL)
	r.mu.Lock()
	r.killed = time.Now()
	r.mu.Unlock()
}

// killedSince reports whether any node was killed after a time.
func (r *rack) killedSince(from time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.killed.After(from)
}

func (r *rack) isLiving(n *node) bool { return r.lifeOf(n) != nil }

func (r *rack) lifeOf(n *node) *life {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lives[n]
}

// pick returns whose turn it is among those that live, and waits while none does. It fails with the
// context's error.
func (r *rack) pick(ctx context.Context) (*life, error) {
	for ctx.Err() == nil {
		r.mu.Lock()
		for range r.nodes {
			l := r.lives[r.nodes[r.next%len(r.nodes)]]
			r.next++
			if l != nil {
				r.mu.Unlock()
				return l, nil
			}
		}
		r.mu.Unlock()
		wait(ctx, 20*time.Millisecond)
	}
	return nil, ctx.Err()
}

// leader is the node that leads; nil when the run is over, or nobody leads for too long.
func (r *rack) leader(ctx context.Context) *node {
	for began := time.Now(); ctx.Err() == nil; wait(ctx, 20*time.Millisecond) {
		for _, n := range r.nodes {
			if !r.isLiving(n) {
				continue
			}
			s, err := n.status(ctx)
			for _, one := range r.nodes {
				if err == nil && one.name == s.Leader && r.isLiving(one) {
					return one
				}
			}
		}
		if time.Since(began) > patience {
			r.fail("nobody leads after %s", patience)
			return nil
		}
	}
	return nil
}

// end ends all nodes by a signal, and returns when they have ended.
func (r *rack) end(s os.Signal) {
	var ending sync.WaitGroup
	for _, n := range r.nodes {
		r.mu.Lock()
		delete(r.lives, n)
		r.mu.Unlock()
		ending.Go(func() { n.halt(s) })
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
