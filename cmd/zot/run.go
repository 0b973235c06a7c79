package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
)

// setting is what a node is run with.
type setting struct {
	config    config.Config
	notes     []config.Note // of it
	file      configFile    // that it was read from
	content   []byte        // which held this
	version   string
	log       hclog.Logger
	signals   <-chan os.Signal // SIGHUP reloads, any other stops
	drainWait time.Duration    // between "not ready" and the end of serving
	rotated   reopener         // what is opened again on SIGHUP
	gate      *gate            // who clients are
	failStop  func(error)      // ends the process at once: a disk may hang, so nothing is waited for
}

// run runs a node until a signal comes or ctx ends, and returns nil when all of it has drained.
//
// It fails if the node cannot start, or must not go on.
func run(ctx context.Context, s setting) (err error) {
	c, log := s.config, s.log

	auditLog, audit, err := openAudit(c.Log, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, audit.Close()) }()
	s.rotated = append(s.rotated, audit)

	// Who this node is, and what it knows.
	home, err := openHome(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, home.Close()) }()
	state, err := fsm.Open(fsm.Config{Dir: home.path, Incarnation: home.Incarnation, Logger: log.Named("fsm")})
	if err != nil {
		return lostDisk(fmt.Errorf("open the state: %w", err), c)
	}
	defer func() { err = errors.Join(err, state.Close()) }() // last: everything else uses it
	secret, err := openSecret(c.Cluster, home.path, log)
	if err != nil {
		return err
	}
	lines, err := secret.lines()
	if err != nil {
		return fmt.Errorf("read the secret: %w", err)
	}

	// Where it is reached. Ports are bound before anything runs, so that a node that cannot have them
	// has not voted.
	var open opened
	defer func() { err = errors.Join(err, open.close()) }()
	var others *network
	if !c.Cluster.Alone {
		others, err = openNetwork(ctx, c.Cluster, home.Incarnation.String(), lines, log, home.members...)
		if err != nil {
			return err
		}
		open.add(func() error { return others.giveBack(ctx) })
	}
	web, err := listenHTTP(ctx, c.HTTP)
	if err != nil {
		return err
	}
	open.add(web.Close)
	admin, err := listenAdmin(c.Storage.RootDirectory)
	if err != nil {
		return err
	}
	open.add(admin.Close)

	// What makes it one with the others.
	node, err := cluster.New(nodeConfig(s, home, state, others))
	if err != nil {
		return err
	}
	open.add(node.Close)
	known, err := newPeople(state, node, proposals{node}, cluster.Reads(c.Cluster.Reads) == cluster.Local)
	if err != nil {
		return err
	}
	if s.gate, err = openGate(c, known, lines, log.Named("auth")); err != nil { //nolint:contextcheck // files are read, and nobody is asked for anything yet
		return err
	}
	defer s.gate.close()
	registry, err := openRegistry(ctx, s, home, state, node, others, lines)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, registry.Close()) }() // requests use it until they have drained
	if err := home.Seal(); err != nil {                         // its files are all there now
		return fmt.Errorf("make the directory the node's: %w", err)
	}
	health := newHealth(node, self{state, home.Incarnation, placesOf(c)}, registry.stores, c)
	asked := newAskedNode(home, state, registry, node)
	before := fronts{log: log.Named("http"), audit: auditLog, nodes: registry.peers(node).answering, gate: s.gate.Gate}
	work := tasks{registry, c.Storage.RootDirectory, state, node, known, log}

	// What goes by the configuration, also when that changes.
	served, err := newFront(c, func(c config.Config) (http.Handler, error) {
		return clients(c, s, registry, node, state, health, before)
	})
	if err != nil {
		return err
	}
	duties, own := newPlan(c), work.own()
	if err := check(c, own); err != nil {
		return err
	}
	file := newConfiguration(
		s,
		follower{tlsToGoBy, web.prepare}, // before the gate counts on it that certificates are asked for
		follower{gateToGoBy, s.gate.prepare},
		follower{clientsToGoBy, served.prepare},
		follower{everything, duties.prepare(slices.Concat(own, work.tenure(asked, node)))},
		follower{everything, func(c config.Config) (draft, error) { return swap(func() { registry.stores.follow(c) }), nil }},
		follower{levelToGoBy, func(c config.Config) (draft, error) { return swap(func() { log.SetLevel(levelOf(c.Log.Level)) }), nil }},
	)

	// All of it together, in the order in which it ends.
	log.Info("node starts", "node", c.Cluster.Node, "incarnation", home.Incarnation.String(), "version", s.version,
		"http", web.Addr().String(), "cluster", c.Cluster.Name, "advertise", c.Cluster.Advertise)
	open.forget()
	reload := make(chan struct{}, 1)
	var p parts
	p.add(ctx, "signals", func(end context.Context) error {
		return untilAsked(end, ctx, s.signals, func() { file.reload(); wake(reload); web.reload(); s.gate.reload(); s.rotated.reopen(log) })
	})
	p.add(ctx, "configuration", file.watch)
	p.add(ctx, "http", func(ctx context.Context) error { return serveClients(ctx, web, served, health, s) })
	p.add(ctx, "passwords", s.gate.watch)
	p.add(ctx, "place of copies", func(ctx context.Context) error { return watchPlaces(ctx, state, placesOf(c), log) })
	p.add(ctx, "jobs", func(ctx context.Context) error { return duties.run(ctx, asked.board, log, own...) })
	p.add(ctx, "leader's jobs", func(ctx context.Context) error {
		return node.WhileLeader(ctx, func(ctx context.Context, proposer cluster.Proposer) {
			work.lead(ctx, duties, asked, proposer)
		})
	})
	p.add(ctx, "verification", asked.Run)
	if others != nil {
		p.add(ctx, "others", func(ctx context.Context) error {
			return serveOthers(ctx, others, registry.forOthers(asked, before), log)
		})
	}
	for _, s := range registry.stores {
		p.add(ctx, "store "+s.Name, s.blobs.Run)
		if s.hints != nil {
			p.add(ctx, "hints of store "+s.Name, s.hints.table.Run)
		}
	}
	p.add(ctx, "admin", func(ctx context.Context) error {
		in := intake{state, node, proposals{node}.Once, registry.stores}
		return serveAdmin(ctx, admin, newHost(node, others), state, registry.stores, newSurvey(asked, registry, node), below(registry.first(registry.Operator()), in.handler()), log)
	})
	p.add(ctx, "node", node.Run)
	if others != nil {
		p.add(ctx, "hints", others.suggest)
		p.add(ctx, "gossip", others.gossip.Run)
		p.add(ctx, "secret", func(ctx context.Context) error {
			return secret.watch(ctx, lines, reload, func(lines [][]byte) error {
				return errors.Join(others.peer.Rotate(lines), registry.rotate(lines), s.gate.rotate(lines))
			})
		})
		p.add(ctx, "peer", others.peer.Run)
	}
	err = p.run()
	if err != nil {
		log.Error("node stopped", "error", err) // also on standard error, which the log's readers may not see
		return err
	}
	log.Info("node stopped")
	return nil
}

