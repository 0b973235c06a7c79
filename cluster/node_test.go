package cluster_test

import (
	"testing"

	"github.com/seed-16d79997/zot/test/sim"
)

func TestThreeNodesForm(t *testing.T) {
	c := sim.Started(t, 3, sim.Options{})
	leader := c.Leader()
	for _, n := range c.Running() {
		if err := n.ReadIndex(soon(t, patience)); err != nil {
			t.Fatalf("%s: %v", n.Name, err)
		}
	}
	leader.Kill()
	next := c.Leader()
	if next == leader {
		t.Fatal("the killed leader leads")
	}
	c.Start(leader.Name)
	c.Settle(3)
}
