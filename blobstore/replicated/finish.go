package replicated

import (
	"context"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

// Finish is as the contract says. This node and its peers verify the bytes, each its own, at the same time. It
// returns when as many have succeeded as the state asks for (Membership.Need), and gives the others that get
// on as long again.
//
// It returns blobstore.ErrTooFewCopies when these are not enough in Timing.Finish, and blobstore.ErrNoSpace as soon as they
// cannot be, because the disks of other nodes are full. The upload is kept then,
// what peers have got stays with them, and the senders go on: Finish may be repeated.
func (s *Store) Finish(ctx context.Context, id blobstore.UploadID, d digest.Digest) (int64, error) {
	if err := blobstore.CheckDigest(d); err != nil {
		return 0, fmt.Errorf("finish upload: %w", err)
	}
	m, err := s.membership()
	if err != nil {
		return 0, fmt.Errorf("finish upload: members: %w", err)
	}
	if len(m.Others) == 0 {
		return s.Local.Finish(ctx, id, d)
	}
	p, err := s.hold(id)
	if err != nil {
		return 0, fmt.Errorf("finish upload: %w", err)
	}
	defer s.release(p)
	u, err := s.Upload(ctx, id)
	if err != nil {
		return 0, fmt.Errorf("finish upload: %w", err)
	}
	w := s.newWait()
	defer w.end()
	p.claim(u, d, m)
	size, err := s.Local.Finish(ctx, id, d)
	p.judge(d, size, err)
	if err != nil {
		return 0, err
	}
	if err := s.await(ctx, p, d, w); err != nil {
		return 0, fmt.Errorf("finish upload: %w", err)
	}
	p.setReady(true)
	return size, nil
}

// claim tells the senders that the upload is whole.
func (p *push) claim(u blobstore.Upload, d digest.Digest, m Membership) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active = max(p.active, u.Active)
	p.claims++
	p.want, p.verified, p.ready = d, "", false
	p.grow(u.Offset)
	for _, s := range p.senders {
		s.retry = time.Time{} // somebody waits now
		if s.sent == p.size {
			s.moved = time.Now()
		}
	}
	p.tend(m)
}

// judge notes what this node's own Finish has come to.
func (p *push) judge(d digest.Digest, size int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.want = ""
	} else {
		p.verified, p.size = d, size
	}
	p.wake()
}

func (p *push) setReady(ready bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready = ready
}

// await waits for enough peers to have verified the bytes.
func (s *Store) await(ctx context.Context, p *push, d digest.Digest, w *wait) error {
	for {
		m, err := s.membership()
		if err != nil {
			return fmt.Errorf("members: %w", err)
		}
		n, more, changed := p.progress(m, d)
		if w.enough(n, m, more) {
			return nil
		}
		if !s.tasks.running() {
			return fmt.Errorf("%w: %d of %d, and nothing is sent to other nodes now", blobstore.ErrTooFewCopies, n, m.Need)
		}
		if n < m.Need && !more {
			if err := s.room(m, p.done(d)); err != nil {
				return err
			}
		}
		if _, _, err := next(ctx, w, changed); err != nil {
			return fmt.Errorf("%d of %d copies: %w", n, m.Need, err)
		}
	}
}

// progress has senders tended to, and returns how many copies are verified, and whether more may soon be.
func (p *push) progress(m Membership, d digest.Digest) (n int, more bool, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tend(m)
	n = m.self()
	now := time.Now()
	for _, s := range p.senders {
		switch {
		case !m.has(s.to.Incarnation):
		case s.finished == d:
			n++
		case s.running && p.keepsUp(s, now):
			more = true
		}
	}
	return n, more, p.changed
}

// wait is the patience of one call: until enough have done something, then as long again for the others.
type wait struct {
	timing Timing
	began  time.Time
	limit  *time.Timer
	tick   *time.Ticker
	grace  time.Time // when it is over; zero until there are enough
}

func (s *Store) newWait() *wait {
	return &wait{
		timing: s.timing,
		began:  time.Now(),
		limit:  time.NewTimer(s.timing.Finish),
		tick:   time.NewTicker(max(time.Millisecond, min(s.timing.GraceMin, s.timing.Stall)/4)),
	}
}

func (w *wait) end() {
	w.limit.Stop()
	w.tick.Stop()
}

// enough reports whether to wait no longer: n have done it, and more may follow.
func (w *wait) enough(n int, m Membership, more bool) bool {
	if n < m.Need {
		w.grace = time.Time{}
		return false
	}
	now := time.Now()
	if w.grace.IsZero() {
		w.grace = now.Add(min(w.timing.GraceMax, max(w.timing.GraceMin, now.Sub(w.began))))
	}
	return !more || n >= m.Replicas || !now.Before(w.grace)
}

// next waits for something to come from c, or until it is time to look again, and reports which. It returns
// blobstore.ErrTooFewCopies when it has lasted too long, unless there are enough.
func next[T any](ctx context.Context, w *wait, c <-chan T) (v T, came bool, err error) {
	select {
	case v = <-c:
		return v, true, nil
	case <-w.tick.C:
	case <-w.limit.C:
		if w.grace.IsZero() {
			return v, false, blobstore.ErrTooFewCopies
		}
		w.limit.Reset(w.timing.GraceMax) // the grace ends before
	case <-ctx.Done():
		return v, false, ctx.Err()
	}
	return v, false, nil
}
