package kill_test

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
	bytes  map[string]int64
	gaps   map[string]*gap
	most   map[string]time.Duration
}

// gap is how long nothing of a kind has succeeded.
type gap struct {
	since   time.Time // of the last success, or of the beginning
	longest time.Duration
	at      time.Time // when the longest ended
}

func newFigures() *figures {
	return &figures{counts: map[string]map[string]int{}, bytes: map[string]int64{}, gaps: map[string]*gap{}, most: map[string]time.Duration{}}
}

// count counts one thing more.
func (f *figures) count(what, outcome string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts[what] == nil {
		f.counts[what] = map[string]int{}
	}
	f.counts[what][outcome]++
}

func (f *figures) of(what, outcome string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[what][outcome]
}

// moved counts bytes.
func (f *figures) moved(what string, n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bytes[what] += n
}

// took notes how long something took, of which the longest is printed.
func (f *figures) took(what string, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.most[what] = max(f.most[what], d)
}

// worked notes a success; begin is none, but bounds what is a gap.
func (f *figures) worked(what string, begin bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g, now := f.gaps[what], time.Now()
	if g == nil {
		g = &gap{since: now}
		f.gaps[what] = g
	}
	if d := now.Sub(g.since); !begin && d > g.longest {
		g.longest, g.at = d, now
	}
	g.since = now
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
			fmt.Fprintf(&b, "  %-28s  %.2fs at most\n", what, f.most[what].Seconds())
		}
	}
	for _, what := range slices.Sorted(maps.Keys(f.bytes)) {
		fmt.Fprintf(&b, "  %-28s  %d MB\n", what, f.bytes[what]/1_000_000)
	}
	for _, what := range slices.Sorted(maps.Keys(f.gaps)) {
		g := f.gaps[what]
		fmt.Fprintf(&b, "  %-28s  %.2fs until %s\n", "longest without "+what, g.longest.Seconds(), g.at.UTC().Format(clock))
	}
	return b.String()
}
