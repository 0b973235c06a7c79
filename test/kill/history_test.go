package kill_test

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// checkTimeout is how long the checker may take for one register. One that runs out of it is a failure.
const checkTimeout = time.Minute

// history is what clients did and saw, by register. Its methods may be called concurrently.
type history struct {
	mu        sync.Mutex
	registers map[key][]*operation
	stale     map[key][]*operation // reads that were marked stale
	doubts    []*operation         // reads that got a 503
	deletions []*operation         // of manifests by digest
}

func newHistory() *history {
	return &history{registers: map[key][]*operation{}, stale: map[key][]*operation{}}
}

func (h *history) add(o *operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o.stale {
		h.stale[o.key] = append(h.stale[o.key], o)
		return
	}
	h.registers[o.key] = append(h.registers[o.key], o)
}

// doubt is a read that got no answer but a 503: it may only have if the register was perhaps empty.
func (h *history) doubt(o *operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.doubts = append(h.doubts, o)
}

// deleted is the deletion of a manifest by digest. It is one operation on each tag that may name the
// manifest, which is known at the end.
func (h *history) deleted(o *operation) {
	h.add(o)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deletions = append(h.deletions, o)
}

// spread puts the deletions by digest into the histories of the tags. Call it once, when nothing is added
// any more.
func (h *history) spread(images map[string]value) {
	for k, operations := range h.registers {
		if _, byDigest := images[k.name]; byDigest {
			continue
		}
		for _, d := range h.deletions {
			image := images[d.name]
			puts := func(o *operation) bool { return o.action == put && o.value == image }
			if d.repo == k.repo && slices.ContainsFunc(operations, puts) {
				o := *d
				o.key, o.call = k, call{untag, image}
				h.registers[k] = append(h.registers[k], &o)
			}
		}
	}
}

// of prints what happened to one register, in the order of calls.
func (h *history) of(k key) string {
	all := slices.Concat(h.registers[k], h.stale[k])
	for _, o := range h.doubts {
		if o.key == k {
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b *operation) int { return cmp.Compare(a.began, b.began) })
	var b strings.Builder
	for _, o := range all {
		fmt.Fprintln(&b, o)
	}
	return b.String()
}

// judge checks all registers after spread, and tells what does not fit, one text each. Pictures of what is
// not linearizable go to dir.
func (h *history) judge(dir string) (found []string) {
	keys := slices.SortedFunc(maps.Keys(h.registers), func(a, b key) int { return cmp.Compare(a.String(), b.String()) })
	for _, k := range keys {
		result, m, info := check(h.registers[k], checkTimeout)
		if result == porcupine.Ok {
			continue
		}
		picture := filepath.Join(dir, strings.NewReplacer("/", "-", ":", "-").Replace(k.String())+".html")
		if file, err := os.Create(picture); err == nil {
			_ = porcupine.Visualize(m, info, file) // the text says all that it shows
			_ = file.Close()
		}
		why := "is not linearizable"
		if result == porcupine.Unknown {
			why = fmt.Sprintf("was not checked in %s", checkTimeout)
		}
		found = append(found, fmt.Sprintf("the history of %s %s; a picture is %s\n%s", k, why, picture, h.of(k)))
	}
	for _, o := range h.doubts {
		if !h.maybeEmpty(o) {
			found = append(found, fmt.Sprintf("a pull of what was certainly there got a 503: %s\n%s", o, h.of(o.key)))
		}
	}
	for k, reads := range h.stale {
		for _, o := range reads {
			if o.saw != 0 && !h.wasPut(o) {
				found = append(found, fmt.Sprintf("a stale read of what nobody had put yet: %s\n%s", o, h.of(k)))
			}
		}
	}
	return found
}

// maybeEmpty reports whether a register may have been empty at some time of an operation: nothing was put
// before it for certain, or what takes it away was not certainly over before what was put last.
func (h *history) maybeEmpty(o *operation) bool {
	var last *operation // the put that began last of those that were done before o
	for _, p := range h.registers[o.key] {
		if p.action == put && p.verdict == done && p.ended < o.began && (last == nil || p.began > last.began) {
			last = p
		}
	}
	if last == nil {
		return true
	}
	return slices.ContainsFunc(h.registers[o.key], func(p *operation) bool {
		takes := (p.action == remove || p.action == untag) && p.verdict != refused
		return takes && p.began < o.ended && p.ended > last.began
	})
}

// wasPut reports whether what a read saw had been put, at least begun, before the read ended.
func (h *history) wasPut(o *operation) bool {
	return slices.ContainsFunc(h.registers[o.key], func(p *operation) bool {
		return p.action == put && p.value == o.saw && p.began < o.ended
	})
}
