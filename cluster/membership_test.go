package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/sim"
)

// states lists the nodes that are not dropped, as "n1=member", in the order of their names.
func states(t testing.TB, n *sim.Node) string {
	t.Helper()
	nodes, err := n.State.Nodes()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for i := range 9 {
		for _, node := range nodes {
			if node.Name == fmt.Sprintf("n%d", i) && node.State != entry.Dropped {
				all = append(all, node.Name+"="+node.State.String())
			}
		}
	}
	return strings.Join(all, " ")
}

// remove has a node taken out of the cluster, when enough of the others have answered in time to be a quorum.
func remove(t testing.TB, c *sim.Cluster, at *sim.Node, name string) {
	t.Helper()
	c.Eventually(name+" is let go", func() bool {
		err := at.Remove(t.Context(), name, false)
		return err == nil || !strings.Contains(states(t, at), name+"=member")
	})
}

func TestClusterOfOne(t *testing.T) {
	c := sim.Started(t, 1, sim.Options{Config: func(_ string, config *cluster.Config) { config.Peer = nil }})
	n := c.Leader()
	if err := set(t.Context(), n, 4); err != nil {
		t.Fatal(err)
	}
	n.Stop()
	n = c.Start("n1")
	if got, err := read(t.Context(), t, n); err != nil || got != 4 {
		t.Fatalf("after a restart: %d, %v", got, err)
	}
}

func TestFourthNodeJoinsAndLeaves(t *testing.T) {
	c := sim.Started(t, 3, sim.Options{})
	if err := set(t.Context(), c.Leader(), 4); err != nil {
		t.Fatal(err)
	}
	fourth := c.Start("n4")
	c.Settle(4)
	if got, err := read(t.Context(), t, fourth); err != nil || got != 4 {
		t.Fatalf("the new node reads %d, %v", got, err)
	}
	remove(t, c, c.Node("n2"), "n4")
	c.Eventually("it is gone", func() bool {
		leader := c.Leader()
		return states(t, leader) == "n1=member n2=member n3=member" && leader.Servers() == 3
	})
	fourth.Kill()
	// Its old directory is no way back in.
	fourth = c.Start("n4")
	if err := set(soon(t, time.Second), fourth, 5); err == nil {
		t.Fatal("a removed node writes")
	}
	fourth.Kill()
	if err := os.RemoveAll(c.Dir("n4")); err != nil {
		t.Fatal(err)
	}
	c.Start("n4")
	c.Settle(4)
}

func TestLeaderIsRemoved(t *testing.T) {
	c := sim.Started(t, 3, sim.Options{})
	leader := c.Leader()
	remove(t, c, leader, leader.Name)
	c.Eventually("another leads, without it", func() bool {
		for _, n := range c.Others(leader) {
			if n.Leads() && !strings.Contains(states(t, n), leader.Name) {
				return set(t.Context(), n, 9) == nil
			}
		}
		return false
	})
}

func TestRemoveRefuses(t *testing.T) {
	timing := sim.FastTiming()
	timing.Live = patience // a node that stands still for a moment is alive
	c := sim.Started(t, 3, sim.Options{Timing: timing})
	leader := c.Leader()
	others := c.Others(leader)
	for name, remove := range map[string]func() error{
		"a name that nobody has": func() error { return leader.Remove(t.Context(), "n7", false) },
		"as lost what is alive":  func() error { return others[0].Remove(t.Context(), others[1].Name, true) },
		"as lost the leader":     func() error { return others[0].Remove(t.Context(), leader.Name, true) },
	} {
		if err := remove(); err == nil {
			t.Errorf("%s: removed", name)
		}
	}
	if got := states(t, leader); got != "n1=member n2=member n3=member" {
		t.Fatalf("the state changed: %s", got)
	}
	others[1].Kill()
	err := leader.Remove(t.Context(), others[0].Name, false)
	refused := err != nil && (strings.Contains(err.Error(), "quorum") || errors.Is(err, cluster.ErrNoLeader))
	if !refused {
		t.Errorf("removed a node without which no quorum is left: %v", err)
	}
}

func TestNodeWithAnotherAddress(t *testing.T) {
	c := sim.Started(t, 3, sim.Options{})
	moved := c.Others(c.Leader())[0]
	moved.Kill()
	c.Move(moved.Name, "elsewhere:7373")
	again := c.Start(moved.Name)
	if err := set(t.Context(), c.Leader(), 8); err != nil {
		t.Fatal(err)
	}
	if got, err := read(t.Context(), t, again); err != nil || got != 8 {
		t.Fatalf("at its new address it reads %d, %v", got, err)
	}
	if again.Incarnation() != moved.Incarnation() {
		t.Fatal("a new address made it another node")
	}
}

