package main

import (
	"context"
	"errors"
	"reflect"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/jobs"
)

// plan is the configuration as jobs go by it.
type plan struct {
	mu      sync.Mutex
	config  config.Config
	changed chan struct{} // closed when the configuration is another
}

func newPlan(c config.Config) *plan { return &plan{config: c, changed: make(chan struct{})} }

// now is the configuration, and what is closed when there is another.
func (p *plan) now() (config.Config, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.config, p.changed
}

// prepare makes sure, for each configuration to come, that the jobs of shifts can be made of it.
func (p *plan) prepare(all []shift) func(c config.Config) (draft, error) {
	return func(c config.Config) (draft, error) { return swap(func() { p.change(c) }), check(c, all) }
}

// change has jobs go by another configuration.
func (p *plan) change(c config.Config) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.config = c
	close(p.changed)
	p.changed = make(chan struct{})
}

// shift is jobs that go by the same part of a configuration. When it changes these end, and begin anew; no others do.
type shift struct {
	of   func(c config.Config) any
	jobs func(c config.Config) ([]jobs.Job, error)
}

// always is the part of a configuration that those jobs go by which go by none.
func always(config.Config) any { return nil }

// forever is a shift of jobs that no configuration changes.
func forever(all ...jobs.Job) shift {
	return shift{always, func(config.Config) ([]jobs.Job, error) { return all, nil }}
}

// check fails if the jobs of a configuration cannot be made.
func check(c config.Config, all []shift) error {
	for _, s := range all {
		if _, err := s.jobs(c); err != nil {
			return err
		}
	}
	return nil
}

// run runs shifts until ctx ends and all their jobs have returned. It fails, when all have returned, if jobs cannot be made.
func (p *plan) run(ctx context.Context, board *jobs.Board, log hclog.Logger, all ...shift) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	errs := make([]error, len(all))
	for i, s := range all {
		running.Go(func() {
			for ctx.Err() == nil && errs[i] == nil {
				errs[i] = p.generation(ctx, board, log, s)
			}
			if errs[i] != nil {
				cancel() // half of the jobs are not the plan
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// generation runs the jobs of a shift until their part of the configuration changes, or ctx ends.
func (p *plan) generation(ctx context.Context, board *jobs.Board, log hclog.Logger, s shift) error {
	c, changed := p.now()
	all, err := s.jobs(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	waited := make(chan struct{})
	go func() { // waited for below
		defer close(waited)
		for next := c; reflect.DeepEqual(s.of(c), s.of(next)); {
			select {
			case <-changed:
				next, changed = p.now()
			case <-ctx.Done():
				return
			}
		}
		cancel()
	}()
	err = board.Run(ctx, log, all...)
	cancel()
	<-waited
	return err
}
