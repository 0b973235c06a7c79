package sweep

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

const (
	// maxMarks bounds what is remembered: 1 MiB. A listing that finds more goes on behind them when they
	// are dealt with.
	maxMarks = 1 << 16
	// unknownPage is how many copies are looked up in one view, or removed at once.
	unknownPage = 1000
	// afterRestore is how long nothing unknown is removed after the restore of a backup: a file that nobody
	// knows may be all that is left of what was acknowledged.
	afterRestore = 7 * 24 * time.Hour
)

// marks are copies that the state did not know after an index round which came after they were listed.
type marks struct {
	ids     []blobstore.CopyID // none: nothing is marked
	at      blobstore.Time     // state time after the round
	taken   bool               // at is set
	restore uint64             // restoreOf the state that was looked at
	after   blobstore.CopyID   // where the next listing begins
}

// clear forgets what is marked, not how far the listing came.
func (m *marks) clear() { *m = marks{after: m.after} }

// sweepUnknown removes what was marked three windows ago and is still unknown, then lists and marks anew.
// Marks live as long as the process, which only makes the wait longer (GC R11).
func (s *sweeper) sweepUnknown(ctx context.Context) error {
	var quiet, due bool
	err := s.State.View(func(v fsm.View) error {
		quiet, due = isQuiet(v), s.isDue(v)
		if s.marks.restore != restoreOf(v) {
			s.marks = marks{}
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case quiet:
		return nil
	case s.marks.taken && !due:
		return nil
	}
	if err := s.removeMarked(ctx); err != nil {
		return err
	}
	return s.mark(ctx)
}

// restoreOf numbers the newest restore of a backup; 0: none.
func restoreOf(v fsm.View) uint64 {
	r, _ := v.Restored()
	return r.Number
}

// isQuiet reports whether a backup was restored lately.
func isQuiet(v fsm.View) bool {
	r, restored := v.Restored()
	return restored && v.Time().Sub(r.At) < afterRestore
}

// isDue reports whether what is marked may be removed if it is still unknown. Marks from before a restore
// say nothing of the state that it brought, nor in its time.
func (s *sweeper) isDue(v fsm.View) bool {
	store, _ := v.Store(s.Store)
	return s.marks.taken && s.marks.restore == restoreOf(v) && !isQuiet(v) &&
		time.Duration(blobstore.Time(v.Time())-s.marks.at) >= store.Numbers.Unknown
}

// removeMarked removes what is marked and still unknown. Each part of it is judged anew in the view that
// is looked at just before.
func (s *sweeper) removeMarked(ctx context.Context) error {
	removed := 0
	for left := s.marks.ids; len(left) > 0; {
		n := min(unknownPage, len(left))
		page, err := s.stillUnknown(left[:n], true)
		if err != nil {
			return err
		}
		if len(page) > 0 {
			gone, err := s.remove(ctx, page)
			removed += len(gone)
			if err != nil && hopeless(ctx, err) {
				return err // they stay marked: what is once unknown for so long stays unknown
			}
			if err != nil {
				s.log.Warn("an unknown copy cannot be removed", "store", s.Store, "error", err)
			}
		}
		left = left[n:]
	}
	if removed > 0 {
		s.log.Info("unknown copies removed", "store", s.Store, "copies", removed)
	}
	s.marks.clear()
	return nil
}

// stillUnknown returns those of ids that the applied state does not know; with marked, none unless their
// marks are old enough in that very state.
func (s *sweeper) stillUnknown(ids []blobstore.CopyID, marked bool) (unknown []blobstore.CopyID, err error) {
	err = s.State.View(func(v fsm.View) error {
		if marked && !s.isDue(v) {
			return nil
		}
		for _, id := range ids {
			if state, _ := v.Copy(s.Store, s.at(id)); state == fsm.CopyUnknown {
				unknown = append(unknown, id)
			}
		}
		return nil
	})
	return unknown, err
}

// mark lists the copies, asks for the index, and marks what is unknown then. The order is the rule: a
// copy that is listed before the round was stamped before it, so once its mark is a window old no command
// can record it any more. With the node's own time in its place, one that lags would take an upload's
// copies for old ones.
func (s *sweeper) mark(ctx context.Context) error {
	if err := s.round(ctx); err != nil {
		return err // before a listing of millions, which would be for nothing
	}
	found, end, err := s.list(ctx)
	if err != nil {
		return fmt.Errorf("list copies: %w", err)
	}
	if err := s.round(ctx); err != nil {
		return err
	}
	next := marks{taken: true, after: end}
	for len(found) > 0 {
		n := min(unknownPage, len(found))
		unknown, err := s.stillUnknown(found[:n], false)
		if err != nil {
			return err
		}
		next.ids, found = append(next.ids, unknown...), found[n:]
	}
	err = s.State.View(func(v fsm.View) error {
		next.at, next.restore = blobstore.Time(v.Time()), restoreOf(v)
		return nil
	})
	if err == nil {
		s.marks = next
	}
	return err
}

func (s *sweeper) round(ctx context.Context) error {
	if err := s.Consistency.ReadIndex(ctx); err != nil {
		return fmt.Errorf("mark unknown copies: %w", err)
	}
	return nil
}

// list returns copies that the state does not know now, and where the next listing begins. Those that it
// knows need no mark, and are nearly all.
func (s *sweeper) list(ctx context.Context) (found []blobstore.CopyID, end blobstore.CopyID, err error) {
	page := make([]blobstore.CopyID, 0, unknownPage)
	look := func() error {
		unknown, err := s.stillUnknown(page, false)
		found, page = append(found, unknown...), page[:0]
		return err
	}
	for id, err := range s.Blobs.Copies(ctx, s.marks.after) {
		if err != nil {
			return nil, end, err
		}
		if page = append(page, id); len(page) < unknownPage {
			continue
		}
		if err := look(); err != nil {
			return nil, end, err
		}
		if len(found) > maxMarks-unknownPage {
			return found, id, nil
		}
	}
	return found, blobstore.CopyID{}, look()
}
