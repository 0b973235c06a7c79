package removal

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// clearer is the leader's part that forgets what nodes had which are gone.
type clearer struct{ Deps }

// run clears all of them.
func (c *clearer) run(ctx context.Context) error {
	var gone []blobstore.Incarnation
	err := c.State.View(func(v fsm.View) error {
		for _, i := range v.Uncleared() {
			gone = append(gone, blobstore.Incarnation(i))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, i := range gone {
		if err := c.clear(ctx, i); err != nil {
			return fmt.Errorf("clear node %s: %w", i, err)
		}
	}
	return nil
}

// clear removes what is recorded of one node, a bounded number at a time.
func (c *clearer) clear(ctx context.Context, i blobstore.Incarnation) error {
	var all fsm.NodeCleared
	for all.Left = true; all.Left; {
		done, err := fsm.Do(ctx, c.Proposer, fsm.ClearNode{Incarnation: [16]byte(i)})
		if errors.Is(err, fsm.ErrNodeNotDropped) { // known again since
			return nil
		}
		if err != nil {
			return err
		}
		all = fsm.NodeCleared{Locations: all.Locations + done.Locations, Doomed: all.Doomed + done.Doomed, Left: done.Left}
	}
	c.Logger.Info("node that is gone cleared", "node", i.String(), "locations", all.Locations, "doomed", all.Doomed)
	return nil
}
