package cluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cluster/peer"
)

// LogName is the name of the Raft log's file in Config.Dir.
const LogName = "raft.db"

// Config says who a node is and what it is made of.
type Config struct {
	Dir         string            // holds LogName
	Incarnation entry.Incarnation // of that directory, as Open gave it
	Cluster     string            // name; nodes of another are refused
	Node        string            // name, stable over restarts and lost disks
	Zone        string
	Version     string // of this binary
	Level       uint32 // the highest feature level that this binary knows
	Advertise   string // host:port, a stable name

	// Seeds are the addresses of the nodes that the configuration names, host:port; and what it names and
	// leads nowhere now: behind that may be a node with state.
	Seeds  func(ctx context.Context) (addresses, unknown []string)
	Expect int // how many nodes the first start waits for

	Timing Timing
	Reads  Reads
	Peer   *peer.Peer               // nil: a cluster of one, without a port
	Hints  func() map[string]string // incarnation to address, as gossip has them; may be nil

	State  StateMachine
	Roster Roster
	Files  Files
	Logger hclog.Logger

	// FailStop is told why this node must not go on. The caller ends the process; nothing that Run
	// started may be waited for, since a disk may hang.
	FailStop func(error)

	// BeforeWrite is called before each write of the log, and may block: a seam for tests of slow disks.
	BeforeWrite func(op string)

	NoSync bool // never fsync: for tests of logic, not of durability
}

// Timing is how patient a cluster is.
type Timing struct {
	Heartbeat, Election, Lease time.Duration
	CommitTimeout              time.Duration // how soon followers hear of a commit
	WriteDeadline              time.Duration // how long the log's disk may take for one write
	Stable                     time.Duration // how long a new node keeps up before it votes
	Live                       time.Duration // how recent the leader's contact with a living node is
	TrailingLogs               uint64        // entries kept behind a snapshot
	SnapshotInterval           time.Duration
	SnapshotThreshold          uint64
}

// DefaultTiming tolerates hiccups of a quarter of a second; a dead leader is replaced in 1 to 1.5 s.
func DefaultTiming() Timing {
	return Timing{
		Heartbeat: 500 * time.Millisecond, Election: 500 * time.Millisecond, Lease: 250 * time.Millisecond,
		CommitTimeout:    50 * time.Millisecond, // an idle cluster; commits of commands are pushed (push.go)
		WriteDeadline:    10 * time.Second,
		Stable:           10 * time.Second,
		Live:             10 * time.Second,
		TrailingLogs:     100_000, // more than can ever wait uncommitted (raft #697)
		SnapshotInterval: 2 * time.Minute, SnapshotThreshold: 8192,
	}
}

// Reads says what a read does without a quorum.
type Reads string

// The ways to read.
const (
	Available Reads = "available" // answer from here, marked stale, on evidence that there is no quorum
	Strict    Reads = "strict"    // fail
	Local     Reads = "local"     // never ask
)

// Bounds on what waits to be committed, on each node.
const (
	maxProposals     = 1024
	maxProposalBytes = 16 << 20
)

// Node is one node of a cluster. Its methods may be called concurrently once Run was called; those
// that need Raft wait until it is up.
type Node struct {
	config  Config
	log     hclog.Logger
	machine *machine
	applied applied
	logs    *logStore
	snaps   *snapshots
	trans   *transport
	local   raft.ServerAddress

	raft    *raft.Raft    // set before started is closed
	started chan struct{} // closed when raft is up
	notify  chan bool     // leadership, as Raft reports it

	workMu sync.Mutex
	work   sync.WaitGroup
	closed bool // no work may begin; guarded by workMu

	random   uint64        // drawn at each start
	sequence atomic.Uint64 // of requests
	count    *semaphore.Weighted
	bytes    *semaphore.Weighted

	tenures tenures
	rounds  rounds
	living  living
	form    formation
	caught  caughtUp
	hashes  hashWatch
	waiting waiting

	kick      chan struct{} // has the leader look at the membership at once
	announced chan struct{} // closed when the state knows of this start

	failOnce sync.Once
	stopped  chan struct{} // closed when Run begins to shut down
	failed   chan struct{} // closed by failStop
	failure  error         // why; set before failed is closed
}

