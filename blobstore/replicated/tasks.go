package replicated

import (
	"context"
	"errors"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/blobstore"
)

// tasks are the goroutines that outlive the call which started them. Run owns them: they end with it, and
// none starts while it does not run.
type tasks struct {
	log hclog.Logger

	mu    sync.Mutex
	spawn func(task func(context.Context)) // nil while Run does not run
}

// start has a goroutine do a task, and returns false if there is nobody who would wait for it.
func (t *tasks) start(task func(context.Context)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.spawn == nil {
		return false
	}
	t.spawn(task)
	return true
}

func (t *tasks) running() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.spawn != nil
}

// serve lets tasks start until ctx ends, while do does, and waits for all.
func (t *tasks) serve(ctx context.Context, do func(context.Context)) error {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	t.mu.Lock()
	if t.spawn != nil {
		t.mu.Unlock()
		cancel()
		return errors.New("the store runs already")
	}
	t.spawn = func(task func(context.Context)) { all.Go(func() { t.do(ctx, task) }) }
	t.mu.Unlock()
	do(ctx)
	t.mu.Lock()
	t.spawn = nil
	t.mu.Unlock()
	cancel()
	all.Wait()
	return nil
}

// do does a task. It is on its own, so that a panic would end the process.
func (t *tasks) do(ctx context.Context, task func(context.Context)) {
	err := blobstore.Contain(func() error { task(ctx); return nil })
	if err != nil {
		t.log.Error("task failed", "error", err)
	}
}
