package crash_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cluster/peer"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/sim"
)

// spec is what the process of a node is told at its start.
type spec struct {
	Name, Dir, Address string
	Seeds              []string
	NoSync             bool // never fsync: what the tests must notice
}

// question is what the test asks a node, a line on its standard input each.
type question struct {
	Number  uint64
	Kind    string // a key of node.answers
	Request entry.RequestID
	Payload []byte
	Index   uint64
}

// answer is a line on the standard output of a node. Number is that of the question; 0 is for what the node
// says by itself, and Event is what has happened then.
type answer struct {
	Number  uint64
	Event   string
	Error   string // "" if the question is answered
	Unknown bool   // beside Error: what was proposed may have been applied

	Request  entry.RequestID // a new one
	Outcome  entry.Outcome
	Result   []byte
	Values   map[string]int
	Applied  uint64
	Self     entry.Incarnation
	New      bool // the directory was made by this start
	Leads    bool
	Members  int    // in the state; not answered while a node is on its way in or out
	Hash     []byte // of the state
	Index    uint64 // of the check that noted it
	Cluster  []byte
	Findings []string
}

// The events.
const (
	eventReady     = "ready"     // the directory is the node's; sent once
	eventStaging   = "staging"   // a snapshot begins to arrive
	eventInstalled = "installed" // one has become the state
)

// timing makes elections short and logs shorter: who was away for a moment gets a snapshot.
func timing() cluster.Timing {
	t := sim.FastTiming()
	t.TrailingLogs, t.SnapshotThreshold, t.SnapshotInterval = 64, 64, 100*time.Millisecond
	return t
}

// node is a whole node, which does what it is asked.
type node struct {
	*cluster.Node
	state *fsm.State
	self  answer // who it is
	out   *mouth
}

// mouth says one thing after the other.
type mouth struct {
	mu  sync.Mutex
	out *json.Encoder
}

func (m *mouth) say(a answer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.out.Encode(a) // the test has gone, and so will this process
}

// runNode is the process of a node. It ends when its standard input does, and when the node must not go on.
func runNode(text string) error {
	var s spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	failed := make(chan error, 1)
	n, p, err := openNode(s, func(err error) { failed <- err })
	if err != nil {
		return err
	}
	n.out.say(n.self)
	var running sync.WaitGroup
	running.Go(func() { failed <- errors.Join(errors.New("peer ended"), p.Run(context.Background())) })
	running.Go(func() { failed <- errors.Join(errors.New("node ended"), n.Run(context.Background())) })
	running.Go(func() { failed <- n.listen(os.Stdin) })
	if !s.NoSync {
		running.Go(func() { failed <- n.compact(context.Background()) })
	}
	return <-failed // nothing is waited for: the process ends, and a disk may hang
}

// openNode opens what there is in the order of the product's own main.
func openNode(s spec, failStop func(error)) (*node, *peer.Peer, error) {
	log := hclog.New(&hclog.LoggerOptions{Name: s.Name, Level: hclog.Info, Output: os.Stderr, TimeFormat: "05.000"})
	d, err := cluster.OpenDirectory(s.Dir, fsm.SystemFiles())
	if err != nil {
		return nil, nil, err
	}
	n := &node{out: &mouth{out: json.NewEncoder(os.Stdout)}}
	n.self = answer{Event: eventReady, Self: d.Incarnation, New: d.New}
	n.state, err = fsm.Open(fsm.Config{Dir: s.Dir, Incarnation: d.Incarnation, NoSync: s.NoSync, Logger: log.Named("fsm")})
	if err != nil {
		return nil, nil, err
	}
	n.self.Applied = n.state.Position().Index
	if n.self.Findings, err = n.check(); err != nil {
		return nil, nil, err
	}
	p, err := peer.New(peer.Config{
		Cluster: "crash", Node: s.Name, Incarnation: d.Incarnation.String(), Listen: s.Address,
		Secrets: [][]byte{[]byte(sim.Secret)}, Logger: log.Named("peer"),
	})
	if err != nil {
		return nil, nil, err
	}
	n.Node, err = cluster.New(cluster.Config{
		Dir: s.Dir, Incarnation: d.Incarnation, Cluster: "crash", Node: s.Name, Version: "test", Level: fsm.HighestLevel,
		Advertise: s.Address, Seeds: func(context.Context) ([]string, []string) { return s.Seeds, nil }, Expect: len(s.Seeds),
		Timing: timing(), Peer: p, State: &announcing{Machine: sim.Machine{State: n.state}, out: n.out}, Roster: n.state,
		Files: fsm.SystemFiles(), Logger: log.Named("cluster"), NoSync: s.NoSync, FailStop: failStop,
	})
	if err != nil {
		return nil, nil, err
	}
	return n, p, d.Seal()
}

// announcing says when a snapshot arrives.
type announcing struct {
	sim.Machine
	out *mouth
}

// Stage says that it begins.
func (a *announcing) Stage(r io.Reader) error {
	a.out.say(answer{Event: eventStaging})
	return a.Machine.Stage(r)
}

// Install says that it is done.
func (a *announcing) Install(stamp entry.Stamp) error {
	err := a.Machine.Install(stamp)
	if err == nil {
		a.out.say(answer{Event: eventInstalled})
	}
	return err
}

// compactEvery is how long a node rests before it compacts its files again.
const compactEvery = 50 * time.Millisecond

// compact compacts both files again and again, so that the power is cut in any step of that. It returns an error
// if a new file differs from the old one.
func (n *node) compact(ctx context.Context) error {
	pace := func(ctx context.Context, _ int) error { return ctx.Err() }
	for pause(ctx, compactEvery) {
		if err := n.state.Compact(ctx, pace); errors.Is(err, fsm.ErrDamaged) && n.state.Fenced() == "" {
			return err
		}
		_ = n.CompactLog(ctx, pace) // a snapshot was taken meanwhile, perhaps
	}
	return ctx.Err()
}

// listen answers questions, many at a time, until there are no more.
func (n *node) listen(r io.Reader) error {
	in := json.NewDecoder(r)
	for {
		var q question
		if err := in.Decode(&q); err != nil {
			return fmt.Errorf("no more questions: %w", err)
		}
		go func() { // ends with its deadline, or with the process
			ctx, cancel := context.WithTimeout(context.Background(), askPatience)
			defer cancel()
			a, err := n.answer(ctx, q)
			a.Number, a.Applied = q.Number, n.Applied()
			if err != nil {
				a.Error, a.Unknown = err.Error(), errors.Is(err, cluster.ErrUnknownOutcome)
			}
			n.out.say(a)
		}()
	}
}
