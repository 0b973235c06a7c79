package replicated

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
)

// self is how many copies this node makes of its own uploads.
func (m Membership) self() int {
	if m.Counts && !m.Self.Draining {
		return 1
	}
	return 0
}

// membership is who may hold copies now. A node that is to be emptied makes none of its own uploads, unless
// too few others answer.
func (s *Store) membership() (Membership, error) {
	m, err := s.cluster.Membership()
	if s.shared {
		m.Others = nil
	}
	if err != nil || !m.Self.Draining {
		return m, err
	}
	others := 0
	for _, o := range m.Others {
		if s.reachable(o.Incarnation) {
			others++
		}
	}
	m.Self.Draining = others >= m.Need
	return m, nil
}

// has reports whether another member has an incarnation.
func (m Membership) has(i blobstore.Incarnation) bool {
	return slices.ContainsFunc(m.Others, func(o Member) bool { return o.Incarnation == i })
}

// keepsUp reports whether a sender does what it should: it is done, has nothing to do, or gets on.
func (p *push) keepsUp(s *sender, now time.Time) bool {
	switch {
	case p.want != "" && s.finished == p.want:
		return true
	case !s.running:
		return s.failures == 0 && s.offset == p.size && p.want == ""
	case s.sent < p.size:
		return now.Sub(s.moved) < p.store.timing.Stall
	case p.want != "":
		return now.Sub(s.moved) < p.store.timing.Answer
	}
	return true
}

// tend has as many senders keep up as there should be copies. One that is slow is left alone until enough
// others are not: it may be all there is. The caller holds the mutex.
//
// A node that does not answer is tried only as long as fewer keep up than a push waits for; repair makes the
// copies that it would have got.
func (p *push) tend(m Membership) {
	if p.gone {
		return
	}
	now := time.Now()
	good := 0
	for _, s := range p.senders {
		if m.has(s.to.Incarnation) && p.keepsUp(s, now) {
			good++
		}
	}
	keepUp := good
	for good < m.Replicas-m.self() {
		s := p.candidate(m, now, good < m.Need-m.self())
		if s == nil || !p.start(s) {
			break
		}
		good++
	}
	for _, s := range p.senders {
		if s.running && !p.keepsUp(s, now) && keepUp >= m.Need-m.self() {
			s.stop(errSlow)
		}
	}
}

// candidate returns the peer that should be sent to next: one that was begun with before, then distinct
// zones, then the most room. It is added to the senders. desperate allows for peers that do not answer, or that
// are to be emptied. It returns nil if there is none for now.
func (p *push) candidate(m Membership, now time.Time, desperate bool) *sender {
	zones := map[string]bool{m.Self.Zone: m.self() > 0}
	known := map[blobstore.Incarnation]*sender{}
	for _, s := range p.senders {
		known[s.to.Incarnation] = s
		if p.keepsUp(s, now) {
			zones[s.to.Zone] = true
		}
	}
	delete(zones, "")
	var best *sender
	var bestRank rank
	for _, i := range rand.Perm(len(m.Others)) { //nolint:gosec // spreads load; nothing depends on it
		o := m.Others[i]
		s := known[o.Incarnation]
		if s == nil {
			s = newSender(o)
		}
		if s.running || p.want != "" && s.finished == p.want || now.Before(s.retry) || !desperate && (o.Draining || !p.store.reachable(o.Incarnation)) {
			continue
		}
		if r := p.rank(s, o.Draining, zones); best == nil || r.compare(bestRank) < 0 {
			best, bestRank = s, r
		}
	}
	if best != nil && known[best.to.Incarnation] == nil {
		p.senders = append(p.senders, best)
	}
	return best
}

// rank says how good it is to send to a peer; the lower the better, the first number counts most.
type rank [7]int64

func (r rank) compare(other rank) int { return slices.Compare(r[:], other[:]) }

func (p *push) rank(s *sender, draining bool, zones map[string]bool) rank {
	c := p.store.health.of(s.to.Incarnation)
	return rank{
		int64(s.failures),
		bit(s.sent == 0), // what a peer has got already need not be sent to another
		bit(!p.store.reachable(s.to.Incarnation)),
		bit(draining),
		bit(!hasRoom(c.usage)),
		bit(zones[s.to.Zone]),
		-c.usage.Free,
	}
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
