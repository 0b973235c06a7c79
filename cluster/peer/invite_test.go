package peer_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/peer"
)

// till spends tokens as the replicated state does: each is the first joiner's.
type till struct {
	mu    sync.Mutex
	spent map[[16]byte][16]byte
	err   error // instead
}

func (s *till) spend(_ context.Context, i peer.Invitation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if before, ok := s.spent[i.Token]; ok && before != i.Joiner {
		return peer.ErrTokenSpent
	}
	s.spent[i.Token] = i.Joiner
	return nil
}

func newTill() *till { return &till{spent: map[[16]byte][16]byte{}} }

// hosts are nodes that take in who has a token.
func hosts(t *testing.T, s *till, configs ...peer.Config) (all []*node) {
	t.Helper()
	for _, c := range configs {
		all = append(all, start(t, c, func(p *peer.Peer) { p.TakeIn(s.spend) }))
	}
	return all
}

func token(t *testing.T, n *node, now time.Time) string {
	t.Helper()
	text, _, err := n.Invite(now)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func newcomer(n *node, text string, joiner byte) peer.JoinConfig {
	return peer.JoinConfig{Address: n.Addr().String(), Token: text, Joiner: [16]byte{joiner}, Cluster: "prod", Node: "zot-9"}
}

func mustJoin(t *testing.T, c peer.JoinConfig, lines ...string) {
	t.Helper()
	before := time.Now()
	w, err := peer.Join(t.Context(), c)
	late := time.Since(before) // what the node says of its clock is of some time in between
	var got []string
	for _, l := range w.Secrets {
		got = append(got, string(l))
	}
	if err != nil || !slices.Equal(got, lines) || w.Ahead > time.Second || w.Ahead < -late-time.Second {
		t.Fatalf("%q, %v, clock ahead %s", got, err, w.Ahead)
	}
}

func notJoined(t *testing.T, c peer.JoinConfig, reason peer.JoinReason) {
	t.Helper()
	w, err := peer.Join(t.Context(), c)
	refused, _ := errors.AsType[*peer.JoinError](err)
	if refused == nil || refused.Reason != reason || len(w.Secrets) > 0 {
		t.Errorf("%d lines, %v; want a refusal for %q", len(w.Secrets), err, reason)
	}
}

func TestJoin(t *testing.T) {
	noLeak(t)
	two := config("zot-0")
	two.Secrets = [][]byte{line("a"), line("b")}
	swapped := config("zot-1")
	swapped.Secrets = [][]byte{line("b"), line("a")}
	all := hosts(t, newTill(), two, swapped, config("zot-2"))
	text := token(t, all[0], time.Now())
	mustJoin(t, newcomer(all[0], text, 1), string(line("a")), string(line("b")))
	mustJoin(t, newcomer(all[0], text, 1), string(line("a")), string(line("b"))) // the answer was lost
	mustJoin(t, newcomer(all[2], text, 1), string(line("a")))                    // and another node asked
	for _, n := range []*node{all[0], all[2]} {
		notJoined(t, newcomer(n, text, 2), peer.TokenSpent)
	}
	notJoined(t, newcomer(all[1], text, 1), peer.TokenForeign) // it shows the CA of its own first line
	notJoined(t, newcomer(all[0], token(t, all[0], time.Now().Add(-peer.TokenLife)), 3), peer.TokenExpired)
	other := newcomer(all[0], token(t, all[0], time.Now()), 3)
	other.Cluster = "test"
	notJoined(t, other, peer.JoinCluster)
	notJoined(t, newcomer(all[0], text[:40], 3), peer.TokenMalformed)
	all[0].log.await(t, "secret handed to a new machine", "node=zot-9")
	all[0].log.await(t, "new machine refused", `reason="token spent"`)
	for _, n := range all {
		if log := n.log.String(); strings.Contains(log, string(line("a"))) || strings.Contains(log, text[:30]) || strings.Contains(log, "no line of") {
			t.Errorf("what is secret, or wrong, stands in the log:\n%s", log)
		}
	}
}

// TestJoinWithOwnCertificates has nodes that are known to each other by certificates of the operator's: a token pins
// what comes from the secret all the same.
func TestJoinWithOwnCertificates(t *testing.T) {
	noLeak(t)
	own := newAuthority(t)
	a, b := config("zot-0"), config("zot-1")
	own.give(&a, time.Now())
	own.give(&b, time.Now())
	all := hosts(t, newTill(), a, b)
	mustJoin(t, newcomer(all[1], token(t, all[0], time.Now()), 1), string(line("a")))
}

func TestJoinIsNotDecided(t *testing.T) {
	noLeak(t)
	s := newTill()
	n := hosts(t, s, config("zot-0"))[0]
	c := newcomer(n, token(t, n, time.Now()), 1)
	s.err = errors.New("no leader")
	notJoined(t, c, peer.JoinUndecided)
	s.err = peer.ErrTokenExpired // by the leader's clock
	notJoined(t, c, peer.TokenExpired)
	s.err = nil
	mustJoin(t, c, string(line("a")))
}

// TestJoinElsewhere asks those who are not meant.
func TestJoinElsewhere(t *testing.T) {
	noLeak(t)
	n := hosts(t, newTill(), config("zot-0"))[0]
	text := token(t, n, time.Now())
	foreign := config("zot-0")
	foreign.Secrets = [][]byte{line("z")}
	notJoined(t, newcomer(hosts(t, newTill(), foreign)[0], text, 1), peer.TokenForeign)

	closed := start(t, config("zot-1"), func(p *peer.Peer) { p.Stream(peer.RaftProtocol) })
	if _, err := peer.Join(t.Context(), newcomer(closed, text, 1)); !errors.Is(err, peer.ErrNotSent) || !strings.Contains(err.Error(), "does not take in") {
		t.Errorf("a node that takes nobody in: %v", err)
	}
	closed.stop()
	if _, err := peer.Join(t.Context(), newcomer(closed, text, 1)); !errors.Is(err, peer.ErrNotSent) {
		t.Errorf("nobody is there: %v", err)
	}
	web, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // binding waits for nobody
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { // ended by Close
		defer close(served)
		for {
			c, err := web.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			_ = c.Close()
		}
	}()
	c := newcomer(n, text, 1)
	c.Address = web.Addr().String()
	if _, err := peer.Join(t.Context(), c); !errors.Is(err, peer.ErrNotSent) || !strings.Contains(err.Error(), "cluster.listen") {
		t.Errorf("another kind of server: %v", err)
	}
	_ = web.Close()
	<-served
}

// TestJoinProtocolOpensNothingElse has strangers without a certificate try to come in beside it.
func TestJoinProtocolOpensNothingElse(t *testing.T) {
	noLeak(t)
	n := start(t, config("zot-0"), handleEcho, func(p *peer.Peer) { p.TakeIn(newTill().spend) })
	for _, protocols := range [][]string{
		{peer.APIProtocol}, {peer.JoinProtocol, peer.APIProtocol}, {peer.APIProtocol, peer.JoinProtocol}, {"h2"}, nil,
	} {
		c, err := tls.Dial("tcp", n.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: protocols}) //nolint:noctx // a stranger
		if err == nil {                                                                                            // the server's verdict on the missing certificate comes after the client's part
			_ = c.SetDeadline(time.Now().Add(patience))
			_, err = c.Read(make([]byte, 1))
			_ = c.Close()
		}
		if err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%q: %v", protocols, err)
		}
	}
	// With the protocol alone: a hello is not answered, nor is silence waited for longer than for any stranger.
	c, err := tls.Dial("tcp", n.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{peer.JoinProtocol}}) //nolint:noctx // a stranger
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // the test is over
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Read(make([]byte, 1)); got != 0 || err == nil {
		t.Errorf("%d bytes in answer to garbage, %v", got, err)
	}
}

// TestJoinEndsWithRun has a joiner who waits for a cluster that does not decide.
func TestJoinEndsWithRun(t *testing.T) {
	noLeak(t)
	asked := make(chan struct{})
	n := start(t, config("zot-0"), func(p *peer.Peer) {
		p.TakeIn(func(ctx context.Context, _ peer.Invitation) error {
			close(asked)
			<-ctx.Done()
			return ctx.Err()
		})
	})
	c := newcomer(n, token(t, n, time.Now()), 1)
	joined := make(chan error, 1)
	go func() {
		_, err := peer.Join(t.Context(), c)
		joined <- err
	}()
	receive(t, "the joiner", asked)
	n.stop()
	err := receive(t, "the end of joining", joined)
	refused, _ := errors.AsType[*peer.JoinError](err)
	if !errors.Is(err, peer.ErrNoAnswer) && (refused == nil || refused.Reason != peer.JoinUndecided) {
		t.Errorf("%v, and the joiner may ask again", err)
	}
}
