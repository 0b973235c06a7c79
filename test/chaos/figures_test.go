package chaos_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// figures are what a run prints at its end. The methods may be called concurrently.
type figures struct {
	mu     sync.Mutex
	counts map[string]int
	gaps   map[string]*gap
	most   map[string]time.Duration
}

// gap is how long nothing of a kind has succeeded.
type gap struct {
	since   time.Time // of the last success, or of the beginning
	longest time.Duration
}

func newFigures() *figures {
	return &figures{counts: map[string]int{}, gaps: map[string]*gap{}, most: map[string]time.Duration{}}
}

func (f *figures) count(what string, by int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[what] += by
}

// took notes how long something took, of which the longest is printed.
func (f *figures) took(what string, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.most[what] = max(f.most[what], d)
}

// worked notes a success; begin (at the beginning of a window) and the end of it are none, but bound
// what is a gap.
func (f *figures) worked(what string, begin bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.gaps[what]
	if g == nil {
		g = &gap{since: time.Now()}
		f.gaps[what] = g
	}
	now := time.Now()
	if !begin {
		g.longest = max(g.longest, now.Sub(g.since))
	}
	g.since = now
}

// add takes over what another counted.
func (f *figures) add(o *figures) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for what, n := range o.counts {
		f.counts[what] += n
	}
	for what, d := range o.most {
		f.most[what] = max(f.most[what], d)
	}
	for what, g := range o.gaps {
		if f.gaps[what] == nil {
			f.gaps[what] = &gap{}
		}
		f.gaps[what].longest = max(f.gaps[what].longest, g.longest)
	}
}

// String is a line for each figure.
func (f *figures) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(f.counts)) {
		fmt.Fprintf(&b, "%8d  %s\n", f.counts[what], what)
	}
	for _, what := range slices.Sorted(maps.Keys(f.gaps)) {
		fmt.Fprintf(&b, "%7.2fs  longest without %s\n", f.gaps[what].longest.Seconds(), what)
	}
	for _, what := range slices.Sorted(maps.Keys(f.most)) {
		fmt.Fprintf(&b, "%7.2fs  longest %s\n", f.most[what].Seconds(), what)
	}
	return b.String()
}
