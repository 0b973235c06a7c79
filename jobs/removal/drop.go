package removal

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// leaver is the leader's part: it drops the copies of nodes that are leaving.
type leaver struct {
	Deps
	walk walk

	dropped int     // in this run
	waits   waiting // since the walk began
	said    waiting // in the log
}

// waiting are the copies that cannot go yet.
type waiting struct {
	copies int
	first  fsm.Digest
}

// run does what can be done now, and says what it waits for whenever that has changed.
func (l *leaver) run(ctx context.Context) error {
	l.dropped = 0
	err := l.walk.run(ctx)
	if l.dropped > 0 {
		l.Logger.Info("copies of leaving nodes dropped", "store", l.Store, "copies", l.dropped)
	}
	if l.walk.ended {
		l.say()
	}
	return err
}

func (l *leaver) say() {
	if l.waits != l.said && l.waits.copies > 0 {
		l.Logger.Info("leaving nodes keep copies until enough others are there and have been hashed again",
			"store", l.Store, "copies", l.waits.copies, "first", l.waits.first.String())
	}
	l.said, l.waits = l.waits, waiting{}
}

// drop drops those of a node's copies that enough others are vouched for.
func (l *leaver) drop(ctx context.Context, node blobstore.Incarnation, page []fsm.Digest) (bool, error) {
	cmd := fsm.DropCopies{Incarnation: [16]byte(node), Store: l.Store}
	var waits []fsm.Digest
	err := l.State.View(func(v fsm.View) error {
		need := v.Need(l.Store)
		for _, d := range page {
			if b, known := v.Blob(l.Store, d); known && b.Vouched >= need {
				cmd.Digests = append(cmd.Digests, d)
			} else if known {
				waits = append(waits, d)
			}
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	if len(cmd.Digests) == 0 {
		l.wait(waits)
		return false, nil
	}
	done, err := fsm.Do(ctx, l.Proposer, cmd)
	if errors.Is(err, fsm.ErrNodeNotRetired) { // it has gone meanwhile
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("drop copies of a leaving node: %w", err)
	}
	l.wait(waits)
	l.dropped += done.Copies
	return done.Copies > 0, nil
}

func (l *leaver) wait(all []fsm.Digest) {
	if l.waits.copies == 0 && len(all) > 0 {
		l.waits.first = all[0]
	}
	l.waits.copies += len(all)
}