// nodeConfig is the configuration of the node in the words of the cluster.
func nodeConfig(s setting, h *home, state *fsm.State, others *network) cluster.Config {
	c := s.config.Cluster
	n := cluster.Config{
		Dir: h.path, Incarnation: h.Incarnation, Cluster: c.Name, Node: c.Node, Zone: c.Zone,
		Version: s.version, Level: fsm.HighestLevel, Advertise: c.Advertise, Expect: c.BootstrapExpect,
		Timing: timingOf(c.Timing), Reads: cluster.Reads(c.Reads),
		State: machine{state}, Roster: machine{state}, Files: fsm.SystemFiles(), Logger: s.log.Named("cluster"),
		FailStop: s.failStop,
	}
	if others != nil {
		n.Peer, n.Seeds, n.Hints = others.peer, others.seeds.find, others.seen
	}
	return n
}

// timingOf is what a word for the patience of a cluster means. The lease is at least 250 ms (RAFT 4.4).
func timingOf(word string) cluster.Timing {
	t := cluster.DefaultTiming()
	switch word {
	case "fast-lan":
		t.Heartbeat, t.Election, t.Lease = 300*time.Millisecond, 300*time.Millisecond, 250*time.Millisecond
	case "slow-disk":
		t.Heartbeat, t.Election, t.Lease = time.Second, time.Second, 500*time.Millisecond
	}
	return t
}

// opened is what has to be given back if the node does not come to run.
type opened struct{ closers []func() error }

func (o *opened) add(closer func() error) { o.closers = append(o.closers, closer) }

// forget leaves everything to the parts that run it.
func (o *opened) forget() { o.closers = nil }

// close gives back, newest first.
func (o *opened) close() error {
	var err error
	for _, closer := range slices.Backward(o.closers) {
		err = errors.Join(err, closer())
	}
	return err
}

// wake has a reader look, who may be looking already.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
