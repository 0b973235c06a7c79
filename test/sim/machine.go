package sim

import (
	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// Machine is an fsm.State as cluster wants to see it.
type Machine struct{ *fsm.State }

// OpenSnapshot opens the state for another node.
func (m Machine) OpenSnapshot() (entry.Position, int64, cluster.Stream, error) {
	s, err := m.State.OpenSnapshot()
	if err != nil {
		return entry.Position{}, 0, nil, err
	}
	return s.Position(), s.Size(), s, nil
}

// Settle waits until every one of count nodes is a voter and a member, as every running node sees it.
func (c *Cluster) Settle(count int) {
	c.t.Helper()
	c.Eventually("all nodes members", func() bool {
		for _, n := range c.Running() {
			nodes, err := n.State.Nodes()
			members := 0
			for _, node := range nodes {
				if node.State == entry.Member {
					members++
				}
			}
			if err != nil || members != count {
				return false
			}
		}
		return true
	})
}
