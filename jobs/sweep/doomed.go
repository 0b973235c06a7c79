package sweep

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// doomedPage is how many copies are removed before they are confirmed: as many as one command takes.
const doomedPage = 300

// removeDoomed removes the doomed copies of this store and confirms those that are gone. No index round
// comes first: a copy that was ever doomed is never recorded again, so that a state which is old has the
// right of it too (GC R11).
func (s *sweeper) removeDoomed(ctx context.Context) error {
	var failed error
	total := 0
	defer func() {
		if total > 0 {
			s.log.Info("doomed copies removed", "store", s.Store, "copies", total)
		}
	}()
	for after := (fsm.DoomedCopy{Store: s.Store}); ; {
		page, err := s.doomed(after)
		if err != nil || len(page) == 0 {
			return errors.Join(failed, err)
		}
		gone, err := s.remove(ctx, page)
		failed = keepFirst(failed, err)
		if err := s.confirm(ctx, gone); err != nil {
			return err
		}
		total += len(gone)
		if len(page) < doomedPage || hopeless(ctx, err) {
			return failed
		}
		after.Copy = fsm.CopyID(page[len(page)-1])
	}
}

// doomed returns doomed copies of this store, from the one behind after on.
func (s *sweeper) doomed(after fsm.DoomedCopy) (page []blobstore.CopyID, err error) {
	err = s.State.View(func(v fsm.View) error {
		for _, c := range v.Doomed(s.at(blobstore.CopyID{}).Incarnation, after, doomedPage) {
			if c.Store != s.Store {
				break // they come store by store
			}
			page = append(page, blobstore.CopyID(c.Copy))
		}
		return nil
	})
	return page, err
}

// confirm says that files are gone. It comes after they are: one whose entry is deleted too early would
// lie there until it is swept as unknown (GC R12).
func (s *sweeper) confirm(ctx context.Context, gone []blobstore.CopyID) error {
	if len(gone) == 0 {
		return nil
	}
	cmd := fsm.CopyRemoved{Incarnation: [16]byte(s.Blobs.Incarnation()), Store: s.Store}
	for _, id := range gone {
		cmd.Copies = append(cmd.Copies, fsm.CopyID(id))
	}
	if _, err := fsm.Do(ctx, s.Proposer, cmd); err != nil {
		return fmt.Errorf("confirm removed copies: %w", err)
	}
	return nil
}

func keepFirst(first, next error) error {
	if first != nil {
		return first
	}
	return next
}
