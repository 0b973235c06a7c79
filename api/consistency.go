package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

// hurry is how long a read by digest waits for its round before it looks at what is here.
const hurry = 150 * time.Millisecond

// read calls look with a state that is as new as the request, or on evidence of no quorum an older one; the
// answer says so then. Look fails if it does not find: that is never told from an old state (see fail).
//
// It fails with errUnavailable, or with look's error.
func (g *Registry) read(ctx context.Context, w *answer, look func(v fsm.View) error) error {
	stale, err := g.consistency.Read(ctx)
	if err != nil {
		return unavailable(err)
	}
	if stale {
		w.markStale()
	}
	return g.state.View(look)
}

// readDigest is read for what a digest names: it can have been deleted, but never be something else, so
// what is here is good enough when the round takes long.
func (g *Registry) readDigest(ctx context.Context, w *answer, look func(v fsm.View) error) error {
	soon, cancel := context.WithTimeout(ctx, hurry)
	stale, err := g.consistency.Read(soon)
	cancel()
	if err != nil && ctx.Err() == nil {
		if g.state.View(look) == nil {
			w.markStale()
			return nil
		}
		return g.read(ctx, w, look)
	}
	if err != nil {
		return unavailable(err)
	}
	if stale {
		w.markStale()
	}
	return g.state.View(look)
}

// readNew is read that is never stale.
//
// It fails with errUnavailable, or with look's error.
func (g *Registry) readNew(ctx context.Context, look func(v fsm.View) error) error {
	if err := g.consistency.ReadIndex(ctx); err != nil {
		return unavailable(err)
	}
	return g.state.View(look)
}

// do proposes a command.
//
// It fails with a *fsm.Refusal, fsm.ErrOutcomeUnknown, or errUnavailable if it is not decided.
func do[R any](ctx context.Context, p fsm.Proposer, cmd fsm.CommandOf[R]) (R, error) {
	var none R
	payload, err := fsm.Encode(cmd)
	if err != nil {
		return none, err
	}
	result, err := p.Propose(ctx, payload)
	switch {
	case errors.Is(err, fsm.ErrNotAdmitted):
		return none, err
	case err != nil:
		return none, unavailable(err)
	}
	return fsm.Decode(cmd, result)
}

// unavailable is an error of the cluster: nobody's fault, and over soon.
func unavailable(err error) error { return fmt.Errorf("%w: %w", errUnavailable, err) }
