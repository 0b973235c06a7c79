package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/peer"
	"github.com/seed-16d79997/zot/fsm"
)

// Secret is what the nodes share.
const Secret = "a secret of the simulated cluster, long enough"

// Options say how a Cluster differs from the usual.
type Options struct {
	Timing  cluster.Timing                                                 // zero: FastTiming
	Machine func(node string, m cluster.StateMachine) cluster.StateMachine // puts faults before the state; may be nil
	Config  func(node string, c *cluster.Config)                           // last say; may be nil
	Level   hclog.Level                                                    // zero: errors only
	Output  io.Writer                                                      // where the nodes' log goes; nil: the test's
	Sync    bool                                                           // fsync, as in production
}

// FastTiming is for tests: an election takes a third of a second.
func FastTiming() cluster.Timing {
	t := cluster.DefaultTiming()
	t.Heartbeat, t.Election, t.Lease = 250*time.Millisecond, 250*time.Millisecond, 200*time.Millisecond
	t.Stable, t.Live = 300*time.Millisecond, time.Second
	return t
}

// Cluster is some nodes, by name, in one process.
type Cluster struct {
	Network *Network
	t       testing.TB
	options Options
	root    string
	expect  int
	seeds   []string
	output  *writer

	mu    sync.Mutex
	nodes map[string]*Node
	moved map[string]string
}

// New makes a cluster of count nodes named n1, n2 and so on, and starts none. What still runs is
// stopped when the test ends.
func New(t testing.TB, count int, options Options) *Cluster {
	t.Helper()
	if options.Timing.Heartbeat == 0 {
		options.Timing = FastTiming()
	}
	if options.Level == hclog.NoLevel {
		options.Level = hclog.Error
	}
	c := &Cluster{Network: NewNetwork(), t: t, options: options, root: t.TempDir(), output: &writer{t: t}, expect: count, nodes: map[string]*Node{}, moved: map[string]string{}}
	if options.Output == nil {
		c.options.Output = c.output
	}
	for i := range count {
		c.seeds = append(c.seeds, addressOf(fmt.Sprintf("n%d", i+1)))
	}
	t.Cleanup(func() {
		for _, n := range c.Running() {
			n.Stop()
		}
		c.output.end()
	})
	return c
}

// Started is New with all nodes started, a leader, and every node a member.
func Started(t testing.TB, count int, options Options) *Cluster {
	t.Helper()
	c := New(t, count, options)
	for i := range count {
		c.Start(fmt.Sprintf("n%d", i+1))
	}
	c.Settle(count)
	return c
}

func addressOf(name string) string { return name + ":7373" }

// Move gives a node another address, from its next start on.
func (c *Cluster) Move(name, address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved[name] = address
}

func (c *Cluster) address(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.moved[name]; a != "" {
		return a
	}
	return addressOf(name)
}

// Dir is where a node's files lie.
func (c *Cluster) Dir(name string) string { return filepath.Join(c.root, name) }

// Start starts a node in its directory, whatever is there. It fails the test if that cannot be done.
func (c *Cluster) Start(name string) *Node {
	c.t.Helper()
	n, err := c.TryStart(name)
	if err != nil {
		c.t.Fatalf("start %s: %v", name, err)
	}
	return n
}

// StartAs starts a node on a host, and so in a directory, of another name than its own.
func (c *Cluster) StartAs(host, name string) *Node {
	c.t.Helper()
	n, err := c.tryStart(host, name)
	if err != nil {
		c.t.Fatalf("start %s on %s: %v", name, host, err)
	}
	return n
}

// TryStart is Start for a node that may not start.
func (c *Cluster) TryStart(name string) (*Node, error) { return c.tryStart(name, name) }

