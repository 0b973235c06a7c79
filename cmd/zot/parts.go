package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	oklog "github.com/oklog/run"
)

// errStopped is why a node ends that was asked to.
var errStopped = errors.New("asked to stop")

// parts run together. When the first ends, the others are ended one after the other in the order in
// which they were added, each when the one before has drained: that order is the shutdown.
type parts struct {
	group oklog.Group

	mu   sync.Mutex
	errs []error
}

// add adds what runs until its context ends, and then drains before it returns. That context has the
// values of ctx, but not its end: the parts end in order, not all at once. Its cause is why the first
// part ended.
func (p *parts) add(ctx context.Context, name string, do func(ctx context.Context) error) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	done := make(chan struct{})
	p.group.Add(func() error {
		defer close(done)
		err := do(ctx)
		if err != nil && !errors.Is(err, errStopped) {
			p.failed(fmt.Errorf("%s: %w", name, err))
		}
		return err
	}, func(cause error) {
		cancel(cause)
		<-done
	})
}

func (p *parts) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errs = append(p.errs, err)
}

// run runs all parts and returns when the last has ended, with whatever went wrong in any of them.
func (p *parts) run() error {
	_ = p.group.Run() // the first error is among those that were collected
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(p.errs...)
}

// untilAsked waits for a signal to stop, or the end of the whole, and fails with errStopped then. Each
// SIGHUP calls reload.
func untilAsked(ctx, whole context.Context, signals <-chan os.Signal, reload func()) error {
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGHUP {
				return errStopped
			}
			reload()
		case <-whole.Done():
			return errStopped
		case <-ctx.Done():
			return nil
		}
	}
}
