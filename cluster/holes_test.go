package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/sim"
)

// The tests of this file run whole nodes into the known holes of the Raft library. Each names the rule
// that keeps its hole shut; without the rule it fails.

// patience is for what must happen, on a machine that does other things; its only purpose is that a test ends.
const patience = time.Minute

// set writes a number through a node: a register is a store's gcDelay beyond a thousand hours.
func set(ctx context.Context, n *sim.Node, value int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := fsm.Do(ctx, n, register(value))
	return err
}

func register(value int) fsm.SetStore {
	return fsm.SetStore{Name: "register", GCDelay: 1000*time.Hour + time.Duration(value), Replicas: 3, WriteAcks: 2}
}

// get reads the number from a node's own state; 0 if it was never written.
func get(t testing.TB, n *sim.Node) int {
	t.Helper()
	value := 0
	err := n.State.View(func(v fsm.View) error {
		if s, ok := v.Store("register"); ok {
			value = int(s.GCDelay - 1000*time.Hour)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// read is a linearizable read of the number.
func read(ctx context.Context, t testing.TB, n *sim.Node) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := n.ReadIndex(ctx); err != nil {
		return 0, err
	}
	return get(t, n), nil
}

// leads waits for a leader, and returns it with the term that it leads: as long as that is a node's term, nobody
// else has led since.
func leads(c *sim.Cluster) (leader *sim.Node, term uint64) {
	c.Eventually("a leader of a term", func() bool {
		leader = c.Leader()
		term = leader.LeadsTerm()
		return term != 0
	})
	return leader, term
}

// receive is what comes from a channel; it fails the test if nothing comes.
func receive[T any](t testing.TB, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatalf("%s: nothing came", what)
	}
	return v
}

// soon is a context for what must not take long.
func soon(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func isolate(c *sim.Cluster, n *sim.Node, hold bool) {
	for i := range 5 {
		other := fmt.Sprintf("n%d", i+1)
		if other != n.Name {
			c.Network.Hold(n.Name, other, hold)
			c.Network.Hold(other, n.Name, hold)
		}
	}
}

// cut waits until all that is in nodes' logs now is gone from them; trailing logs have to be none.
func cut(c *sim.Cluster, nodes ...*sim.Node) {
	for _, n := range nodes {
		last := n.LastIndex()
		c.Eventually("the log is cut", func() bool { return n.FirstIndex() == 0 || n.FirstIndex() > last })
	}
}

// Rule: a directory's incarnation is the Raft server id. A member that returns with an empty disk is
// another server, which neither votes nor bootstraps: with its old id it voted for a leader without
// the acknowledged entries, and they were lost.
func TestEmptyDiskDoesNotVote(t *testing.T) {
	c := sim.Started(t, 3, sim.Options{})
	leader := c.Leader()
	others := c.Others(leader)
	behind, witness := others[0], others[1]
	isolate(c, behind, true)
	for i := range 20 {
		if err := set(t.Context(), leader, i+1); err != nil {
			t.Fatal(err)
		}
	}
	witness.Kill()
	leader.Kill()
	if err := os.RemoveAll(c.Dir(witness.Name)); err != nil {
		t.Fatal(err)
	}
	c.Network.Heal()
	blank := c.Start(witness.Name)
	// The two are a majority by name. For as long as several elections take, they must not elect.
	ctx := soon(t, 3*time.Second)
	if err := set(ctx, behind, 1000); !errors.Is(err, cluster.ErrNoLeader) {
		t.Fatalf("a write without the acknowledged entries: %v", err)
	}
	if blank.Leads() || behind.Leads() {
		t.Fatal("a node leads that the acknowledged entries are not on")
	}
	c.Start(leader.Name)
	got, err := read(t.Context(), t, behind)
	if err != nil || got != 20 {
		t.Fatalf("after the true disk came back the register is %d, %v; acknowledged was 20", got, err)
	}
	c.Eventually("the empty node takes its old place", func() bool { return memberNames(t, c.Leader()) == "n1 n2 n3" })
}

// memberNames lists the members as a node's state has them, and fails if two have one name.
func memberNames(t testing.TB, n *sim.Node) string {
	t.Helper()
	nodes, err := n.State.Nodes()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, node := range nodes {
		if node.State == entry.Member {
			if found[node.Name] {
				t.Fatalf("two members are named %s", node.Name)
			}
			found[node.Name] = true
		}
	}
	var names []string
	for i := range 6 {
		if name := fmt.Sprintf("n%d", i+1); found[name] {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// Rule: a new leader's first command is TermStarted, and rounds take an index only after it. Raft's own
// no-op reaches no state machine, so a round that took its index would wait for ever.
func TestReadOnIdleClusterAfterElection(t *testing.T) {
	c := sim.Started(t, 3, sim.Options{})
	if err := set(t.Context(), c.Leader(), 7); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c.Leader().Kill()
		for _, n := range c.Running() {
			if got, err := read(t.Context(), t, n); err != nil || got != 7 {
				t.Fatalf("read at %s: %d, %v", n.Name, got, err)
			}
		}
		for i := range 3 {
			if name := fmt.Sprintf("n%d", i+1); c.Node(name) == nil {
				c.Start(name)
			}
		}
	}
}

// slowed delays Apply on the node that leads.
type slowed struct {
	cluster.StateMachine
	slow *atomic.Pointer[string]
	name string
	by   time.Duration
}

// Apply applies late.
func (s slowed) Apply(entries []entry.Entry) []entry.Result {
	if who := s.slow.Load(); who != nil && *who == s.name {
		timer := time.NewTimer(s.by)
		defer timer.Stop()
		<-timer.C
	}
	return s.StateMachine.Apply(entries)
}

// Rule: a round's index is the leader's commit index, not what its state machine has applied. A
// follower may apply first, and a read there followed by one at the leader would go back.
func TestReadsNeverGoBack(t *testing.T) {
	var slow atomic.Pointer[string]
	c := sim.Started(t, 3, sim.Options{Machine: func(name string, m cluster.StateMachine) cluster.StateMachine {
		return slowed{m, &slow, name, 20 * time.Millisecond}
	}})
	leader := c.Leader()
	slow.Store(&leader.Name)
	ctx, stop := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	writing.Go(func() {
		for i := 1; ctx.Err() == nil; i++ {
			_ = set(ctx, leader, i) // what matters is what is read
		}
	})
	all := append(c.Others(leader), leader)
	last, behind := 0, 0
	end := soon(t, patience)
	for i := 0; i < 400 || (last < 10 || behind == 0) && end.Err() == nil; i++ {
		n := all[i%len(all)]
		got, err := read(t.Context(), t, n)
		if err != nil {
			t.Fatal(err)
		}
		if got < last {
			t.Fatalf("read %d at %s gave %d after %d", i, n.Name, got, last)
		}
		last = got
		if leader.Applied() < all[0].Applied() {
			behind++
		}
	}
	stop()
	writing.Wait()
	if last < 10 || behind == 0 {
		t.Fatalf("the test did not test: %d writes, leader behind a follower %d times", last, behind)
	}
}

// Rule: an answer counts in a round only if it was sent after the index was taken, and by a node that
// is still in the leader's term. A leader that is cut off while its last messages and their answers
// are on their way must not take these for proof that it leads (VerifyLeader did, in 7 of 160 runs).
func TestCutOffLeaderNeverAnswersFresh(t *testing.T) {
	timing := sim.FastTiming()
	timing.Heartbeat, timing.Election, timing.Lease = 300*time.Millisecond, 300*time.Millisecond, 250*time.Millisecond
	for trial := range 5 {
		c := sim.Started(t, 3, sim.Options{Timing: timing})
		old := c.Leader()
		others := c.Others(old)
		if err := set(t.Context(), old, 1); err != nil {
			t.Fatal(err)
		}
		// Its last requests arrive; the answers come at +240, +480 and +724 ms, each just in time for the
		// lease; the others hear nothing more, and elect meanwhile.
		c.Network.Stagger(others[0].Name, old.Name, 240*time.Millisecond, 724*time.Millisecond)
		c.Network.Stagger(others[1].Name, old.Name, 480*time.Millisecond)
		c.Eventually("the last answers are on their way", func() bool {
			return c.Network.Staggered(others[0].Name, old.Name) >= 2 && c.Network.Staggered(others[1].Name, old.Name) >= 1
		})
		for _, o := range others {
			c.Network.Hold(old.Name, o.Name, true)
		}
		var stale atomic.Int64
		ctx, stop := context.WithCancel(t.Context())
		var wrote atomic.Int64
		wrote.Store(1)
		var reading sync.WaitGroup
		for range 4 {
			reading.Go(func() {
				for ctx.Err() == nil {
					before := wrote.Load()
					got, err := read(ctx, t, old)
					if err == nil && int64(got) < before {
						stale.Add(1)
					}
				}
			})
		}
		c.Eventually("the others elect", func() bool { return others[0].Leads() || others[1].Leads() })
		for i := range 20 {
			if err := set(t.Context(), others[i%2], 2+i); err != nil {
				t.Fatal(err)
			}
			wrote.Store(int64(2 + i))
		}
		pauseFor(t, 300*time.Millisecond) // the last delayed answers arrive at the old leader
		stop()
		reading.Wait()
		if n := stale.Load(); n > 0 {
			t.Fatalf("trial %d: %d stale answers were given as fresh", trial, n)
		}
		for _, n := range c.Running() {
			n.Kill()
		}
	}
}

// Rule: a write that was forwarded to a leader which then falls silent goes on at the next one, under the same
// request id, and does not wait as long as the old one is silent.
func TestForwardedWriteOutlivesItsLeader(t *testing.T) {
	c := sim.Started(t, 3, sim.Options{})
	old := c.Leader()
	others := c.Others(old)
	for _, o := range others {
		if err := set(t.Context(), o, 1); err != nil { // connections stand
			t.Fatal(err)
		}
	}
	for _, o := range others { // silent, as on a line that is cut: nobody hangs up
		c.Network.Hold(old.Name, o.Name, true)
	}
	// The old leader still hears, and may append; nobody hears it say so.
	var writing sync.WaitGroup
	for i, o := range others {
		writing.Go(func() {
			if err := set(t.Context(), o, 2+i); err != nil { // an election takes a fraction of its patience
				t.Errorf("write at %s: %v", o.Name, err)
			}
		})
	}
	writing.Wait()
}

// pauseFor lets time pass in which something must not happen.
func pauseFor(t testing.TB, d time.Duration) { <-soon(t, d).Done() }

// Rule: Apply refuses an envelope whose term is not the entry's own. Raft takes the bytes before it
// picks the term, so a leader's entry can come to stand in its next term; and such a refusal is no
// result: the same request is then wrapped anew and applied.
func TestEntryOfDeposedLeaderIsRefused(t *testing.T) {
	c := sim.Started(t, 3, sim.Options{})
	payload, err := fsm.Encode(register(5))
	if err != nil {
		t.Fatal(err)
	}
	var leader *sim.Node
	var id entry.RequestID
	var result entry.Result
	c.Eventually("a leader appends it", func() bool { // one that has just been deposed does not
		leader = c.Leader()
		id = leader.NewRequest()
		result, err = leader.AppendAs(soon(t, patience), entry.Envelope{Request: id, Term: leader.Term() - 1}, payload)
		return result.Outcome != 0
	})
	if !errors.Is(err, cluster.ErrNotLeader) || result.Outcome != entry.WrongTerm {
		t.Fatalf("an envelope of the term before: outcome %d, %v", result.Outcome, err)
	}
	if got, err := read(t.Context(), t, c.Others(leader)[0]); err != nil || got != 0 {
		t.Fatalf("it was applied: %d, %v", got, err)
	}
	if result, err := leader.ProposeAs(t.Context(), id, payload); err != nil || result.Outcome != entry.Applied {
		t.Fatalf("the same request in the right term: outcome %d, %v", result.Outcome, err)
	}
}

// Rule: results are kept for a window, and a first try that is older is refused instead of answered.
// What has been forgotten could else be applied twice.
func TestLateRetryIsRefused(t *testing.T) {
	c := sim.Started(t, 3, sim.Options{})
	leader := c.Leader()
	delay := func(d time.Duration) {
		if _, err := fsm.Do(soon(t, patience), leader, fsm.SetStore{Name: "default", GCDelay: d, Replicas: 1, WriteAcks: 1}); err != nil {
			t.Fatal(err)
		}
	}
	delay(time.Hour)
	sum, err := fsm.Pack(digest.FromString("a blob"))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := fsm.Encode(fsm.BlobStored{
		Repository: "team/app", Store: "default", Digest: sum, Size: 6,
		Locations: []fsm.Location{{Incarnation: leader.Incarnation(), Copy: fsm.CopyID{1}}},
		Stamp:     leader.State.Position().Time,
	})
	if err != nil {
		t.Fatal(err)
	}
	id := leader.NewRequest()
	for range 2 { // a retry in time gives the kept result
		if result, err := leader.ProposeAs(t.Context(), id, payload); err != nil || result.Outcome != entry.Applied {
			t.Fatalf("outcome %d (%s), %v", result.Outcome, result.Bytes, err)
		}
	}
	delay(5 * time.Second)
	began := leader.State.Position().Time
	c.Eventually("the window of 1.25 s of state time passes", func() bool {
		return leader.State.Position().Time.Sub(began) > 2*time.Second
	})
	for _, n := range c.Running() {
		result, err := n.ProposeAs(t.Context(), id, payload)
		if err != nil || result.Outcome != entry.Expired {
			t.Fatalf("late retry at %s: outcome %d, %v", n.Name, result.Outcome, err)
		}
	}
}

// Rule: the leader admits a payload before it logs it. What no node can apply would halt them all.
func TestUnfitPayloadIsRefusedBeforeTheLog(t *testing.T) {
	c := sim.Started(t, 3, sim.Options{})
	leader := c.Leader()
	good, err := fsm.Encode(register(1))
	if err != nil {
		t.Fatal(err)
	}
	newer := append([]byte(nil), good...)
	newer[1+int(newer[0])]++ // its version
	for name, payload := range map[string][]byte{
		"empty":     {},
		"malformed": good[:len(good)-1],
		"trailing":  append(append([]byte(nil), good...), 0),
		"oversized": append(append([]byte(nil), good...), make([]byte, entry.MaxPayload)...),
		"too new":   newer,
		"unknown":   append([]byte{3}, "abc\x01\xa0"...),
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range c.Running() {
				before := leader.LastIndex()
				if _, err := n.Propose(t.Context(), payload); !errors.Is(err, cluster.ErrRefused) {
					t.Errorf("at %s: %v", n.Name, err)
				}
				if after := leader.LastIndex(); after != before && leader.Leads() {
					// A hash check may have come between; the payload must not be in the log.
					for i := before + 1; i <= after; i++ {
						if leader.LogHolds(i, payload) {
							t.Errorf("entry %d is the payload", i)
						}
					}
				}
			}
		})
	}
	if err := set(t.Context(), leader, 2); err != nil {
		t.Fatalf("afterwards: %v", err)
	}
}

// Rule: the term and the candidate of a vote are one write (raft #661). The image of the log's file
// before each write is what a crash there leaves; none may hold a term with another term's candidate.
func TestVotesAreAtomic(t *testing.T) {
	var mu sync.Mutex
	var images []string
	count := 0
	dir := t.TempDir()
	var c *sim.Cluster
	c = sim.New(t, 3, sim.Options{Config: func(name string, config *cluster.Config) {
		if name != "n2" {
			return
		}
		config.BeforeWrite = func(op string) {
			b, err := os.ReadFile(filepath.Join(c.Dir(name), cluster.LogName))
			if err != nil || op == "store logs" {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			image := filepath.Join(dir, fmt.Sprintf("%d.db", count))
			count++
			if err := os.WriteFile(image, b, 0o600); err != nil {
				t.Error(err)
			}
			images = append(images, image)
		}
	}})
	for i := range 3 {
		c.Start(fmt.Sprintf("n%d", i+1))
	}
	c.Settle(3)
	votes := map[uint64]string{}
	look := func() { // at the images since the last time
		mu.Lock()
		taken := images
		images = nil
		mu.Unlock()
		for _, image := range taken {
			term, candidate := cluster.VoteIn(t, image)
			if term == 0 {
				continue
			}
			if known, ok := votes[term]; ok && known != candidate {
				t.Fatalf("in term %d a crash leaves a vote for %q, and another one for %q", term, candidate, known)
			}
			votes[term] = candidate
		}
	}
	end := soon(t, patience)
	for i := 0; i < 6 || len(votes) < 3 && end.Err() == nil; i++ { // elections, in which n2 votes for each of the others and itself
		leader := c.Leader()
		leader.Kill()
		c.Leader()
		c.Start(leader.Name)
		look()
	}
	c.Leader()
	for _, n := range c.Running() {
		n.Kill()
	}
	look()
	if len(votes) < 3 {
		t.Fatalf("the test did not test: %d votes", len(votes))
	}
}

// Rule: the log is monotonic, what waits uncommitted is bounded below the trailing logs, and a node
// that installs a snapshot below the end of its own stale log restarts at once (raft #697). Without it
// the node installs the same snapshot for ever, and votes by a log that it no longer has.
func TestStaleLongLogCatchesUp(t *testing.T) {
	timing := sim.FastTiming()
	timing.TrailingLogs, timing.SnapshotThreshold, timing.SnapshotInterval = 0, 1, 50*time.Millisecond
	c := sim.Started(t, 3, sim.Options{Timing: timing})
	var old *sim.Node
	var others []*sim.Node
	c.Eventually("a stale log that is longer", func() bool { // unless a leader notices that it is alone before it has appended much
		old = c.Leader()
		others = c.Others(old)
		isolate(c, old, true)
		var appending sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 300 { // entries that can never be committed
			appending.Go(func() { _ = set(ctx, old, 5000+i) }) // their fate is to be overwritten
		}
		c.Eventually("the others elect", func() bool { return others[0].Leads() || others[1].Leads() })
		cancel()
		appending.Wait()
		longer := old.LastIndex() > max(others[0].LastIndex(), others[1].LastIndex())+50
		isolate(c, old, longer)
		return longer
	})
	next := others[0]
	for i := range 5 {
		if err := set(t.Context(), next, i+1); err != nil {
			t.Fatal(err)
		}
	}
	cut(c, others...) // with it what the one behind lacks: it needs a snapshot, whoever leads
	if old.LastIndex() <= next.LastIndex() {
		t.Fatalf("the test does not test: the stale log ends at %d, the cluster's at %d", old.LastIndex(), next.LastIndex())
	}
	c.Network.Heal()
	select { // as an orchestrator would
	case <-old.Ended():
		old.Kill()
		old = c.Start(old.Name)
	case <-soon(t, patience).Done():
		t.Fatal("the node goes on with a log that it believes in and no longer has")
	}
	if got, err := read(t.Context(), t, old); err != nil || got != 5 {
		t.Fatalf("the old leader reads %d, %v", got, err)
	}
	if err := set(t.Context(), old, 6); err != nil {
		t.Fatal(err)
	}
}

// Rule: a write of the log that does not end within its deadline stops the node (raft #503). A leader
// with a hung disk goes on sending heartbeats, so nobody else is elected and nothing is committed.
func TestHungLogDiskStopsTheNode(t *testing.T) {
	var hung atomic.Pointer[string]
	release := make(chan struct{})
	c := sim.Started(t, 3, sim.Options{Config: func(name string, config *cluster.Config) { // a short deadline would stop others too
		config.BeforeWrite = func(string) {
			if who := hung.Load(); who != nil && *who == name {
				<-release
			}
		}
	}})
	comesTo := sync.OnceFunc(func() { close(release) })
	defer comesTo()
	leader := c.Leader()
	others := c.Others(leader)
	hung.Store(&leader.Name)
	done := make(chan error, 1)
	go func() { done <- set(t.Context(), others[0], 3) }() // waited for below
	select {
	case <-leader.Ended():
	case <-soon(t, patience).Done():
		t.Fatal("the node with the hung disk goes on")
	}
	if leader.Err() == nil {
		t.Fatal("it stopped without an error")
	}
	c.Network.Down(leader.Name, true) // its process has exited
	if err := <-done; err != nil {
		t.Fatalf("a write that met the hung disk: %v", err)
	}
	comesTo() // and then its log is another process's to open
	leader.Kill()
	c.Start(leader.Name)
	c.Settle(3)
}

// Rule: heartbeats have no fast path (raft #695). On it they change the term beside the main loop,
// which then appends a waiting entry in a term that this node does not lead.
func TestHeartbeatDoesNotChangeTheTermBesideTheMainLoop(t *testing.T) {
	var blocked atomic.Pointer[string]
	release := make(chan struct{})
	entered := make(chan struct{}, 64)
	timing := sim.FastTiming()
	timing.WriteDeadline = 10 * patience // an election may take longer than a write
	c := sim.Started(t, 3, sim.Options{Timing: timing, Config: func(name string, config *cluster.Config) {
		config.BeforeWrite = func(op string) {
			if who := blocked.Load(); who != nil && *who == name && op == "store logs" {
				entered <- struct{}{}
				<-release
			}
		}
	}})
	goOn := sync.OnceFunc(func() { close(release) })
	t.Cleanup(goOn)
	old := c.Leader()
	others := c.Others(old)
	blocked.Store(&old.Name)
	done := make(chan error, 1)
	go func() { done <- set(t.Context(), old, 9) }() // waited for below
	receive(t, "a write of the log", entered)        // the main loop is in the middle of dispatchLogs
	term := old.Term()
	c.Network.Hold(old.Name, others[0].Name, true) // others no longer hear it, and elect
	c.Network.Hold(old.Name, others[1].Name, true)
	c.Eventually("the others elect", func() bool { return others[0].Leads() || others[1].Leads() })
	c.Network.Heal()
	pauseFor(t, time.Second) // several heartbeats of the new leader have come in
	if now := old.Term(); now != term {
		t.Errorf("the term went from %d to %d while the main loop was appending", term, now)
	}
	blocked.Store(nil)
	goOn()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	c.Eventually("all agree", func() bool { return old.Applied() >= c.Leader().Applied() })
}

// slowStage takes its time to take a snapshot in.
type slowStage struct {
	cluster.StateMachine
	wait func()
}

// Stage waits first.
func (s slowStage) Stage(r io.Reader) error {
	s.wait()
	return s.StateMachine.Stage(r)
}

// Rule: a snapshot is taken in beside Raft, whose main goroutine goes on answering heartbeats. With one
// of three nodes away, a second that was silent for as long as a big snapshot takes would cost the
// leader its lease, and again at the next attempt. (That the lease is kept is not asked for: on a machine that stands
// still for that long it is lost with any answers.)
func TestBigSnapshotDoesNotCostTheLease(t *testing.T) {
	timing := sim.FastTiming()
	timing.TrailingLogs, timing.SnapshotThreshold, timing.SnapshotInterval = 0, 1, 50*time.Millisecond
	var awaited atomic.Pointer[string]
	started, release := make(chan struct{}, 1), make(chan struct{})
	c := sim.Started(t, 3, sim.Options{Timing: timing, Machine: func(name string, m cluster.StateMachine) cluster.StateMachine {
		return slowStage{m, func() {
			if who := awaited.Load(); who != nil && *who == name {
				select {
				case started <- struct{}{}:
				default:
				}
				<-release
			}
		}}
	}})
	end := sync.OnceFunc(func() { close(release) })
	t.Cleanup(end)
	leader := c.Leader()
	others := c.Others(leader)
	isolate(c, others[0], true)
	for i := range 50 { // the last one alone, after a cut: whatever is held back on the way to the one behind, it lacks something that is cut
		if i == 49 {
			cut(c, leader, others[1])
		}
		if err := set(t.Context(), leader, i+1); err != nil {
			t.Fatal(err)
		}
	}
	cut(c, leader, others[1])
	behind := others[0].LastIndex()
	// The one away goes; the one behind comes, before the leader's lease has run out.
	awaited.Store(&others[0].Name)
	isolate(c, others[0], false)
	receive(t, "a snapshot", started)
	others[1].Kill()
	for range 20 { // for several times the lease
		last := leader.Heard(others[0].Incarnation())
		c.Eventually("it answers its leader while it takes a snapshot in", func() bool { return leader.Heard(others[0].Incarnation()).After(last) })
	}
	end()
	c.Eventually("the snapshot is installed", func() bool { return others[0].Applied() > behind })
	if got, err := read(t.Context(), t, others[0]); err != nil || got != 50 {
		t.Fatalf("read %d, %v", got, err)
	}
}
