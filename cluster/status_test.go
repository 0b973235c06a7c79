package cluster_test

import (
	"fmt"
	"testing"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/test/sim"
)

// statusOf asks a node, which may have to be asked again while leadership moves.
func statusOf(t *testing.T, n *sim.Node) cluster.Status {
	t.Helper()
	s, err := n.Status(t.Context())
	if err != nil {
		t.Fatalf("%s: %v", n.Name, err)
	}
	return s
}

func TestStatus(t *testing.T) {
	t.Parallel()
	c := sim.Started(t, 3, sim.Options{})
	c.Settle(3)
	leader := c.Leader()
	for _, n := range c.Running() {
		c.Eventually("a whole status from "+n.Name, func() bool {
			s := statusOf(t, n)
			whole := s.Leader == c.Leader().Name && s.Term > 0 && s.FailureTolerance == 1 && len(s.Members) == 3
			for _, m := range s.Members {
				whole = whole && m.State == "member" && m.Voter && m.Applied != nil && *m.Lag == 0 && m.LastContactSeconds != nil
			}
			return whole
		})
	}
	members := statusOf(t, leader).Members
	for i, m := range members {
		if i > 0 && members[i-1].Name >= m.Name {
			t.Errorf("%s stands behind %s", m.Name, members[i-1].Name)
		}
	}

	others := c.Others(leader)
	others[0].Kill()
	c.Eventually("the killed node answers nobody", func() bool {
		s := statusOf(t, others[1])
		for _, m := range s.Members {
			if m.Name == others[0].Name && (m.Applied != nil || m.Lag != nil) {
				return false
			}
		}
		return s.FailureTolerance == 0 && s.Leader == c.Leader().Name
	})

	others[1].Kill()
	c.Eventually("no leader is named without a quorum", func() bool {
		s := statusOf(t, leader)
		return s.Leader == "" && s.FailureTolerance == 0 && len(s.Members) == 3
	})
}

func TestMoveLeadership(t *testing.T) {
	t.Parallel()
	c := sim.Started(t, 3, sim.Options{})
	c.Settle(3)
	leader := c.Leader()
	next := c.Others(leader)[0]
	for _, asked := range []*sim.Node{next, leader} { // then there is nothing to change
		c.Eventually(fmt.Sprintf("%s leads, asked at %s", next.Name, asked.Name), func() bool { // one who is slow does not take it
			err := asked.MoveLeadership(t.Context(), next.Name)
			return err == nil && next.Leads() && !leader.Leads()
		})
	}
	if err := leader.MoveLeadership(t.Context(), "nobody"); err == nil {
		t.Error("leadership was given to nobody")
	}
	c.Eventually("another leads", func() bool {
		was := c.Leader()
		return leader.MoveLeadership(t.Context(), "") == nil && !was.Leads() && statusOf(t, was).Leader != was.Name
	})
}

func TestMoveLeadershipOfOne(t *testing.T) {
	t.Parallel()
	c := sim.Started(t, 1, sim.Options{})
	leader := c.Leader()
	if err := leader.MoveLeadership(t.Context(), ""); err == nil {
		t.Error("a cluster of one found another leader")
	}
	if s := statusOf(t, leader); s.FailureTolerance != 0 || len(s.Members) != 1 || s.Leader != leader.Name {
		t.Errorf("%+v", s)
	}
}
