package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// round is what one round has come to.
type round struct {
	rate float64       // requests a second
	busy time.Duration // of the servers' processors, a request
}

// run lets clients send jobs, one after the other each, until there are no more or no more time to begin
// one. The jobs were made ready before, and what an earlier round has written is on the disk: neither is
// anything that the round should be told by.
func (r *registry) run(ctx context.Context, clients int, jobs []job, window time.Duration) (round, error) {
	all := make([]*client, clients)
	for i := range all {
		all[i] = newClient(r)
		all[i].next = i
		defer all[i].close()
	}
	syscall.Sync()
	var taken, done atomic.Int64
	errs := make([]error, clients)
	var parts sync.WaitGroup
	busy, began := r.busy(), time.Now()
	for i, c := range all {
		parts.Go(func() {
			for errs[i] == nil && time.Since(began) < window {
				next := int(taken.Add(1)) - 1
				if next >= len(jobs) {
					return
				}
				if errs[i] = jobs[next](ctx, c); errs[i] == nil {
					done.Add(1)
				}
			}
		})
	}
	parts.Wait()
	took, busy := time.Since(began), r.busy()-busy
	if err := errors.Join(errs...); err != nil {
		return round{}, fmt.Errorf("%s: %w", r.name, err)
	}
	n := done.Load()
	return round{rate: float64(n) / took.Seconds(), busy: busy / time.Duration(max(1, n))}, nil
}

// series are the rounds of one kind of request, by one number of clients, at one registry.
type series struct {
	registry string
	rounds   []round
}

// measure has all registries do a work, in turn. Each starts with an empty store.
func measure(ctx context.Context, o options, home string, w work, number *uint64, report func(clients int, all []series)) (err error) {
	dir, err := os.MkdirTemp(home, "stores-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var registries []*registry
	defer func() {
		for _, r := range registries {
			err = errors.Join(err, r.close())
		}
	}()
	for i, c := range contenders(o) {
		r, err := c.open(ctx, filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return err
		}
		registries = append(registries, r)
		if err := w.prepare(ctx, newClient(r)); err != nil {
			return fmt.Errorf("prepare %s: %w", r.name, err)
		}
	}
	for _, clients := range []int{1, 8} {
		all, err := alternate(ctx, o, w, clients, registries, number)
		if err != nil {
			return err
		}
		report(clients, all)
	}
	return nil
}

// alternate gives each registry its rounds.
func alternate(ctx context.Context, o options, w work, clients int, registries []*registry, number *uint64) ([]series, error) {
	all := make([]series, len(registries))
	for range o.rounds {
		for i, r := range registries {
			jobs := make([]job, w.most)
			for k := range jobs {
				*number++
				jobs[k] = w.job(*number)
			}
			result, err := r.run(ctx, clients, jobs, o.window)
			if err != nil {
				return nil, fmt.Errorf("%s, %d clients: %w", w.name, clients, err)
			}
			all[i].registry = r.name
			all[i].rounds = append(all[i].rounds, result)
		}
	}
	return all, nil
}
