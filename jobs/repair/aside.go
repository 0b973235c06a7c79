package repair

import "sync"

const (
	// maxWait is for how many runs something is set aside at most: about half an hour.
	maxWait = 64
	// maxAside is what is in Deps as aside. What finds no room is tried again in the next run.
	maxAside = 10_000
)

// aside holds what failed, each the longer the more often it did, so that blobs and nodes which are past
// help for now cost little and keep no others waiting.
type aside[K comparable] struct {
	limit int // how much is remembered

	mu    sync.Mutex
	run   int
	waits map[K]wait
}

type wait struct {
	runs  int // how many it was set aside for
	until int // the run in which it is tried again
}

func newAside[K comparable](limit int) *aside[K] { return &aside[K]{limit: limit, waits: map[K]wait{}} }

// next begins a run. What nobody has tried again for long is forgotten: it may be no more.
func (a *aside[K]) next() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.run++
	for k, w := range a.waits {
		if w.until+maxWait < a.run {
			delete(a.waits, k)
		}
	}
}

// is reports whether k is set aside in this run.
func (a *aside[K]) is(k K) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waits[k].until > a.run
}

// put sets k aside from now on: for the rest of the run first, then for twice as many runs each time. Two
// that fail on it in one run count as one.
func (a *aside[K]) put(k K) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w, known := a.waits[k]
	if w.until > a.run || !known && len(a.waits) >= a.limit {
		return
	}
	w.runs = min(max(1, 2*w.runs), maxWait)
	w.until = a.run + w.runs
	a.waits[k] = w
}

// full reports whether no more can be remembered: what fails and finds no room seems never to have failed.
func (a *aside[K]) full() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.waits) >= a.limit
}

// drop forgets that k failed.
func (a *aside[K]) drop(k K) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waits, k)
}
