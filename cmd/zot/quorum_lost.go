package main

import (
	"context"
	"errors"
	"time"

	"github.com/seed-16d79997/zot/api"
)

// Without a quorum a proposal is given up after so many looks in a row. An election takes less (RAFT 4.5), and a read waits no
// longer (DESIGN 3).
const (
	quorumLook = time.Second
	quorumLost = 5
)

var errQuorumLost = errors.New("there is no quorum")

// whileQuorum is ctx that ends when there has been no quorum for so long that this is no election. To a proposal that is an
// end as any other: whether it was committed is not known then, if it may have been. The caller calls end, and tells with
// forWant what came of it.
func whileQuorum(ctx context.Context, c api.Consistency) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() { // waited for by end
		defer close(watched)
		next := time.NewTicker(quorumLook)
		defer next.Stop()
		for missed := 0; missed < quorumLost; {
			select {
			case <-next.C:
			case <-ctx.Done():
				return
			}
			if missed++; hasQuorum(ctx, c) {
				missed = 0
			}
		}
		cancel(errQuorumLost)
	}()
	return ctx, func() {
		cancel(nil)
		<-watched
	}
}

// hasQuorum reports whether there is no evidence of the contrary. What is known may be old: so a round is tried first.
func hasQuorum(ctx context.Context, c api.Consistency) bool {
	if !c.NoQuorum() {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, quorumLook)
	defer cancel()
	return c.ReadIndex(ctx) == nil
}

// forWant is err, which came of a ctx of whileQuorum. If that has ended for want of a quorum, nobody has given anything up: it is as
// if there had been no time.
func forWant(ctx context.Context, err error) error {
	if err == nil || !errors.Is(context.Cause(ctx), errQuorumLost) {
		return err
	}
	return quorumError{err}
}

// quorumError is another error, for want of a quorum.
type quorumError struct{ error }

func (e quorumError) Error() string { return errQuorumLost.Error() + ": " + e.error.Error() }

// Is and As look through it, but for that a context was canceled.
func (e quorumError) Is(target error) bool {
	return target == errQuorumLost || target == context.DeadlineExceeded || target != context.Canceled && errors.Is(e.error, target)
}

func (e quorumError) As(target any) bool { return errors.As(e.error, target) }
