package replicated

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed-16d79997/zot/blobstore"
)

// lately is how many rounds of questions an answer stands for.
const lately = 3

// health is what is known of how the nodes are.
type health struct {
	began time.Time

	mu    sync.Mutex
	nodes map[blobstore.Incarnation]condition
}

// condition is how one node is.
type condition struct {
	answered time.Time // last, if it did not fail since
	heard    time.Time // last, whatever came since
	usage    blobstore.Usage
}

// hasRoom reports whether a store has said that it takes uploads.
func hasRoom(u blobstore.Usage) bool { return u.Total > 0 && !u.Full() }

func newHealth() *health {
	return &health{began: time.Now(), nodes: map[blobstore.Incarnation]condition{}}
}

func (h *health) answers(i blobstore.Incarnation, u blobstore.Usage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.nodes[i] = condition{answered: now, heard: now, usage: u}
}

// fails notes that a node did not answer. The next answer to a question mends that.
func (h *health) fails(i blobstore.Incarnation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.nodes[i]
	c.answered = time.Time{}
	h.nodes[i] = c
}

func (h *health) of(i blobstore.Incarnation) condition {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.nodes[i]
}

// keep forgets the nodes that are not in m.
func (h *health) keep(m Membership) {
	known := map[blobstore.Incarnation]bool{m.Self.Incarnation: true}
	for _, o := range m.Others {
		known[o.Incarnation] = true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.nodes {
		if !known[i] {
			delete(h.nodes, i)
		}
	}
}

// Run asks the other members again and again how they are, and owns what goes on between calls: the senders,
// and the removal of what they leave behind. While it does not run, nothing is sent to other nodes. It
// returns when ctx has ended and all of that with it, or an error if the store runs already.
func (s *Store) Run(ctx context.Context) error {
	return s.tasks.serve(ctx, func(ctx context.Context) {
		tick := time.NewTicker(s.timing.Poll)
		defer tick.Stop()
		for ctx.Err() == nil {
			s.poll(ctx)
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
}

// poll asks every member once, all at the same time.
func (s *Store) poll(ctx context.Context) {
	m, err := s.cluster.Membership()
	if err != nil {
		s.log.Warn("members are not known", "error", err)
		return
	}
	s.health.keep(m)
	ctx, cancel := context.WithTimeout(ctx, s.timing.Poll)
	defer cancel()
	var all errgroup.Group
	ask := func(i blobstore.Incarnation, usage func(context.Context) (blobstore.Usage, error)) {
		all.Go(func() error {
			return blobstore.Contain(func() error { s.ask(ctx, i, usage); return nil })
		})
	}
	ask(m.Self.Incarnation, s.Usage)
	for _, o := range m.Others {
		ask(o.Incarnation, func(ctx context.Context) (blobstore.Usage, error) { return s.peers.usage(ctx, o.Incarnation) })
	}
	if err := all.Wait(); err != nil {
		s.log.Error("asking the nodes how they are failed", "error", err)
	}
}

// ask asks one node how full it is, and notes the answer.
func (s *Store) ask(ctx context.Context, i blobstore.Incarnation, usage func(context.Context) (blobstore.Usage, error)) {
	u, err := usage(ctx)
	was := s.reachable(i)
	switch {
	case err == nil:
		s.health.answers(i, u)
	case ctx.Err() == nil: // one late answer is no failure; that there is none for long is seen by the time
		s.health.fails(i)
	}
	if is := s.reachable(i); is != was {
		s.log.Info("node changed", "node", i.String(), "reachable", is, "error", err)
	}
}

// Reachable reports whether a node has answered lately. This node itself always has.
func (s *Store) Reachable(i blobstore.Incarnation) bool {
	return i == s.Incarnation() || s.reachable(i)
}

func (s *Store) reachable(i blobstore.Incarnation) bool {
	c := s.health.of(i)
	return !c.answered.IsZero() && time.Since(c.answered) < lately*s.timing.Poll
}

// Silence is how long a node has not answered, as far as this one knows: since it was opened at most. A node that is
// no member is not asked, and counts as one that never answers.
func (s *Store) Silence(i blobstore.Incarnation) time.Duration {
	last := s.health.of(i).heard
	if last.IsZero() {
		last = s.health.began
	}
	return time.Since(last)
}

// UsageOf returns how full a member's store is, as it said last, and whether it takes copies by itself. It is
// zero for one that never answered.
func (s *Store) UsageOf(i blobstore.Incarnation) (u blobstore.Usage, room bool) {
	u = s.health.of(i).usage
	return u, hasRoom(u)
}

// WithRoom returns how many members, this one too, have answered lately that they have room for pushes.
func (s *Store) WithRoom() int {
	m, err := s.cluster.Membership()
	if err != nil {
		return 0
	}
	members := m.Others
	if m.Counts {
		members = append([]Member{m.Self}, members...)
	}
	n := 0
	for _, member := range members {
		if s.reachable(member.Incarnation) && hasRoom(s.health.of(member.Incarnation).usage) {
			n++
		}
	}
	return n
}
