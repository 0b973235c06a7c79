package cluster

import (
	"container/heap"
	"context"
	"sync"
)

// applied is the index that this node's state machine has come to, and those who wait for one. It is
// our own: Raft's AppliedIndex counts what was handed over, not what is done.
type applied struct {
	mu      sync.Mutex
	index   uint64
	waiters waiters
}

type waiter struct {
	index uint64
	done  chan struct{}
}

// waiters is a heap, lowest index first.
type waiters []waiter

func (w waiters) Len() int           { return len(w) }
func (w waiters) Less(i, j int) bool { return w[i].index < w[j].index }
func (w waiters) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }

// Push is for container/heap.
func (w *waiters) Push(x any) { *w = append(*w, x.(waiter)) } // only wait pushes

// Pop is for container/heap.
func (w *waiters) Pop() any {
	old := *w
	last := old[len(old)-1]
	*w = old[:len(old)-1]
	return last
}

// set raises the index and wakes those whom it was missing.
func (a *applied) set(index uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if index <= a.index {
		return
	}
	a.index = index
	for len(a.waiters) > 0 && a.waiters[0].index <= index {
		close(heap.Pop(&a.waiters).(waiter).done) // only waiters are pushed
	}
}

func (a *applied) get() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.index
}

// wait returns when the index has been applied, or with ctx's error. A waiter that gave up stays in
// the heap until its index comes; there are no more of them than requests.
func (a *applied) wait(ctx context.Context, index uint64) error {
	a.mu.Lock()
	if a.index >= index {
		a.mu.Unlock()
		return nil
	}
	w := waiter{index, make(chan struct{})}
	heap.Push(&a.waiters, w)
	a.mu.Unlock()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
