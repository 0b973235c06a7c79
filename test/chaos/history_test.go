package chaos_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// history is what clients did and saw in one window. Its methods may be called concurrently.
type history struct {
	mu      sync.Mutex
	fresh   []*operation // all that the checker is given
	stale   []*operation // reads that were marked stale
	dropped []*operation // what the product said was certainly not applied, for the picture of a failure
}

func (h *history) add(o *operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fresh = append(h.fresh, o)
}

func (h *history) addStale(o *operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stale = append(h.stale, o)
}

func (h *history) drop(o *operation, why error) {
	o.note = fmt.Sprintf(" (not applied: %v)", why)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropped = append(h.dropped, o)
}

// of prints what happened to one register, in the order of calls.
func (h *history) of(register int) string {
	var all []*operation
	for _, list := range [][]*operation{h.fresh, h.stale, h.dropped} {
		for _, o := range list {
			if o.register == register {
				all = append(all, o)
			}
		}
	}
	slices.SortFunc(all, func(a, b *operation) int { return cmp.Compare(a.began, b.began) })
	var b strings.Builder
	for _, o := range all {
		fmt.Fprintln(&b, o)
	}
	return b.String()
}

// byPosition checks all reads, stale ones too, by the log index of the state that answered. It returns
// what does not fit, a line each:
//
//   - two states at one index give one answer (invariant 7);
//   - a value that was left does not come back: each is written by one operation of the window, so it
//     would have taken effect twice (invariant 9), or what is stale is no prefix (invariant 6);
//   - a value was written before it was read;
//   - a node whose client's write was acknowledged has it, unless another write has come after it.
//
// since is the log index at which the window began; what answers from before it is of earlier windows.
func (h *history) byPosition(initial []value, since uint64) []string {
	registers := make([][]*operation, len(initial))
	written := make([]map[value]time.Duration, len(initial))
	for r := range written {
		written[r] = map[value]time.Duration{0: 0, initial[r]: 0}
	}
	for _, o := range slices.Concat(h.fresh, h.stale) {
		switch o.action {
		case read:
			if o.position >= since {
				registers[o.register] = append(registers[o.register], o)
			}
		case write, swap:
			written[o.register][o.value] = o.began
		case remove:
		}
	}
	var found []string
	for r, reads := range registers {
		slices.SortFunc(reads, func(a, b *operation) int { return cmp.Compare(a.position, b.position) })
		found = append(found, inOrder(initial[r], reads, written[r])...)
	}
	return found
}

func inOrder(now value, reads []*operation, written map[value]time.Duration) []string {
	var found []string
	var last *operation
	left := map[value]bool{}
	for _, o := range reads {
		began, known := written[o.saw]
		switch {
		case !known:
			found = append(found, fmt.Sprintf("nobody wrote that value in this window: %s", o))
		case began > o.ended:
			found = append(found, fmt.Sprintf("read before it was written at %.6f: %s", began.Seconds(), o))
		case last != nil && last.position == o.position && last.saw != o.saw:
			found = append(found, fmt.Sprintf("two answers at one log index: %s, and %s", last, o))
		case o.saw != 0 && left[o.saw]:
			found = append(found, fmt.Sprintf("a value came back: %s, after %s", o, last))
		}
		if o.saw != now {
			left[now] = true
			now = o.saw
		}
		if o.own != o.saw {
			left[o.own] = true // it was there: whoever sees it later saw it come, too late
		}
		last = o
	}
	return found
}

// inTime checks that the log index under fresh reads follows real time over all nodes and registers: a
// read that begins after another has ended does not see an older state. That is more than one register
// at a time can show.
func (h *history) inTime() []string {
	var began, ended []*operation
	for _, o := range h.fresh {
		if o.action == read {
			began, ended = append(began, o), append(ended, o)
		}
	}
	slices.SortFunc(began, func(a, b *operation) int { return cmp.Compare(a.began, b.began) })
	slices.SortFunc(ended, func(a, b *operation) int { return cmp.Compare(a.ended, b.ended) })
	var found []string
	var newest *operation // among the reads that had ended
	for _, o := range began {
		for ; len(ended) > 0 && ended[0].ended < o.began; ended = ended[1:] {
			if newest == nil || ended[0].position > newest.position {
				newest = ended[0]
			}
		}
		if newest != nil && o.position < newest.position {
			found = append(found, fmt.Sprintf("a read went back: %s, after %s", o, newest))
		}
	}
	return found
}
