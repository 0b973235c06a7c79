package peer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/peer"
)

func TestNewRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*peer.Config)
		says   string
	}{
		"no cluster":        {func(c *peer.Config) { c.Cluster = "" }, "cluster name is missing"},
		"no node":           {func(c *peer.Config) { c.Node = "" }, "node name is missing"},
		"no incarnation":    {func(c *peer.Config) { c.Incarnation = "" }, "incarnation is missing"},
		"long cluster":      {func(c *peer.Config) { c.Cluster = strings.Repeat("x", 129) }, "at most 128"},
		"no secret":         {func(c *peer.Config) { c.Secrets = nil }, "no line"},
		"short secret":      {func(c *peer.Config) { c.Secrets = [][]byte{line("a"), []byte("short")} }, "line 2 of the secret has 5 characters, at least 32"},
		"short when tidied": {func(c *peer.Config) { c.Secrets = [][]byte{[]byte(strings.Repeat(" ", 40))} }, "0 characters"},
		"half of own certificates": {func(c *peer.Config) {
			own := newAuthority(t)
			c.CA = own.pool
		}, "go together"},
		"own certificate without a key": {func(c *peer.Config) {
			newAuthority(t).give(c, time.Now())
			c.Certificate.PrivateKey = nil
		}, "has no key"},
		"bad address": {func(c *peer.Config) { c.Listen = "nowhere" }, "listen on nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			c := config("zot-0")
			test.change(&c)
			_, err := peer.New(c)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("got %v, want one that says %q", err, test.says)
			}
		})
	}
}

func TestRunGivesThePortBackWhenItsContextHasEnded(t *testing.T) {
	noLeak(t)
	c := config("zot-0")
	network := newMemory().host("zot-0") // of which nobody else takes a port
	c.Listen, c.Network = "zot-0:7373", network
	p, err := peer.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Run(ctx); err != nil {
		t.Fatal(err)
	}
	l, err := network.Listen(p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := p.Run(ctx); err == nil {
		t.Fatal("a second run is no error")
	}
}

func TestRunClosesEverything(t *testing.T) {
	noLeak(t)
	busy := make(chan struct{})
	a := start(t, config("zot-0"), func(p *peer.Peer) {
		p.Stream(peer.RaftProtocol)
		p.Handle("/wait", func(ctx context.Context, _ peer.Caller, _ []byte) ([]byte, error) {
			close(busy)
			<-ctx.Done()
			return nil, ctx.Err()
		})
	})
	b := start(t, config("zot-1"), func(p *peer.Peer) { p.Stream(peer.RaftProtocol) })
	dialed, err := b.Stream(peer.RaftProtocol).Dial(t.Context(), a.target())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := a.Stream(peer.RaftProtocol).Accept()
	if err != nil {
		t.Fatal(err)
	}
	called := make(chan error, 1)
	go func() {
		_, err := b.Call(t.Context(), a.target(), "/wait", nil)
		called <- err
	}()
	receive(t, "the call", busy)
	a.stop()
	if err := receive(t, "the end of the call", called); !errors.Is(err, peer.ErrNoAnswer) || !errors.Is(err, peer.ErrUnreachable) {
		t.Errorf("a call cut by the other node's end: %v", err)
	}
	if _, err := accepted.Read(make([]byte, 1)); err == nil {
		t.Error("an accepted connection is open after run")
	}
	if _, err := dialed.Read(make([]byte, 1)); err == nil {
		t.Error("the other node does not see the connection closed")
	}
	if _, err := a.Stream(peer.RaftProtocol).Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after run: %v", err)
	}
	if _, err := a.Stream(peer.RaftProtocol).Dial(t.Context(), b.target()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial after run: %v", err)
	}
	if _, err := b.Call(t.Context(), a.target(), "/wait", nil); !errors.Is(err, peer.ErrNotSent) {
		t.Errorf("call of a node that ended: %v", err)
	}
}

func TestRotation(t *testing.T) {
	noLeak(t)
	var nodes []*node
	for i := range 3 {
		nodes = append(nodes, start(t, config(fmt.Sprintf("zot-%d", i)), handleEcho, serves("own/1")))
	}
	old := start(t, config("old"), handleEcho)
	standing, err := old.Stream("own/1").Dial(t.Context(), nodes[0].target()) // one of calls would be closed after a while
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := nodes[0].Stream("own/1").Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name  string
		lines [][]byte
	}{
		{"append", [][]byte{line("a"), line("b")}},
		{"swap", [][]byte{line("b"), line("a")}},
		{"remove", [][]byte{line("b")}},
	} {
		for _, n := range nodes { // all talk after each node, not only after each step
			if err := n.Rotate(step.lines); err != nil {
				t.Fatal(err)
			}
			for _, from := range nodes {
				for _, to := range nodes {
					mustEcho(t, from, to.target())
				}
			}
		}
	}
	for _, pair := range [][2]net.Conn{{standing, accepted}, {accepted, standing}} {
		if _, err := pair[0].Write([]byte("x")); err != nil {
			t.Errorf("a standing connection after the rotation: %v", err)
		}
		_ = pair[1].SetReadDeadline(time.Now().Add(patience))
		if _, err := pair[1].Read(make([]byte, 1)); err != nil {
			t.Errorf("a standing connection after the rotation: %v", err)
		}
	}
	for _, pair := range [][2]*node{{old, nodes[0]}, {nodes[1], old}} {
		_, err := pair[0].Call(t.Context(), pair[1].target(), "/echo", nil)
		wantRefused(t, err, peer.Secret, pair[0].name)
		if !errors.Is(err, peer.ErrNotSent) {
			t.Errorf("a refused call is not ErrNotSent: %v", err)
		}
	}
	if err := nodes[0].Rotate([][]byte{[]byte("short")}); err == nil {
		t.Fatal("a short line is taken")
	}
	mustEcho(t, nodes[0], nodes[1].target())
}

func TestKeys(t *testing.T) {
	c := config("zot-0")
	c.Secrets = [][]byte{line("a"), line("b")}
	a := start(t, c)
	c = config("zot-1")
	c.Secrets = [][]byte{line("b"), append(line("a"), "\r\n"...)}
	b := start(t, c)
	ours, theirs := a.Keys().Derive("session", 32), b.Keys().Derive("session", 32)
	if len(ours) != 2 || len(ours[0]) != 32 || bytes.Equal(ours[0], ours[1]) {
		t.Fatalf("keys are %x", ours)
	}
	if !bytes.Equal(ours[0], theirs[1]) || !bytes.Equal(ours[1], theirs[0]) {
		t.Errorf("two nodes derive different keys from the same lines: %x, %x", ours, theirs)
	}
	if other := a.Keys().Derive("upload", 32); bytes.Equal(other[0], ours[0]) {
		t.Error("two labels give the same key")
	}
	before := a.Keys()
	if err := a.Rotate([][]byte{line("c")}); err != nil {
		t.Fatal(err)
	}
	if len(before.Derive("session", 32)) != 2 || len(a.Keys().Derive("session", 32)) != 1 {
		t.Error("keys do not hold the lines of their moment")
	}
}
