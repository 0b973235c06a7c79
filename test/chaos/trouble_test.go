package chaos_test

import (
	"sync"
	"time"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
)

// trouble is what is wrong with the machine under one node. It outlives the node's processes.
type trouble struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each change; guarded by mu
	ails    ailment
}

// ailment adds up what several faults do to a machine at one time.
type ailment struct {
	diskHangs, applyHangs int           // how many faults hold it
	slow                  time.Duration // each write of the log takes so much longer
	lag                   time.Duration // each batch is applied so much later
}

func newTrouble() *trouble { return &trouble{changed: make(chan struct{})} }

func (t *trouble) change(do func(a *ailment)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	do(&t.ails)
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *trouble) now() (ailment, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ails, t.changed
}

// seam is one process's side of its machine's troubles. Everything that it holds up it lets go when the
// process is killed or stops by itself, so that what is left of it can end.
type seam struct {
	cluster.StateMachine
	machine *trouble
	bout    *bout

	wanted chan struct{} // closed before the process is killed or stopped by us
	dead   chan struct{} // closed when it is killed
	failed chan struct{} // closed when the node says that it must not go on
	once   sync.Once     // of failed
}

// Apply applies entries, when the machine lets it, and sees that those of a deposed leader have no
// effect (invariant 10).
func (s *seam) Apply(entries []entry.Entry) []entry.Result {
	s.await(func(a ailment) bool { return a.applyHangs > 0 })
	a, _ := s.machine.now()
	s.sleep(a.lag)
	results := s.StateMachine.Apply(entries)
	for i, e := range entries {
		if e.Kind != entry.Command || e.Envelope.Term == e.Term {
			continue
		}
		s.bout.figures.count("entries of another term refused", 1)
		if results[i].Outcome != entry.WrongTerm {
			s.bout.fail("invariant 10: entry %d of term %d was wrapped in term %d, and its outcome is %d", e.Index, e.Term, e.Envelope.Term, results[i].Outcome)
		}
	}
	return results
}

// Install counts.
func (s *seam) Install(stamp entry.Stamp) error {
	s.bout.figures.count("snapshots installed", 1)
	return s.StateMachine.Install(stamp)
}

// beforeWrite holds up a write of the log.
func (s *seam) beforeWrite(string) {
	s.await(func(a ailment) bool { return a.diskHangs > 0 })
	a, _ := s.machine.now()
	s.sleep(a.slow)
}

func (s *seam) await(held func(ailment) bool) {
	for {
		a, changed := s.machine.now()
		if !held(a) {
			return
		}
		select {
		case <-changed:
		case <-s.dead:
			return
		case <-s.failed:
			return
		}
	}
}

func (s *seam) sleep(d time.Duration) {
	if d == 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.dead:
	case <-s.failed:
	}
}

func (s *seam) fail() { s.once.Do(func() { close(s.failed) }) }
