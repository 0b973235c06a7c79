package cluster_test

import (
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/sim"
)

// lateDrop drops no node before it may, as while copies are left there.
type lateDrop struct {
	cluster.Roster
	may *atomic.Bool
}

// DropNode is a command that changes nothing before it may.
func (l lateDrop) DropNode(i entry.Incarnation, lost, unlessSole bool) []byte {
	if !l.may.Load() {
		return l.TermStarted()
	}
	return l.Roster.DropNode(i, lost, unlessSole)
}

// A node was there to spare when its removal began and another has died since: it stays a voter until
// the others are a quorum.
func TestLateRemovalLeavesAQuorum(t *testing.T) {
	var may atomic.Bool
	c := sim.Started(t, 3, sim.Options{Config: func(_ string, config *cluster.Config) {
		config.Roster = lateDrop{config.Roster, &may}
	}})
	leader := c.Leader()
	others := c.Others(leader)
	removed, dead := others[0], others[1]
	remove(t, c, leader, removed.Name)
	dead.Kill()
	may.Store(true)
	c.Eventually("it is dropped", func() bool {
		return nodeOf(t, leader, removed.Incarnation()).State == entry.Dropped || leader.Servers() < 3
	})
	pauseFor(t, time.Second) // in which it would cease to be a voter
	if err := set(t.Context(), leader, 2); err != nil {
		t.Fatalf("two of three nodes live and the cluster cannot write: %v; %d servers", err, leader.Servers())
	}
	c.Start(dead.Name)
	c.Eventually("the removal ends", func() bool { return c.Leader().Servers() == 2 })
}

// The replacement of a node that has the only copies is refused as a whole: its disk may come back, and
// then it is the member that it was.
func TestRefusedReplacementLeavesTheMember(t *testing.T) {
	c := sim.Started(t, 3, sim.Options{})
	leader := c.Leader()
	lost := c.Others(leader)[0]
	if _, err := fsm.Do(t.Context(), leader, fsm.SetStore{Name: "default", GCDelay: time.Hour, Replicas: 1, WriteAcks: 1}); err != nil {
		t.Fatal(err)
	}
	sum, err := fsm.Pack(digest.FromString("a blob"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fsm.Do(t.Context(), leader, fsm.BlobStored{
		Repository: "team/app", Store: "default", Digest: sum, Size: 6,
		Locations: []fsm.Location{{Incarnation: lost.Incarnation(), Copy: fsm.CopyID{1}}}, Stamp: leader.State.Position().Time,
	}); err != nil {
		t.Fatal(err)
	}
	lost.Kill()
	dir := c.Dir(lost.Name)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	blank := c.Start(lost.Name)
	c.Eventually("it is told why it is not taken in", func() bool {
		return strings.Contains(blank.Waiting(), fsm.ErrSoleCopies.Error())
	})
	blank.Kill()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	again := c.Start(lost.Name)
	if err := set(t.Context(), again, 7); err != nil {
		t.Fatal(err)
	}
	c.Eventually("it has what the others have", func() bool { return get(t, again) == 7 })
	if got := states(t, again); got != "n1=member n2=member n3=member" {
		t.Fatalf("the old disk came back, and the state is %s", got)
	}
}

// mute does not announce n3 while it is so: neither n3 itself does, nor the leader for it.
type mute struct {
	cluster.Roster
	still *atomic.Bool
}

// NodeStarted is a command that says nothing of the node.
func (m mute) NodeStarted(n entry.Node) []byte {
	if n.Name == "n3" && m.still.Load() {
		return m.TermStarted()
	}
	return m.Roster.NodeStarted(n)
}

// unannounced is a cluster whose third founder is a voter that the state knows nothing of.
func unannounced(t *testing.T) (c *sim.Cluster, third *sim.Node) {
	t.Helper()
	var still atomic.Bool
	still.Store(true)
	c = sim.New(t, 3, sim.Options{Config: func(_ string, config *cluster.Config) {
		config.Roster = mute{config.Roster, &still}
	}})
	for _, name := range []string{"n1", "n2", "n3"} {
		c.Start(name)
	}
	c.Eventually("two are members", func() bool { return states(t, c.Leader()) == "n1=member n2=member" })
	third = c.Node("n3")
	third.Kill()
	still.Store(false)
	return c, third
}

func TestFounderThatWasNeverAnnouncedIsRemoved(t *testing.T) {
	c, third := unannounced(t)
	c.Eventually("it is removed", func() bool {
		return c.Leader().Remove(t.Context(), third.Incarnation().String(), true) == nil || c.Leader().Servers() == 2
	})
	if n := c.Leader().Servers(); n != 2 {
		t.Errorf("%d servers", n)
	}
	if err := set(t.Context(), c.Leader(), 1); err != nil {
		t.Error(err)
	}
}

func TestFounderThatWasNeverAnnouncedIsReplaced(t *testing.T) {
	c, third := unannounced(t)
	if err := os.RemoveAll(c.Dir(third.Name)); err != nil {
		t.Fatal(err)
	}
	c.Start(third.Name)
	c.Settle(3)
	if n := c.Leader().Servers(); n != 3 {
		t.Errorf("%d servers", n)
	}
}