// New checks config and opens the log. It starts nothing; Run does. Without Run, Close must be called.
func New(config Config) (*Node, error) {
	n := &Node{
		config: config, log: config.Logger,
		started: make(chan struct{}), failed: make(chan struct{}), notify: make(chan bool, 16),
		kick: make(chan struct{}, 1), announced: make(chan struct{}), stopped: make(chan struct{}),
		count: semaphore.NewWeighted(maxProposals), bytes: semaphore.NewWeighted(maxProposalBytes),
	}
	if err := n.check(); err != nil {
		return nil, err
	}
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	n.random = binary.BigEndian.Uint64(random[:])
	n.local = serverAddress(config.Incarnation, config.Advertise)
	n.tenures.changed = make(chan struct{})
	n.living.heard = map[entry.Incarnation]time.Time{}
	n.caught.since = map[entry.Incarnation]time.Time{}
	n.applied.set(config.State.Position().Index)
	n.snaps = &snapshots{state: config.State, applied: &n.applied}
	n.machine = &machine{state: config.State, applied: &n.applied, snapshots: n.snaps, begin: newPusher(n).push}
	logs, err := openLogStore(filepath.Join(config.Dir, LogName), config.Files, config.NoSync, config.Timing.WriteDeadline, n.failStop)
	if err != nil {
		return nil, err
	}
	n.logs = logs
	if config.BeforeWrite != nil {
		logs.before = config.BeforeWrite
	}
	p := config.State.Position()
	if err := logs.claim(config.Incarnation); err != nil {
		return nil, errors.Join(err, logs.Close())
	}
	if err := logs.reconcile(p.Index, p.Term); err != nil {
		return nil, errors.Join(fmt.Errorf("compare log and state: %w", err), logs.Close())
	}
	if p.Index == 0 {
		if err := logs.mendBootstrap(); err != nil {
			return nil, errors.Join(err, logs.Close())
		}
	}
	if config.Peer != nil {
		n.serve()
	}
	return n, nil
}

func (n *Node) check() error {
	c := &n.config
	switch {
	case c.State == nil || c.Roster == nil:
		return errors.New("a node needs a state machine and its roster")
	case c.Incarnation.IsZero():
		return errors.New("a node needs the incarnation of its directory")
	case c.Node == "" || c.Cluster == "":
		return errors.New("a node needs its name and the cluster's")
	case c.Files == nil:
		return errors.New("a node needs a file system")
	case c.Peer != nil && (c.Expect < 1 || c.Seeds == nil):
		return errors.New("a node needs to know how many nodes the first start waits for, and where to look")
	}
	if c.Logger == nil {
		n.log = hclog.NewNullLogger()
	}
	if c.Reads == "" {
		c.Reads = Available
	}
	return nil
}

// Run runs the node until ctx ends, then hands leadership over, stays a member and returns nil. It
// returns an error if the node must not go on; what it started may then still hang in a write.
func (n *Node) Run(ctx context.Context) error {
	if err := n.startRaft(); err != nil {
		return errors.Join(err, n.Close())
	}
	close(n.started)
	loops, cancel := context.WithCancel(context.WithoutCancel(ctx)) // they outlive ctx by the handing over
	defer cancel()
	group, loops := errgroup.WithContext(loops)
	group.Go(func() error { return n.followLeadership(loops) })
	group.Go(func() error { return n.enter(loops) })
	var err error
	select {
	case <-ctx.Done():
		if !errors.Is(context.Cause(ctx), ErrHalt) {
			n.handOver()
		}
	case <-n.failed:
		err = n.failure
	case <-loops.Done():
		err = context.Cause(loops)
	}
	close(n.stopped)
	cancel()
	if err != nil {
		return errors.Join(err, n.trans.Close(), n.abandon()) //nolint:contextcheck // as below
	}
	err = group.Wait()
	n.drain() //nolint:contextcheck // the caller's context is over: that is why the node closes
	down := n.raft.Shutdown()
	err = errors.Join(err, n.trans.Close(), down.Error()) // Raft waits for its calls, which Close ends
	n.finishWork()
	return errors.Join(err, n.Close())
}

// drainTimeout is how long Raft gets to answer what was proposed. A leader that can commit nothing steps
// down within its lease, and then it answers.
const drainTimeout = time.Second

// drain waits until every proposal is answered: what Raft still holds when it shuts down never is.
func (n *Node) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := n.count.Acquire(ctx, maxProposals); err != nil {
		n.log.Warn("proposals are left without an answer", "error", err)
	}
}

// abandon closes what it can of a node that must not go on. A write that hangs keeps the log open until
// it ends, or the process.
func (n *Node) abandon() error {
	down := make(chan error, 1)
	go func() { // ends with Raft's main loop, at the latest with the process
		n.drain()
		err := n.raft.Shutdown().Error()
		down <- errors.Join(err, n.Close())
	}()
	t := time.NewTimer(abandonAfter)
	defer t.Stop()
	select {
	case err := <-down:
		return err
	case <-t.C:
		return errors.New("a write hangs; the log stays open until it ends")
	}
}

