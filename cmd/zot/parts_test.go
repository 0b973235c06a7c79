package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestPartsEndInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		drained := errors.New("drained badly")
		part := func(name string, err error) func(context.Context) error {
			return func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(time.Second) // it drains
				mu.Lock()
				defer mu.Unlock()
				order = append(order, name)
				if !errors.Is(context.Cause(ctx), errStopped) {
					t.Errorf("%s ends because of %v", name, context.Cause(ctx))
				}
				return err
			}
		}
		whole, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		var p parts
		p.add(whole, "signals", func(ctx context.Context) error { return untilAsked(ctx, whole, nil, nil) })
		p.add(whole, "first", part("first", nil))
		p.add(whole, "second", part("second", drained))
		p.add(whole, "third", part("third", nil))
		if err := p.run(); !errors.Is(err, drained) || errors.Is(err, errStopped) {
			t.Errorf("run returned %v", err)
		}
		if want := []string{"first", "second", "third"}; !slices.Equal(order, want) {
			t.Errorf("ended in the order %v", order)
		}
	})
}

func TestPartsEndWithAFailure(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	var p parts
	p.add(t.Context(), "waits", func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	})
	p.add(t.Context(), "fails", func(context.Context) error { return broken })
	if err := p.run(); !errors.Is(err, broken) {
		t.Errorf("run returned %v", err)
	}
}

func TestUntilAsked(t *testing.T) {
	t.Parallel()
	signals := make(chan os.Signal, 3)
	signals <- syscall.SIGHUP
	signals <- syscall.SIGHUP
	signals <- syscall.SIGTERM
	reloads := 0
	if err := untilAsked(t.Context(), t.Context(), signals, func() { reloads++ }); !errors.Is(err, errStopped) || reloads != 2 {
		t.Errorf("%v after %d reloads", err, reloads)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := untilAsked(ended, t.Context(), signals, nil); err != nil {
		t.Errorf("an end that another part brought about is %v", err)
	}
}
