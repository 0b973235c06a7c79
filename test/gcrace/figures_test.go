package gcrace_test

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
	counts map[string]map[string]int
	most   map[string]time.Duration
	notes  map[string]string
}

func newFigures() *figures {
	return &figures{counts: map[string]map[string]int{}, most: map[string]time.Duration{}, notes: map[string]string{}}
}

// count counts one thing more.
func (f *figures) count(what, outcome string) { f.add(what, outcome, 1) }

func (f *figures) add(what, outcome string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts[what] == nil {
		f.counts[what] = map[string]int{}
	}
	f.counts[what][outcome] += n
}

func (f *figures) of(what, outcome string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[what][outcome]
}

// took notes how long something took, of which the longest is printed.
func (f *figures) took(what string, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.most[what] = max(f.most[what], d)
}

// note notes a figure of its own.
func (f *figures) note(what, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.notes[what] = text
}

// String is a line for each kind of request, and for each figure.
func (f *figures) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(f.counts)) {
		fmt.Fprintf(&b, "  %-28s", what)
		for _, outcome := range slices.Sorted(maps.Keys(f.counts[what])) {
			fmt.Fprintf(&b, "  %s: %d", outcome, f.counts[what][outcome])
		}
		if d, timed := f.most[what]; timed {
			fmt.Fprintf(&b, "  (longest %.2fs)", d.Seconds())
		}
		fmt.Fprintln(&b)
	}
	for _, what := range slices.Sorted(maps.Keys(f.most)) {
		if f.counts[what] == nil {
			fmt.Fprintf(&b, "  %-28s  %.2fs\n", what, f.most[what].Seconds())
		}
	}
	for _, what := range slices.Sorted(maps.Keys(f.notes)) {
		fmt.Fprintf(&b, "  %-28s  %s\n", what, f.notes[what])
	}
	return b.String()
}
