package peer

import "sync"

// tracker knows all that must end with Run: work in progress, which is cut and waited for, and connections, which
// are closed.
type tracker struct {
	mu      sync.Mutex
	closed  bool
	stops   map[*func()]struct{}
	working sync.WaitGroup // counts begin; grows only under mu while not closed
}

func newTracker() *tracker { return &tracker{stops: make(map[*func()]struct{})} }

// begin registers work that stop cuts short; end says that it is done. It is not to be begun when ok is false.
func (t *tracker) begin(stop func()) (end func(), ok bool) {
	release, ok := t.register(stop, true)
	if !ok {
		return nil, false
	}
	return func() {
		release()
		t.working.Done()
	}, true
}

// hold registers a connection that stop closes, until it is released.
func (t *tracker) hold(stop func()) (release func(), ok bool) {
	return t.register(stop, false)
}

func (t *tracker) register(stop func(), work bool) (release func(), ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, false
	}
	if work {
		t.working.Add(1)
	}
	key := &stop
	t.stops[key] = struct{}{}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.stops, key)
	}, true
}

// close stops all that is registered; nothing can be registered afterwards.
func (t *tracker) close() {
	t.mu.Lock()
	stops := t.stops
	t.stops, t.closed = make(map[*func()]struct{}), true
	t.mu.Unlock()
	for stop := range stops {
		(*stop)()
	}
}

// wait returns when all work that was begun has ended. It is called after close.
func (t *tracker) wait() { t.working.Wait() }
