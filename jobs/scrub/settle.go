package scrub

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
)

// Where more copies than this are given up within a day, or within an interval that is longer, it is the disk
// or the memory that is bad: 1 % of the store's copies, and 100 in any case. A small store may lose a few.
const (
	manyShare = 100 // one in so many
	many      = 100
	few       = 10
	atOnce    = 24 * time.Hour
)

// maxNamed is how many images the log names of one blob.
const maxNamed = 10

// settler judges suspects.
type settler struct {
	Deps
	ledger note[ledger]

	said bool // that it has stopped
}

// ledger is what was given up lately. Its file is for people too.
type ledger struct {
	Stopped time.Time `json:"stopped,omitzero"` // no more are given up
	Why     string    `json:"why,omitempty"`
	GivenUp []givenUp `json:"givenUp,omitempty"`
}

type givenUp struct {
	At     time.Time `json:"at"`
	Digest string    `json:"digest"`
	Copy   string    `json:"copy"`
	Error  string    `json:"error"`
}

// since returns what was given up from a time on.
func (l *ledger) since(t time.Time) (kept []givenUp) {
	for _, g := range l.GivenUp {
		if !g.At.Before(t) {
			kept = append(kept, g)
		}
	}
	return kept
}

// errStopped is why a bad copy is not given up.
var errStopped = errors.New("too many copies are bad")

// run waits for suspects and judges each. One that cannot be judged now keeps no others, and stays.
func (s *settler) run(ctx context.Context) error {
	resume := jobs.Waits(ctx)
	suspects := s.Suspects.wait(ctx)
	resume()
	var failed error
	for _, id := range suspects {
		err := s.settle(ctx, id)
		switch {
		case err == nil:
			s.Suspects.settled(id)
		case errors.Is(err, errStopped): // which was said
			return nil
		case !errors.Is(err, errUncertain):
			return fmt.Errorf("look after a suspected copy: %w", err)
		case failed == nil:
			failed = fmt.Errorf("look after suspected copy %s: %w", id, err)
		}
	}
	return failed
}

// settle judges one suspect. It returns nil if there is nothing left to do for it.
func (s *settler) settle(ctx context.Context, id blobstore.CopyID) error {
	c, known, err := s.recorded(fsm.CopyID(id))
	if err != nil || !known {
		return err
	}
	linked := s.Linked != nil && s.Linked.IsUnsummed(id)
	l, err := s.open()
	if err != nil && (!linked || !errors.Is(err, errStopped)) {
		return err
	}
	bad := s.hash(ctx, c)
	if bad == nil {
		s.Logger.Info("suspected copy is good", "store", s.Store, "digest", c.digest.String(), "copy", id.String())
		return nil
	}
	if !isBad(bad) {
		return bad
	}
	if linked { // this node has never had the right bytes
		_, err := s.giveUp(ctx, c, bad)
		return err
	}
	if err := s.few(&l); err != nil {
		return err
	}
	if given, err := s.giveUp(ctx, c, bad); err != nil || !given {
		return err
	}
	l.GivenUp = append(l.GivenUp, givenUp{time.Now().UTC(), c.digest.String(), blobstore.CopyID(c.copy).String(), bad.Error()})
	if err := s.ledger.save(l); err != nil {
		s.Logger.Warn("bad copy is not counted", "error", err)
	}
	return nil
}

// open returns the ledger of now. It fails with errStopped until somebody has looked: its file is gone then.
func (s *settler) open() (ledger, error) {
	l, err := s.ledger.load()
	if err != nil {
		return l, err
	}
	if !l.Stopped.IsZero() {
		s.say(l)
		return l, errStopped
	}
	s.said = false
	l.GivenUp = l.since(time.Now().Add(-2 * s.lately())) // a report looks back further than to the interval
	return l, nil
}

func (s *settler) say(l ledger) {
	if !s.said {
		s.said = true
		s.Logger.Error("too many copies of this node are bad: no more are given up until somebody has looked",
			"store", s.Store, "why", l.Why, "how_to_go_on", "see what is wrong with the disk or the memory of this machine; "+
				"then remove "+s.ledger.file+", or take the node out with 'zot cluster remove'")
	}
}

// few fails with errStopped, for good, if too many were given up for one more.
func (s *settler) few(l *ledger) error {
	given := len(l.since(time.Now().Add(-s.lately())))
	if given < few {
		return nil
	}
	copies, err := s.count(many * manyShare)
	copies += given
	if err != nil || given < min(many, max(few, copies/manyShare)) {
		return err
	}
	l.Stopped = time.Now().UTC()
	l.Why = fmt.Sprintf("%d of %d copies (counted to %d) were given up within %s, and one more is bad",
		given, copies, many*manyShare, s.lately())
	s.say(*l)
	if err := s.ledger.save(*l); err != nil {
		return err
	}
	return errStopped
}

// lately is how long what was given up counts.
func (s *settler) lately() time.Duration { return max(atOnce, s.Every) }

// count is how many copies this node has of the store; it does not go on beyond enough.
func (s *settler) count(enough int) (n int, err error) {
	after := fsm.Digest("")
	for n < enough {
		page, err := s.page(after)
		if err != nil || len(page) == 0 {
			return n, err
		}
		n += len(page)
		after = page[len(page)-1].digest
	}
	return enough, nil
}

// giveUp gives a bad copy up. It reports whether that was still to be done.
func (s *settler) giveUp(ctx context.Context, c own, bad error) (bool, error) {
	done, err := fsm.Do(ctx, s.Proposer, fsm.GiveUpCopy{Store: s.Store, Digest: c.digest, Location: s.at(c.copy)})
	if errors.Is(err, fsm.ErrCopyUnknown) { // doomed or collected meanwhile: then it is the sweeper's
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("give up a bad copy: %w", err)
	}
	if done.Damaged {
		s.Logger.Error("blob is damaged: no good copy of it is left; a push of it heals it", "store", s.Store,
			"digest", c.digest.String(), "error", bad, "images", s.images(c.digest))
	} else {
		s.Logger.Error("copy is bad and was given up, to be made again from another", "store", s.Store,
			"digest", c.digest.String(), "error", bad)
	}
	return true, nil
}

// images names images that need a blob, for the log.
func (s *settler) images(d fsm.Digest) (names []string) {
	_ = s.State.View(func(v fsm.View) error { // an error is the next view's too
		names = imagesOf(v, s.Store, d, maxNamed)
		return nil
	})
	return names
}