// A node that returns empty is taken in under its old name, by itself, and by the next leader if the
// first one dies in the middle.
func TestEmptyNodeTakesItsOldPlace(t *testing.T) {
	c := sim.Started(t, 5, sim.Options{})
	lost := c.Others(c.Leader())[0]
	lost.Kill()
	if err := os.RemoveAll(c.Dir(lost.Name)); err != nil {
		t.Fatal(err)
	}
	c.Start(lost.Name)
	leader := c.Leader()
	c.Eventually("the old one is retired or gone", func() bool {
		node := nodeOf(t, leader, lost.Incarnation())
		return node.State == entry.Retired || node.State == entry.Dropped
	})
	leader.Kill()
	c.Eventually("the new one has its place", func() bool { return memberNames(t, c.Leader()) == "n1 n2 n3 n4 n5" })
	c.Start(leader.Name)
	c.Settle(5)
}

func nodeOf(t testing.TB, n *sim.Node, i entry.Incarnation) entry.Node {
	t.Helper()
	nodes, err := n.State.Nodes()
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range nodes {
		if node.Incarnation == i {
			return node
		}
	}
	return entry.Node{}
}

// While the old node lives, an impostor with its name is not taken in.
func TestLivingNodeIsNotReplaced(t *testing.T) {
	timing := sim.FastTiming()
	timing.Live = patience // a node that stands still for a moment is alive
	c := sim.Started(t, 3, sim.Options{Timing: timing})
	victim := c.Others(c.Leader())[0].Name
	impostor := c.StartAs("n9", victim)
	c.Eventually("it is told why", func() bool { return strings.Contains(impostor.Waiting(), "alive") })
	if got := states(t, c.Leader()); got != "n1=member n2=member n3=member" {
		t.Fatalf("the state changed: %s", got)
	}
}

func TestNodesThatDisagreeDoNotForm(t *testing.T) {
	expect := map[string]int{"n1": 3, "n2": 3, "n3": 2}
	c := sim.New(t, 3, sim.Options{Config: func(name string, config *cluster.Config) { config.Expect = expect[name] }})
	for name := range expect {
		c.Start(name)
	}
	pauseFor(t, 2*time.Second)
	for _, n := range c.Running() {
		if n.Leads() || n.LastIndex() != 0 {
			t.Fatalf("%s has state", n.Name)
		}
	}
}

// All nodes are killed again and again while they form a cluster; exactly one comes of it.
func TestFirstStartSurvivesKills(t *testing.T) {
	c := sim.New(t, 3, sim.Options{})
	for round := range 12 {
		for i := range 3 {
			c.Start(fmt.Sprintf("n%d", i+1))
		}
		pauseFor(t, time.Duration(40*round)*time.Millisecond)
		for _, n := range c.Running() {
			n.Kill()
		}
	}
	for i := range 3 {
		c.Start(fmt.Sprintf("n%d", i+1))
	}
	c.Settle(3)
	id := fmt.Sprintf("%x", c.Leader().State.ClusterID())
	for _, n := range c.Running() {
		if err := n.ReadIndex(soon(t, patience)); err != nil {
			t.Fatal(err)
		}
		c.Eventually("one cluster id", func() bool { return fmt.Sprintf("%x", n.State.ClusterID()) == id })
	}
}

func TestPartOfADirectoryIsALostDisk(t *testing.T) {
	c := sim.Started(t, 3, sim.Options{})
	n := c.Others(c.Leader())[0]
	n.Kill()
	for _, name := range []string{"incarnation", "raft.db", "fsm.db"} {
		path := filepath.Join(c.Dir(n.Name), name)
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.TryStart(n.Name); !errors.Is(err, cluster.ErrLostDisk) {
			t.Errorf("without %s: %v", name, err)
		}
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
	}
	c.Start(n.Name)
}

func TestStopHandsLeadershipOver(t *testing.T) {
	timing := sim.FastTiming()
	timing.Heartbeat, timing.Election, timing.Lease = 5*time.Second, 5*time.Second, 5*time.Second // nobody is elected unasked
	c := sim.Started(t, 3, sim.Options{Timing: timing})
	leader, term := leads(c)
	others := c.Others(leader)
	leader.Stop()
	if now := max(others[0].Term(), others[1].Term()); now != term+1 {
		t.Errorf("from term %d to %d by the time that it has stopped: not one election", term, now)
	}
	if err := set(t.Context(), others[0], 1); err != nil {
		t.Fatal(err)
	}
	for _, n := range others { // the last one would wait for somebody to take leadership
		n.Kill()
	}
}

