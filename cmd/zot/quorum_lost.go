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

// whileQuorum is ctx that ends when there has been no quorum for so long that this is no election. To a proposal that is a
// deadline as any other: whether it was committed is not known then, if it may have been. The caller calls end.
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