// abandonAfter is how long a failed node waits for Raft to end.
const abandonAfter = 2 * time.Second

// Close closes the log of a node that does not run.
func (n *Node) Close() error { return n.logs.Close() }

// spawn runs do beside the caller; Run waits for it. Once the node is shutting down it runs instead.
func (n *Node) spawn(do, instead func()) {
	n.workMu.Lock()
	defer n.workMu.Unlock()
	if n.closed {
		instead()
		return
	}
	n.work.Go(do)
}

func (n *Node) finishWork() {
	n.workMu.Lock()
	n.closed = true
	n.workMu.Unlock()
	n.work.Wait()
}

// failStop records why the node must not go on, and has the process ended.
func (n *Node) failStop(err error) {
	n.failOnce.Do(func() {
		n.log.Error("node stops", "error", err)
		n.failure = err
		close(n.failed)
		if n.config.FailStop != nil {
			n.config.FailStop(err)
		}
	})
}

func (n *Node) startRaft() error {
	timing := n.config.Timing
	c := raft.DefaultConfig()
	c.LocalID = serverID(n.config.Incarnation)
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = timing.Heartbeat, timing.Election, timing.Lease
	c.CommitTimeout = timing.CommitTimeout
	c.TrailingLogs, c.SnapshotInterval, c.SnapshotThreshold = timing.TrailingLogs, timing.SnapshotInterval, timing.SnapshotThreshold
	// Unbuffered: what is queued when Raft shuts down is never answered, and the timeout of Apply would not
	// count the queue. Those who wait to be taken are batched all the same.
	c.BatchApplyCh = false
	c.NoSnapshotRestoreOnStart = true // the state is durable by itself
	c.ShutdownOnRemove = false        // a removed node says so and goes on answering /livez
	c.NoLegacyTelemetry = true
	c.NotifyCh = n.notify
	c.Logger = n.log.Named("raft")
	beneath, endCalls := n.transportBeneath()
	n.trans = &transport{
		under: beneath, state: n.config.State, logs: n.logs, log: n.log, failStop: n.failStop,
		endCalls: endCalls, contact: n.living.contact, fenced: func() bool { return n.config.State.Fenced() != "" },
	}
	n.trans.start()
	cache, err := raft.NewLogCache(1024, n.logs)
	if err != nil {
		return errors.Join(err, n.trans.Close())
	}
	n.raft, err = raft.NewRaft(c, n.machine, cache, n.logs, n.snaps, n.trans)
	if err != nil {
		return errors.Join(fmt.Errorf("start raft: %w", err), n.trans.Close())
	}
	return nil
}

// up waits until Raft is up.
func (n *Node) up(ctx context.Context) error {
	select {
	case <-n.stopped:
		return ErrClosed
	default:
	}
	select {
	case <-n.started:
		return nil
	case <-n.stopped:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("%w: the node is starting", ErrNoLeader)
	}
}

// Leads reports whether this node is a ready leader.
func (n *Node) Leads() bool { return n.tenures.ready() != nil }

// Leader returns whom this node takes for the leader, itself too, and false if nobody. It is a hint: the
// leader may have changed since.
func (n *Node) Leader() (entry.Incarnation, bool) {
	select {
	case <-n.started:
	default:
		return entry.Incarnation{}, false
	}
	leader, _ := n.raft.LeaderWithID()
	if leader == "" {
		return entry.Incarnation{}, false
	}
	i, _, err := parseAddress(leader)
	return i, err == nil
}

// Incarnation is this node's identity.
func (n *Node) Incarnation() entry.Incarnation { return n.config.Incarnation }

// usable fails if this node must not take part in reads and writes, for good.
func (n *Node) usable() error {
	select {
	case <-n.stopped:
		return ErrClosed
	case <-n.failed:
		return fmt.Errorf("%w: %w", ErrClosed, n.failure)
	default:
	}
	if reason := n.config.State.Fenced(); reason != "" {
		return fmt.Errorf("%w: %s", ErrFenced, reason)
	}
	return nil
}

// serve answers other nodes.
func (n *Node) serve() {
	for path, h := range map[string]peer.Handler{
		pathPropose: n.handlePropose, pathReadIndex: n.handleReadIndex, pathTerm: n.handleTerm, pathHash: n.handleHash,
		pathHello: n.handleHello, pathForm: n.handleForm, pathJoin: n.handleJoin, pathRemove: n.handleRemove, pathStatus: n.handleStatus,
		pathClusterStatus: n.handleClusterStatus, pathTransfer: n.handleTransfer,
	} {
		n.config.Peer.Handle(path, h)
	}
}
