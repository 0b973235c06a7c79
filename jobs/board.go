package jobs

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Board says how the jobs of a node do. Its zero value has none. All methods may be called concurrently.
type Board struct {
	mu   sync.Mutex
	jobs map[*Status]struct{} // those that are run now
}

// Status is how one job does.
type Status struct {
	Name    string
	Running time.Time     // since when it has been at work; zero: it waits
	Ended   time.Time     // of its last run; zero: there was none yet
	Took    time.Duration // its last run, from when it last waited for something
	Error   string        // of its last run; "": it was well
}

// Run is Run, with the jobs on the board until it returns.
func (b *Board) Run(ctx context.Context, log hclog.Logger, all ...Job) error {
	watched := make([]Job, len(all))
	for i, j := range all {
		s := &Status{Name: j.Name}
		b.put(s)
		defer b.take(s)
		watched[i] = b.watched(j, s)
	}
	return Run(ctx, log, watched...)
}

// Jobs are all that are run now, by name.
func (b *Board) Jobs() []Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]Status, 0, len(b.jobs))
	for s := range b.jobs {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

func (b *Board) put(s *Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.jobs == nil {
		b.jobs = map[*Status]struct{}{}
	}
	b.jobs[s] = struct{}{}
}

func (b *Board) take(s *Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.jobs, s)
}

// watched is a job that notes how it does. How a run ends whose context has ended is nobody's concern.
func (b *Board) watched(j Job, s *Status) Job {
	if do := j.Do; do != nil {
		j.Do = func(ctx context.Context) error {
			b.change(func() { s.Running = time.Now() })
			err := do(context.WithValue(ctx, entryKey{}, entry{b, s}))
			b.change(func() {
				s.Running, s.Ended, s.Took, s.Error = time.Time{}, time.Now(), time.Since(s.Running), ""
				if err != nil && ctx.Err() == nil {
					s.Error = err.Error()
				}
			})
			return err
		}
	}
	return j
}

// entry is where a job stands on a board.
type entry struct {
	board  *Board
	status *Status
}

type entryKey struct{}

// Waits says that the job whose context this is has nothing to do but to wait for something, until resume is
// called: on a board it is not at work meanwhile.
func Waits(ctx context.Context) (resume func()) {
	e, ok := ctx.Value(entryKey{}).(entry)
	if !ok {
		return func() {}
	}
	e.board.change(func() { e.status.Running = time.Time{} })
	return func() { e.board.change(func() { e.status.Running = time.Now() }) }
}

func (b *Board) change(what func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	what()
}
