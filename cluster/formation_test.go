package cluster_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/test/sim"
)

// waitsFor waits until a node says why it does not start, in these words; and fails the test if it leads.
func waitsFor(c *sim.Cluster, t testing.TB, n *sim.Node, words string) {
	t.Helper()
	c.Eventually("it says: "+words, func() bool {
		if n.Leads() {
			t.Fatalf("%s has made a cluster of its own", n.Name)
		}
		return strings.Contains(n.Waiting(), words)
	})
}

// A name that leads nowhere for a moment may be that of a node with state: a node that knows of no
// other must not take itself for the first one.
func TestUnknownSeedMakesNoSecondCluster(t *testing.T) {
	c := sim.Started(t, 1, sim.Options{Config: func(name string, config *cluster.Config) {
		if name == "n2" {
			config.Seeds = func(context.Context) (addresses, unknown []string) { return nil, []string{"dns:zot:7373"} }
		}
	}})
	waitsFor(c, t, c.Start("n2"), "dns:zot:7373")
}

// Enough nodes for the first start are there, and one more is named that does not answer: it may have
// the state of a cluster.
func TestMoreSeedsThanExpectedMakeNoSecondCluster(t *testing.T) {
	c := sim.New(t, 3, sim.Options{Config: func(_ string, config *cluster.Config) { config.Expect = 2 }})
	first, second := c.Start("n1"), c.Start("n2")
	for _, n := range []*sim.Node{first, second} {
		waitsFor(c, t, n, "may have state")
	}
	if first.LastIndex() != 0 || second.LastIndex() != 0 {
		t.Error("a log was begun")
	}
}

// A crash between the two writes of the first start, the term and the first entry, leaves a directory
// that starts.
func TestTornFirstStartIsMended(t *testing.T) {
	var c *sim.Cluster
	var once sync.Once
	images := map[string][]byte{"raft.db": nil, "fsm.db": nil}
	c = sim.New(t, 1, sim.Options{Config: func(name string, config *cluster.Config) {
		config.Peer = nil
		config.BeforeWrite = func(op string) {
			if op != "store logs" {
				return
			}
			once.Do(func() {
				for file := range images {
					b, err := os.ReadFile(filepath.Join(c.Dir(name), file))
					if err != nil {
						t.Error(err)
					}
					images[file] = b
				}
			})
		}
	}})
	n := c.Start("n1")
	c.Settle(1)
	n.Kill()
	for file, image := range images {
		if err := os.WriteFile(filepath.Join(c.Dir("n1"), file), image, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n = c.Start("n1")
	c.Eventually("it leads", n.Leads)
	if err := set(t.Context(), n, 1); err != nil {
		t.Error(err)
	}
}
