package crash_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/test/crash/powerfs"
)

const (
	bootPatience = 3 * time.Minute // how long a node may take until its directory is open
	never        = 1 << 62         // more changes than a disk ever sees
)

// errCut is returned for a machine whose power failed while it booted.
var errCut = errors.New("the power failed")

// power is one stretch of time in which a machine has power.
type power struct {
	fs      *powerfs.FS
	failing <-chan struct{} // closed when the power has failed by itself
	off     chan struct{}   // closed just before it is switched off
}

// gone says whether the node cannot help ending now.
func (p *power) gone() bool {
	select {
	case <-p.failing:
		return true
	case <-p.off:
		return true
	default:
		return false
	}
}

// machine has a disk, and a node that runs on it. Its methods are for the goroutine of the test, but for
// asked.
type machine struct {
	rack          *rack
	name, address string
	disk, mnt     string

	owner sync.Mutex // held while the process is started or ended
	power *power     // nil while it is off
	child *process   // the newest; guarded by owner

	mu      sync.Mutex
	process *process          // nil until its directory is open, and once it is to end
	self    entry.Incarnation // that counts; zero if none does yet
	applied uint64            // the most that the node ever said it had applied
}

// boot switches the power on and starts the node. The power fails by itself before so many changes of the
// disk; wait may then return errCut.
func (m *machine) boot(failAfter uint64) error {
	fs, err := powerfs.Mount(m.disk, m.mnt, m.rack.rng.Int64())
	if err != nil {
		return err
	}
	m.owner.Lock()
	defer m.owner.Unlock()
	m.power = &power{fs: fs, failing: fs.FailAfter(failAfter), off: make(chan struct{})}
	return m.start()
}

// start starts the node's process. The caller holds owner.
func (m *machine) start() error {
	var err error
	m.child, err = startProcess(m.rack.t, spec{
		Name: m.name, Dir: filepath.Join(m.mnt, "node"), Address: m.address, Seeds: m.rack.addresses(), NoSync: m.rack.noSync,
	})
	return err
}

// wait waits until the node has opened its directory, and judges what it found there.
func (m *machine) wait() error {
	m.owner.Lock()
	defer m.owner.Unlock()
	if m.power == nil { // it was switched off meanwhile
		return errCut
	}
	return m.opened(m.child)
}

// opened is wait, for whoever holds owner.
func (m *machine) opened(p *process) error {
	timer := time.NewTimer(bootPatience)
	defer timer.Stop()
	select {
	case hello := <-p.ready:
		if err := m.judge(hello); err != nil {
			return err
		}
	case <-p.ended:
		if m.power.gone() {
			return errCut
		}
		return fmt.Errorf("%s does not start: %s", m.name, p.log)
	case <-timer.C:
		return fmt.Errorf("%s has not started in %s: %s", m.name, bootPatience, p.log)
	}
	m.mu.Lock()
	m.process = p
	m.mu.Unlock()
	powered := m.power
	m.rack.watching.Go(func() { m.watch(p, powered) })
	return nil
}

// judge compares what the node says of its directory with what is known of it.
func (m *machine) judge(hello answer) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case !m.self.IsZero() && (hello.Self != m.self || hello.New):
		return fmt.Errorf("%s was %s, and starts as %s (new: %t)", m.name, m.self.Short(), hello.Self.Short(), hello.New)
	case hello.Applied < m.applied && !m.rack.noSync:
		return fmt.Errorf("invariant 8: %s had applied %d, and starts with %d", m.name, m.applied, hello.Applied)
	case len(hello.Findings) > 0:
		return fmt.Errorf("%s starts with a state that is not whole: %s", m.name, strings.Join(hello.Findings, "; "))
	}
	m.self = hello.Self
	return nil
}

// watch waits for the end of a process. One that ends by itself to read its log anew is started again, as
// an operator's supervisor would.
func (m *machine) watch(p *process, powered *power) {
	<-p.ended
	m.rack.installs.Add(p.installs.Load())
	m.owner.Lock()
	defer m.owner.Unlock()
	if powered.gone() {
		return
	}
	if !strings.Contains(p.log.String(), "restarts to read its log anew") {
		m.rack.fail("%s ended by itself: %s", m.name, p.log)
		return
	}
	m.rack.restarts.Add(1)
	err := m.start()
	if err == nil {
		err = m.opened(m.child)
	}
	if err != nil && !errors.Is(err, errCut) {
		m.rack.fail("%v", err)
	}
}

// asked returns the node's process, nil if it has none that answers.
func (m *machine) asked() *process {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.process
}

// said notes that the node had applied so much when it gave an answer. Whatever happens, it stays so.
func (m *machine) said(applied uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.applied = max(m.applied, applied)
}

// down ends the node of a machine whose power was cut, and takes the mount away.
func (m *machine) down() error {
	m.owner.Lock()
	defer m.owner.Unlock()
	m.mu.Lock()
	m.process = nil
	m.mu.Unlock()
	m.child.kill()
	fs := m.power.fs
	m.power = nil
	return fs.Unmount()
}

// wipe gives the machine a new disk, while its power is off.
func (m *machine) wipe() error {
	m.mu.Lock()
	m.self, m.applied = entry.Incarnation{}, 0
	m.mu.Unlock()
	return os.RemoveAll(filepath.Join(m.disk, "node"))
}
