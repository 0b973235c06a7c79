package peer_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cluster/peer"
)

type gossiper struct {
	*node
	*peer.Gossip
	advertise string
	stop      func()
}

// gossip runs gossip on a running node until the test ends. Under localhost, not 127.0.0.1: names must work.
func gossip(t *testing.T, n *node, meta func() []byte) *gossiper {
	t.Helper()
	g := &gossiper{node: n, advertise: strings.Replace(n.Addr().String(), "127.0.0.1", "localhost", 1)}
	var err error
	g.Gossip, err = n.NewGossip(peer.GossipConfig{
		Advertise: g.advertise, Meta: meta,
		Logger: hclog.New(&hclog.LoggerOptions{Output: n.log, Level: hclog.Debug, Name: "gossip"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- g.Run(ctx) }() // stop waits
	g.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-result:
			if err != nil {
				t.Errorf("run gossip: %v", err)
			}
		case <-time.After(patience):
			t.Error("run of gossip does not end")
		}
	})
	t.Cleanup(g.stop)
	return g
}

// await returns when the node sees exactly these members.
func (g *gossiper) await(t *testing.T, names ...string) []peer.Member {
	t.Helper()
	return g.awaitThat(t, strings.Join(names, " "), func(members []peer.Member) bool {
		return slices.EqualFunc(members, names, func(m peer.Member, name string) bool { return m.Name == name })
	})
}

func (g *gossiper) awaitThat(t *testing.T, what string, seen func([]peer.Member) bool) []peer.Member {
	t.Helper()
	deadline := time.After(patience)
	for {
		members := g.Members()
		if seen(members) {
			return members
		}
		select {
		case <-g.Changed():
		case <-deadline:
			t.Fatalf("%s sees %+v, want %s", g.name, members, what)
		}
	}
}

// gossipIn runs gossip on a host of a network in memory, where no name means an IP address.
func gossipIn(t *testing.T, m *memory, name, host string, meta func() []byte) *gossiper {
	t.Helper()
	c := config(name)
	c.Listen, c.Network = host+":7373", m.host(host)
	return gossip(t, start(t, c), meta)
}

func gossipers(t *testing.T, count int, lines ...[]byte) []*gossiper {
	t.Helper()
	var all []*gossiper
	for i := range count {
		c := config(fmt.Sprintf("zot-%d", i))
		c.Secrets = lines
		all = append(all, gossip(t, start(t, c), func() []byte { return []byte{byte(i)} }))
	}
	return all
}

func TestGossipFindsTheOthers(t *testing.T) {
	noLeak(t)
	all := gossipers(t, 3, line("a"))
	all[0].Join([]string{all[0].advertise, all[1].advertise})
	all[2].Join([]string{"", "a/b", all[1].advertise})
	for _, g := range all {
		members := g.await(t, "zot-0", "zot-1", "zot-2")
		for i, m := range members {
			want := peer.Member{Name: all[i].name, Address: all[i].advertise, Incarnation: incarnation(all[i].name), Meta: []byte{byte(i)}}
			if m.Address != want.Address || m.Incarnation != want.Incarnation || string(m.Meta) != string(want.Meta) {
				t.Errorf("%s sees %+v, want %+v", g.name, m, want)
			}
		}
	}
	all[1].stop()
	all[0].await(t, "zot-0", "zot-2")
	all[2].await(t, "zot-0", "zot-2")
}

func TestGossipRotates(t *testing.T) {
	noLeak(t)
	all := gossipers(t, 2, line("a"))
	all[0].Join([]string{all[1].advertise})
	all[0].await(t, "zot-0", "zot-1")
	for _, lines := range [][][]byte{{line("a"), line("b")}, {line("b"), line("a")}, {line("b")}} {
		for _, g := range all {
			if err := g.Rotate(lines); err != nil {
				t.Fatal(err)
			}
		}
	}
	// A node that has only the new line, and joins through one of the others, is heard of by both.
	c := config("zot-2")
	c.Secrets = [][]byte{line("b")}
	all = append(all, gossip(t, start(t, c), nil))
	all[2].Join([]string{all[1].advertise})
	for _, g := range all {
		g.await(t, "zot-0", "zot-1", "zot-2")
	}
}

func TestGossipKeepsClustersApart(t *testing.T) {
	noLeak(t)
	a := gossip(t, start(t, config("zot-a")), nil)
	c := config("zot-b")
	c.Cluster = "test"
	b := gossip(t, start(t, c), nil)
	a.Join([]string{b.advertise})
	a.log.await(t, "refused when dialing", `reason="cluster name"`)
	a.await(t, "zot-a")
	b.await(t, "zot-b")
}

func TestGossipRefusesItsConfig(t *testing.T) {
	n := start(t, config("zot-0"))
	for name, test := range map[string]struct{ advertise, says string }{
		"no port":  {"zot-0", "advertised address"},
		"too long": {strings.Repeat("x", 255) + ":7373", "at most 259"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := n.NewGossip(peer.GossipConfig{Advertise: test.advertise})
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("got %v, want one that says %q", err, test.says)
			}
		})
	}
}

