package chaos_test

import (
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/test/sim"
)

// process is what runs under one node's name, and the machine that it runs on.
type process struct {
	name    string
	bout    *bout
	machine *trouble

	owner   sync.Mutex // held by whoever starts and stops it, for as long as it is to stay that way
	seam    *seam      // of the newest one; guarded by owner
	running atomic.Pointer[sim.Node]
}

// wrap puts the seam of the process that is being started before its state.
func (p *process) wrap(m cluster.StateMachine) cluster.StateMachine {
	if p.bout.traits.self.machine != nil {
		m = p.bout.traits.self.machine(m)
	}
	p.seam = &seam{
		StateMachine: m, machine: p.machine, bout: p.bout,
		wanted: make(chan struct{}), dead: make(chan struct{}), failed: make(chan struct{}),
	}
	return p.seam
}

func (p *process) configure(c *cluster.Config) {
	c.BeforeWrite = p.seam.beforeWrite
	c.FailStop = func(error) { p.seam.fail() }
}

// start starts a process on what lies on the disk. The caller holds owner.
func (p *process) start() {
	n, err := p.bout.cluster.TryStart(p.name)
	if err != nil {
		p.bout.fail("%s does not start: %v", p.name, err)
		return
	}
	p.bout.positions.started(p.bout, n)
	p.running.Store(n)
	s := p.seam
	p.bout.watching.Go(func() { p.watch(n, s) })
	p.bout.watching.Go(func() { p.bout.lead(n, s) })
}

// watch restarts a process that stopped by itself, as an operator's supervisor would.
func (p *process) watch(n *sim.Node, s *seam) {
	select {
	case <-s.wanted:
		return
	case <-n.Ended():
	}
	p.owner.Lock()
	defer p.owner.Unlock()
	select {
	case <-s.wanted: // killed meanwhile
		return
	default:
	}
	why := "ended without an error"
	if n.Err() != nil {
		why = n.Err().Error()
	}
	p.bout.say("%s stopped by itself: %s", p.name, why)
	switch {
	case strings.Contains(why, "restarts to read its log anew"):
		p.bout.figures.count("restarts for a stale log", 1)
	case strings.Contains(why, "the log's disk has not answered") && p.bout.traits.shortDeadline:
		p.bout.figures.count("restarts for a hung disk", 1)
	default:
		p.bout.fail("%s stopped by itself: %s", p.name, why)
		return
	}
	p.kill()
	p.start()
}

// kill ends the process as SIGKILL would. The caller holds owner.
func (p *process) kill() {
	n := p.running.Swap(nil)
	if n == nil {
		return
	}
	p.bout.cluster.Network.Down(p.name, true) // before what was held up goes on
	close(p.seam.wanted)
	close(p.seam.dead)
	n.Kill()
	p.bout.positions.ended(n)
}

// stop ends the process in good order. The caller holds owner.
func (p *process) stop() {
	n := p.running.Swap(nil)
	if n == nil {
		return
	}
	close(p.seam.wanted)
	n.Stop()
	close(p.seam.dead)
	p.bout.positions.ended(n)
}

// wipe empties the disk. The caller holds owner, and the process has ended.
func (p *process) wipe() {
	if err := os.RemoveAll(p.bout.cluster.Dir(p.name)); err != nil {
		p.bout.fail("wipe %s: %v", p.name, err)
	}
}
