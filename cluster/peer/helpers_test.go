package peer_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/seed-16d79997/zot/cluster/peer"
	"github.com/seed-16d79997/zot/test/leak"
)

const patience = time.Minute // for what must happen, on a machine that does other things

func line(name string) []byte { return []byte(strings.Repeat(name+"-", 40)) }

func incarnation(node string) string {
	sum := sha256.Sum256([]byte(node))
	return hex.EncodeToString(sum[:16])
}

func config(node string) peer.Config {
	return peer.Config{
		Cluster:     "prod",
		Node:        node,
		Incarnation: incarnation(node),
		Listen:      "127.0.0.1:0",
		Secrets:     [][]byte{line("a")},
	}
}

// node is a peer that can be stopped before the test ends.
type node struct {
	*peer.Peer
	name string
	log  *logged
	stop func()
}

func (n *node) target() peer.Target {
	return peer.Target{Address: n.Addr().String(), Incarnation: incarnation(n.name)}
}

func (n *node) anybody() peer.Target { return peer.Target{Address: n.Addr().String()} }

// start makes a peer, lets prepare register what it wants, and runs it until the test ends.
func start(t *testing.T, c peer.Config, prepare ...func(*peer.Peer)) *node {
	t.Helper()
	n := &node{name: c.Node, log: &logged{}}
	c.Logger = hclog.New(&hclog.LoggerOptions{Output: n.log, Level: hclog.Debug})
	p, err := peer.New(c)
	if err != nil {
		t.Fatal(err)
	}
	n.Peer = p
	if c.Network == nil { // the machine's, and so its time
		p.BePatient(patience / 2)
	}
	for _, f := range prepare {
		f(p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- p.Run(ctx) }() // stop waits
	n.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-result:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(patience):
			t.Error("run does not end")
		}
	})
	t.Cleanup(func() {
		n.stop()
		if t.Failed() {
			t.Logf("log of %s:\n%s", n.name, n.log)
		}
	})
	return n
}

// noLeak fails the test if goroutines remain after all its cleanups; it is called first.
func noLeak(t *testing.T) {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		// net/http's goroutines end a little after their connections, and memberlist's sit in a probe for a second more.
		if err := leak.Find(ignore); err != nil {
			t.Error(err)
		}
	})
}

// receive is what comes from a channel; it fails the test if nothing comes.
func receive[T any](t *testing.T, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatalf("%s: nothing came", what)
	}
	return v
}

// logged keeps what was logged, and wakes those who wait for a line.
type logged struct {
	mu      sync.Mutex
	text    strings.Builder
	waiting []chan struct{}
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.waiting {
		close(c)
	}
	l.waiting = nil
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await returns when one line has all parts in it.
func (l *logged) await(t *testing.T, parts ...string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		l.mu.Lock()
		wake := make(chan struct{})
		l.waiting = append(l.waiting, wake)
		text := l.text.String()
		l.mu.Unlock()
		for text := range strings.Lines(text) {
			if containsAll(text, parts) {
				return
			}
		}
		select {
		case <-wake:
		case <-deadline:
			t.Fatalf("no line with %q in:\n%s", parts, text)
		}
	}
}

func containsAll(text string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}

func echo(_ context.Context, _ peer.Caller, body []byte) ([]byte, error) { return body, nil }

func handleEcho(p *peer.Peer) { p.Handle("/echo", echo) }

func mustEcho(t *testing.T, from *node, to peer.Target) {
	t.Helper()
	answer, err := from.Call(t.Context(), to, "/echo", []byte("hello"))
	if err != nil || string(answer) != "hello" {
		t.Fatalf("call from %s to %+v: %q, %v", from.name, to, answer, err)
	}
}