// WhileLeader's work ends with the leadership, and what it proposes late is refused.
func TestWorkEndsWithLeadership(t *testing.T) {
	c := sim.Started(t, 3, sim.Options{})
	type start struct {
		node *sim.Node
		p    cluster.Proposer
		ctx  context.Context //nolint:containedctx // what the test looks at
	}
	starts := make(chan start, 16)
	ctx, stop := context.WithCancel(t.Context())
	var loops sync.WaitGroup
	for _, n := range c.Running() {
		loops.Go(func() {
			_ = n.WhileLeader(ctx, func(ctx context.Context, p cluster.Proposer) { // ends with the test
				select {
				case starts <- start{n, p, ctx}:
					<-ctx.Done()
				case <-ctx.Done():
				}
			})
		})
	}
	terms := map[*sim.Node]uint64{}
	// proposes is the next work that has proposed something before its term was over.
	proposes := func(value int) (s start) {
		c.Eventually("work proposes", func() bool {
			s = receive(t, "a beginning of work", starts)
			if term := cluster.TermOf(s.p); term <= terms[s.node] {
				t.Fatalf("work began again on %s in term %d", s.node.Name, term)
			}
			terms[s.node] = cluster.TermOf(s.p)
			_, err := fsm.Do(soon(t, patience), s.p, register(value))
			if err == nil || errors.Is(err, cluster.ErrNotLeader) || errors.Is(err, cluster.ErrUnknownOutcome) {
				return err == nil
			}
			t.Fatal(err)
			return false
		})
		return s
	}
	first := proposes(1)
	c.Eventually("another leads", func() bool {
		_ = first.node.Transfer(t.Context(), "") // one who is slow does not take it
		return first.ctx.Err() != nil
	})
	if second := proposes(2); cluster.TermOf(second.p) <= cluster.TermOf(first.p) {
		t.Fatal("the old term's work goes on")
	}
	if _, err := fsm.Do(t.Context(), first.p, register(3)); !errors.Is(err, cluster.ErrNotLeader) {
		t.Fatalf("a late proposal of the old term: %v", err)
	}
	stop()
	loops.Wait()
}

// A node whose state differs from a majority's neither serves nor votes, also after a restart.
func TestDifferingNodeIsFenced(t *testing.T) {
	c := sim.New(t, 3, sim.Options{Machine: func(name string, m cluster.StateMachine) cluster.StateMachine {
		if name == "n2" {
			return &forgetful{StateMachine: m}
		}
		return m
	}})
	for i := range 3 {
		c.Start(fmt.Sprintf("n%d", i+1))
	}
	c.Settle(3)
	// A short lease makes a short tick, so that hashes are compared often.
	if _, err := fsm.Do(soon(t, patience), c.Leader(), fsm.SetStore{Name: "default", GCDelay: 5 * time.Second, Replicas: 1, WriteAcks: 1}); err != nil {
		t.Fatal(err)
	}
	if err := set(t.Context(), c.Node("n1"), 666); err != nil {
		t.Fatal(err)
	}
	bad := c.Node("n2")
	c.Eventually("it is fenced", func() bool { return bad.State.Fenced() != "" })
	if err := bad.ReadIndex(t.Context()); !errors.Is(err, cluster.ErrFenced) {
		t.Errorf("it reads: %v", err)
	}
	if err := set(t.Context(), bad, 1); !errors.Is(err, cluster.ErrFenced) {
		t.Errorf("it writes: %v", err)
	}
	c.Eventually("another leads", func() bool { return c.Leader() != bad })
	bad.Kill()
	bad = c.Start("n2")
	if bad.State.Fenced() == "" {
		t.Error("a restart mends it")
	}
	if err := set(t.Context(), c.Node("n3"), 2); err != nil {
		t.Errorf("the others: %v", err)
	}
}

// forgetful changes a command on its way into one node's state.
type forgetful struct{ cluster.StateMachine }

// Apply gives the register 666 another value.
func (f *forgetful) Apply(entries []entry.Entry) []entry.Result {
	evil, good := mustEncode(register(666)), mustEncode(register(667))
	for i := range entries {
		if string(entries[i].Payload) == string(evil) {
			entries[i].Payload = good
		}
	}
	return f.StateMachine.Apply(entries)
}

func mustEncode(c fsm.Command) []byte {
	b, err := fsm.Encode(c)
	if err != nil {
		panic(err)
	}
	return b
}

// A node that comes with nothing gets all of its state from a snapshot, when the entries are no longer
// in anybody's log.
func TestNewNodeStartsFromSnapshot(t *testing.T) {
	timing := sim.FastTiming()
	timing.TrailingLogs, timing.SnapshotThreshold, timing.SnapshotInterval = 0, 1, 50*time.Millisecond
	c := sim.Started(t, 3, sim.Options{Timing: timing})
	leader := c.Leader()
	for i := range 30 {
		if err := set(t.Context(), leader, i+1); err != nil {
			t.Fatal(err)
		}
	}
	cut(c, c.Running()...) // whoever leads then
	fourth := c.Start("n4")
	c.Settle(4)
	if got, err := read(t.Context(), t, fourth); err != nil || got != 30 {
		t.Fatalf("read %d, %v", got, err)
	}
	if fourth.FirstIndex() == 1 {
		t.Fatal("the test did not test: the log came from its beginning")
	}
}