func (c *Cluster) tryStart(name, called string) (*Node, error) {
	d, err := cluster.OpenDirectory(c.Dir(name), fsm.SystemFiles())
	if err != nil {
		return nil, err
	}
	log := hclog.New(&hclog.LoggerOptions{Name: name, Level: c.options.Level, Output: c.options.Output, TimeFormat: "05.000"})
	state, err := fsm.Open(fsm.Config{Dir: c.Dir(name), Incarnation: d.Incarnation, NoSync: !c.options.Sync, Logger: log.Named("fsm")})
	if err != nil {
		return nil, err
	}
	p, err := peer.New(peer.Config{
		Cluster: "sim", Node: called, Incarnation: d.Incarnation.String(), Listen: c.address(name),
		Secrets: [][]byte{[]byte(Secret)}, Network: c.Network.Host(name), Logger: log.Named("peer"),
	})
	if err != nil {
		return nil, errors.Join(err, state.Close())
	}
	var machine cluster.StateMachine = Machine{state}
	if c.options.Machine != nil {
		machine = c.options.Machine(name, machine)
	}
	config := cluster.Config{
		Dir: c.Dir(name), Incarnation: d.Incarnation, Cluster: "sim", Node: called, Version: "test", Level: 1, Advertise: c.address(name),
		Seeds: func(context.Context) ([]string, []string) { return c.seeds, nil }, Expect: c.expect, Timing: c.options.Timing,
		Peer: p, State: machine, Roster: state, Files: fsm.SystemFiles(), Logger: log.Named("cluster"), NoSync: !c.options.Sync,
	}
	if c.options.Config != nil {
		c.options.Config(name, &config)
	}
	node, err := cluster.New(config)
	if err != nil {
		return nil, errors.Join(err, state.Close())
	}
	if err := d.Seal(); err != nil {
		return nil, err
	}
	c.Network.Down(name, false)
	n := &Node{Node: node, Name: name, State: state, cluster: c, ended: make(chan struct{})}
	n.run(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[name] = n
	return n, nil
}

// Node is a running node.
type Node struct {
	*cluster.Node
	Name    string
	State   *fsm.State
	cluster *Cluster
	cancel  context.CancelCauseFunc
	ended   chan struct{}
	err     error
}

// run runs the node and its peer; ended is closed when both are done.
func (n *Node) run(p *peer.Peer) {
	ctx, cancel := context.WithCancelCause(context.Background())
	n.cancel = cancel
	peerCtx, stopPeer := context.WithCancel(context.Background())
	var peerDone sync.WaitGroup
	peerDone.Go(func() { _ = p.Run(peerCtx) }) // ends by stopPeer
	go func() {                                // waited for through ended
		defer close(n.ended)
		n.err = n.Run(ctx)
		stopPeer()
		peerDone.Wait()
		_ = n.State.Close() // a test node
	}()
}

// Ended is closed when the node has stopped by itself or was stopped.
func (n *Node) Ended() <-chan struct{} { return n.ended }

// Err is why the node stopped, once it has.
func (n *Node) Err() error { return n.err }

// Stop stops the node in order: it hands leadership over.
func (n *Node) Stop() {
	n.cancel(nil)
	<-n.ended
	n.gone()
}

// Kill stops the node as SIGKILL would as far as others can see: its connections are cut first, and it
// hands nothing over.
func (n *Node) Kill() {
	n.cluster.Network.Down(n.Name, true)
	n.cancel(cluster.ErrHalt)
	<-n.ended
	n.gone()
}

func (n *Node) gone() {
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	if n.cluster.nodes[n.Name] == n {
		delete(n.cluster.nodes, n.Name)
	}
}

// Running lists the nodes that were started and not stopped.
func (c *Cluster) Running() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*Node
	for _, n := range c.nodes {
		all = append(all, n)
	}
	return all
}

// Node is the running node of a name, nil if there is none.
func (c *Cluster) Node(name string) *Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[name]
}

// Eventually waits until what holds is so, and fails the test after a minute.
func (c *Cluster) Eventually(what string, holds func() bool) {
	c.t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-deadline.C:
			c.t.Fatalf("never came to be: %s", what)
		}
	}
}

// Leader waits for a ready leader among the running nodes and returns it.
func (c *Cluster) Leader() *Node {
	c.t.Helper()
	var leader *Node
	c.Eventually("a ready leader", func() bool {
		for _, n := range c.Running() {
			if n.Leads() {
				leader = n
				return true
			}
		}
		return false
	})
	return leader
}

// Others are the running nodes beside n.
func (c *Cluster) Others(n *Node) []*Node {
	var others []*Node
	for _, o := range c.Running() {
		if o != n {
			others = append(others, o)
		}
	}
	return others
}

// writer sends log lines to the test, as long as it runs.
type writer struct {
	mu   sync.Mutex
	t    testing.TB
	over bool
}

// Write logs one line.
func (w *writer) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.t.Logf("%s", b)
	}
	return len(b), nil
}

func (w *writer) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}