func TestGossipMetaTooLong(t *testing.T) {
	noLeak(t)
	g := gossip(t, start(t, config("zot-0")), func() []byte { return make([]byte, peer.MaxMeta+1) })
	if members := g.await(t, "zot-0"); len(members[0].Meta) != 0 {
		t.Errorf("metadata of %d bytes are sent", len(members[0].Meta))
	}
	g.log.await(t, "[ERROR]", "gossip metadata is too long")
}

func TestGossipGivesThePortBack(t *testing.T) {
	n := start(t, config("zot-0"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		g, err := n.NewGossip(peer.GossipConfig{Advertise: n.Addr().String()})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Run(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGossipFollowsANodeToAnotherHost(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory) {
		a, b, c := gossipIn(t, m, "zot-a", "host-a", nil), gossipIn(t, m, "zot-b", "host-b", nil), gossipIn(t, m, "zot-c", "host-c", nil)
		b.Join([]string{a.advertise})
		c.Join([]string{a.advertise})
		for _, g := range []*gossiper{a, b, c} {
			g.await(t, "zot-a", "zot-b", "zot-c")
		}
		b.stop()
		b.node.stop()
		a.await(t, "zot-a", "zot-c")
		moved := gossipIn(t, m, "zot-b", "host-d", nil)
		moved.Join([]string{c.advertise})
		for _, g := range []*gossiper{a, c, moved} {
			// The old address may come first, from what the others still say of the node.
			g.awaitThat(t, "zot-b is at its new host", func(members []peer.Member) bool {
				return len(members) == 3 && members[1].Address == "host-d:7373"
			})
		}
	})
}

func TestGossipHealsAfterAPartition(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory) {
		a, b := gossipIn(t, m, "zot-a", "host-a", nil), gossipIn(t, m, "zot-b", "host-b", nil)
		a.Join([]string{b.advertise})
		a.await(t, "zot-a", "zot-b")
		b.await(t, "zot-a", "zot-b")
		m.isolate("host-b")
		a.await(t, "zot-a")
		b.await(t, "zot-b")
		time.Sleep(time.Hour) // memberlist has given up long since; the addresses of Join are tried again
		m.heal("host-b")
		a.await(t, "zot-a", "zot-b")
		b.await(t, "zot-a", "zot-b")
	})
}

// TestGossipSealsPackets: a packet shows the cluster's name, by which clusters that share a secret are kept apart, and
// nothing else.
func TestGossipSealsPackets(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory) {
		var packets atomic.Int64
		m.sniff = func(packet []byte) {
			packets.Add(1)
			if !bytes.Contains(packet[:min(8, len(packet))], []byte("prod")) {
				t.Errorf("a packet is not labelled: %q", packet)
			}
			for _, secret := range []string{"zot-a", "host-b", incarnation("zot-a")} {
				if bytes.Contains(packet, []byte(secret)) {
					t.Errorf("a packet shows %q: %q", secret, packet)
				}
			}
		}
		a, b := gossipIn(t, m, "zot-a", "host-a", nil), gossipIn(t, m, "zot-b", "host-b", nil)
		a.Join([]string{b.advertise})
		a.await(t, "zot-a", "zot-b")
		time.Sleep(10 * time.Second)
		if packets.Load() == 0 {
			t.Error("no packet is sent")
		}
	})
}

func TestGossipSpreadsMetadata(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory) {
		var meta atomic.Value
		meta.Store("before")
		a := gossipIn(t, m, "zot-a", "host-a", func() []byte { return []byte(meta.Load().(string)) })
		b := gossipIn(t, m, "zot-b", "host-b", nil)
		b.Join([]string{a.advertise})
		says := func(text string) func([]peer.Member) bool {
			return func(members []peer.Member) bool { return len(members) == 2 && string(members[0].Meta) == text }
		}
		b.awaitThat(t, "the first metadata", says("before"))
		meta.Store("after")
		b.awaitThat(t, "the new metadata", says("after"))
	})
}

// TestGossipKeepsQuiet sees that probes and their answers arrive, by packets, or by streams where packets are lost.
func TestGossipKeepsQuiet(t *testing.T) {
	for name, lost := range map[string]bool{"packets": false, "streams alone": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, m *memory) {
				m.losePackets = lost
				a, b, c := gossipIn(t, m, "zot-a", "host-a", nil), gossipIn(t, m, "zot-b", "host-b", nil), gossipIn(t, m, "zot-c", "host-c", nil)
				a.Join([]string{b.advertise, c.advertise})
				c.Join([]string{a.advertise, b.advertise})
				time.Sleep(time.Minute)
				for _, g := range []*gossiper{a, b, c} {
					g.await(t, "zot-a", "zot-b", "zot-c")
					if log := g.log.String(); strings.Contains(log, "Suspect") || strings.Contains(log, "UDP") != lost {
						t.Errorf("log of %s:\n%.2000s", g.name, log)
					}
				}
			})
		})
	}
}
