package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// puller pulls with tokens from all nodes in turn, until it is stopped. A token that was given is used at once, at the next
// node, and again and again until it is forgotten.
type puller struct {
	t     *testing.T
	at    []string
	pulls atomic.Int64

	mu     sync.Mutex
	tokens []string
}

// pull begins to. stop returns when it has ended.
func (p *puller) pull(path string) (stop func()) {
	end := make(chan struct{})
	var pulling sync.WaitGroup
	pulling.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-end:
				return
			default:
			}
			if n%5 == 0 {
				p.add(tokenAt(p.t, p.at[n%3], "alice", "repository:team/app:pull"))
			}
			token := p.any(n)
			answer := wish{method: http.MethodGet, url: p.at[(n+1)%3] + path, header: []string{"Authorization: Bearer " + token}}.ask(p.t)
			if answer.status != http.StatusOK && p.has(token) {
				p.t.Errorf("pull %d with a token, from node %d: %d %s", n, (n+1)%3, answer.status, answer.body)
				return
			}
			p.pulls.Add(1)
		}
	})
	return sync.OnceFunc(func() { close(end); pulling.Wait() })
}

func (p *puller) add(token string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tokens = append(p.tokens, token)
}

// any is the newest token, or another one.
func (p *puller) any(n int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n%5 == 0 {
		return p.tokens[len(p.tokens)-1]
	}
	return p.tokens[n*7919%len(p.tokens)]
}

func (p *puller) has(token string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.tokens, token)
}

// forget is for tokens that have ended: those that were given so far.
func (p *puller) forget() (old []string) {
	fresh := tokenAt(p.t, p.at[0], "alice", "repository:team/app:pull")
	p.mu.Lock()
	defer p.mu.Unlock()
	old, p.tokens = p.tokens, []string{fresh}
	return old
}

// more waits until it has pulled several times from each node.
func (p *puller) more() {
	p.t.Helper()
	before := p.pulls.Load()
	eventually(p.t, "more is pulled", func() bool { return p.t.Failed() || p.pulls.Load() >= before+15 })
}

// The secret of the nodes is rotated, one node after the other, each step by a signal or by itself, while a client pulls
// with tokens of old lines and new ones: each is good on every node, wherever that is with its rotation.
func TestTokensWhileTheSecretRotates(t *testing.T) {
	t.Parallel()
	passwords := filepath.Join(t.TempDir(), "htpasswd")
	put(t, passwords, htpasswdLine(t, "alice"))
	all := threeNodesWith(t, fmt.Sprintf(`, "auth": {"htpasswd": {"path": %q}}`, passwords))
	restart(all)
	p := &puller{t: t}
	for _, node := range all {
		p.at = append(p.at, "http://127.0.0.1:"+node.port)
	}
	const empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	wish{method: "POST", url: p.at[0] + "/v2/team/app/blobs/uploads/?digest=" + empty, name: "alice", password: "alice"}.must(t, 201)

	stop := p.pull("/v2/team/app/blobs/" + empty)
	defer stop()
	p.more()
	rotate := func(step int, lines ...string) {
		t.Helper()
		for n, node := range all {
			before := node.secrets()
			put(t, node.secret, lines...)
			if n != step {
				node.signal(syscall.SIGHUP)
			}
			eventually(t, node.name+" uses its new secret", func() bool { return node.secrets() > before })
			p.more()
		}
	}
	rotate(0, line("a"), line("b"))
	rotate(1, line("b"), line("a"))
	old := p.forget() // as after ten minutes
	rotate(2, line("b"))
	stop()
	for n := range p.at {
		for _, token := range []string{old[0], p.tokens[0], p.tokens[len(p.tokens)-1]} {
			want := http.StatusOK
			if token == old[0] { // its key is gone
				want = http.StatusUnauthorized
			}
			wish{method: "GET", url: p.at[n] + "/v2/", header: []string{"Authorization: Bearer " + token}}.must(t, want)
		}
	}
}
