package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

// How long a read waits for this node's state to be new enough.
const (
	hurry    = 150 * time.Millisecond // before a digest is looked for in what is here
	patience = time.Second            // before the leader is asked to answer instead
	handOver = 2 * time.Second        // for the leader to begin
	maxWait  = 5 * time.Second        // in all
)

// round waits until the state is new enough, or, if it may be, old on evidence of no quorum: Consistency.Read
// and ReadIndex.
type round func(ctx context.Context) (stale bool, err error)

// newest is the round that is never stale.
func (g *Registry) newest(ctx context.Context) (bool, error) {
	return false, g.consistency.ReadIndex(ctx)
}

// read calls look with a state that is as new as the request, or on evidence of no quorum an older one; the
// answer says so then. Look fails if it does not find: that is never told from an old state (see fail). If this
// node is behind while there is a quorum, the leader answers (DESIGN 3, "When a round cannot finish").
//
// It fails with errAnswered, errUnavailable, or look's error.
func (g *Registry) read(w *answer, r *http.Request, look func(v fsm.View) error) error {
	return g.readAfter(w, r, patience, g.consistency.Read, look)
}

// readDigest is read for what a digest names: it can have been deleted, but never be something else, so
// what is here is good enough when the round takes long.
func (g *Registry) readDigest(w *answer, r *http.Request, look func(v fsm.View) error) error {
	soon, cancel := context.WithTimeout(r.Context(), hurry)
	stale, err := g.consistency.Read(soon)
	cancel()
	switch {
	case err == nil:
		return g.look(w, r, stale, look)
	case r.Context().Err() != nil:
		return unavailable(err)
	case g.state.View(look) == nil:
		w.markStale()
		return nil
	}
	return g.readAfter(w, r, patience-hurry, g.consistency.Read, look)
}

// readList is read of a list, whose look returns how much of it there is. That there is nothing is told as any
// "not found" is: from the newest state, or marked where Consistency never asks for newer state.
func (g *Registry) readList(w *answer, r *http.Request, look func(v fsm.View) (n int, err error)) error {
	err := g.read(w, r, func(v fsm.View) error {
		n, err := look(v)
		if err == nil && n == 0 {
			return errNothing
		}
		return err
	})
	if errors.Is(err, errNothing) && (!w.isStale() || g.config.LocalReads) {
		return nil
	}
	return err
}

// readNewest is read of the newest state.
//
// It fails with errAnswered, errUnavailable, or look's error.
func (g *Registry) readNewest(w *answer, r *http.Request, look func(v fsm.View) error) error {
	return g.readAfter(w, r, patience, g.newest, look)
}

func (g *Registry) readAfter(w *answer, r *http.Request, patience time.Duration, round round, look func(v fsm.View) error) error {
	stale, err := g.await(w, r, patience, round)
	if err != nil {
		return err
	}
	return g.look(w, r, stale, look)
}

func (g *Registry) look(w *answer, r *http.Request, stale bool, look func(v fsm.View) error) error {
	err := g.state.View(look)
	if !stale {
		return err
	}
	w.markStale()
	if err != nil {
		return g.askOthers(w, r, err)
	}
	return nil
}

// await waits for a round. If it takes long the leader is asked to answer the request, whose answer must not
// have begun; if that does not work either the wait goes on.
func (g *Registry) await(w *answer, r *http.Request, patience time.Duration, round round) (stale bool, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), maxWait)
	defer cancel()
	if g.peers != nil && !w.forwarded {
		soon, cancel := context.WithTimeout(ctx, patience)
		stale, err = round(soon)
		cancel()
		if err == nil {
			return stale, nil
		}
		if leader, known := g.peers.Leader(); known {
			if err = g.ask(w, r, leader, handOver); errors.Is(err, errAnswered) || w.begun {
				return false, err
			}
			g.log.Debug("leader does not answer a read", "request_id", w.requestID, "error", err)
		}
	}
	if stale, err = round(ctx); err != nil {
		return false, unavailable(err)
	}
	return stale, nil
}

// readNew is readNewest in the middle of a request, which this node answers whatever comes.
//
// It fails with errUnavailable, or with look's error.
func (g *Registry) readNew(ctx context.Context, look func(v fsm.View) error) error {
	if err := g.consistency.ReadIndex(ctx); err != nil {
		return unavailable(err)
	}
	return g.state.View(look)
}

// writable fails with errUnavailable if this node knows that there is no quorum: a push would be taken whole, and refused at
// its end. An election is waited for, which may take more than one try, and what is known may be old: so a round is tried first.
func (g *Registry) writable(ctx context.Context) error {
	if !g.consistency.NoQuorum() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	if err := g.consistency.ReadIndex(ctx); err != nil {
		return unavailable(err)
	}
	return nil
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
