package replicated

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-16d79997/zot/blobstore"
)

// Publish is as the contract says. This node, if its copy is to be one, and the peers that have finished make their
// copies at the same time. It returns when all have answered, or when enough have and the others had as long
// again; every location that it returns is true.
//
// It returns blobstore.ErrTooFewCopies beside the locations if they are fewer than the state asks for, and the
// local store's error if that says that the upload or the store is not there.
func (s *Store) Publish(ctx context.Context, id blobstore.UploadID) ([]blobstore.Location, error) {
	m, err := s.membership()
	if err != nil {
		return nil, fmt.Errorf("publish: members: %w", err)
	}
	if len(m.Others) == 0 {
		return s.Local.Publish(ctx, id)
	}
	p, err := s.hold(id)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	defer s.release(p)
	peers, ready := p.takeFinished(m)
	if !ready {
		_, err := s.Upload(ctx, id)
		if err == nil {
			err = blobstore.ErrUploadNotFinished
		}
		return nil, fmt.Errorf("publish: %w", err)
	}
	w := s.newWait()
	defer w.end()
	answers := make(chan published, len(peers))
	for _, peer := range peers {
		ask := func(ctx context.Context) {
			answer := published{err: blobstore.ErrPanic}
			defer func() { answers <- answer }() // in any case: it is waited for
			answer = s.publishAt(ctx, peer)
		}
		if !s.tasks.start(ask) {
			answers <- published{err: errors.New("nothing is asked of other nodes now")}
		}
	}
	var locations []blobstore.Location
	var own error
	if m.self() > 0 || m.Counts && len(peers) < m.Need {
		locations, own = s.Local.Publish(ctx, id)
	}
	locations, err = s.collect(ctx, w, locations, answers, len(peers))
	if err = errors.Join(final(own), err); err != nil {
		return locations, fmt.Errorf("publish: %w", errors.Join(err, own))
	}
	if own != nil {
		blobstore.LogFor(ctx, s.log).Warn("own copy is not made", "error", own)
	}
	return locations, nil
}

// final returns the errors of this node's own store that end a Publish, however many other copies there are:
// the caller must not go on as if the upload, or the store, were there.
func final(err error) error {
	for _, end := range []error{
		blobstore.ErrOffline, blobstore.ErrClosed, blobstore.ErrUploadEnded, blobstore.ErrUploadUnknown, blobstore.ErrUploadBroken,
	} {
		if errors.Is(err, end) {
			return end
		}
	}
	return nil
}

// takeFinished uses a Finish up: it returns the peers that are to make copies, as many as there should be at
// most, and dismisses the others.
func (p *push) takeFinished(m Membership) (peers []*sender, ready bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ready {
		return nil, false
	}
	var others []*sender
	for _, s := range p.senders {
		if s.finished == p.want && m.has(s.to.Incarnation) && len(peers) < m.Replicas-m.self() {
			peers = append(peers, s)
		} else {
			others = append(others, s)
		}
	}
	p.dismiss(others)
	p.senders, p.ready, p.want, p.verified = nil, false, "", ""
	return peers, true
}

// published is what a peer has answered.
type published struct {
	at  blobstore.Location
	err error
}

// publishAt has a peer make its copy. If it does not say that it did, the upload there is removed; a copy that
// was made after all is left to its sweeper.
func (s *Store) publishAt(ctx context.Context, peer *sender) published {
	ask, cancel := context.WithTimeout(ctx, s.timing.Finish)
	defer cancel()
	at, err := s.peers.publish(ask, peer.to.Incarnation, peer.tee)
	if err != nil {
		blobstore.LogFor(ctx, s.log).Warn("node made no copy", "node", peer.to.Incarnation.String(), "error", err)
		s.tidy(ctx, peer.to.Incarnation, peer.tee)
	}
	return published{at, err}
}

// collect adds the copies of n peers to those that are there.
func (s *Store) collect(ctx context.Context, w *wait, locations []blobstore.Location, answers <-chan published, n int) ([]blobstore.Location, error) {
	for {
		m, err := s.membership()
		if err != nil {
			return locations, fmt.Errorf("members: %w", err)
		}
		have := m.counting(locations)
		if w.enough(have, m, n > 0) {
			return locations, nil
		}
		if n == 0 {
			return locations, fmt.Errorf("%w: %d of %d", blobstore.ErrTooFewCopies, have, m.Need)
		}
		a, came, err := next(ctx, w, answers)
		if err != nil {
			return locations, fmt.Errorf("%d of %d copies: %w", have, m.Need, err)
		}
		if came {
			n--
		}
		if came && a.err == nil {
			locations = append(locations, a.at)
		}
	}
}

// counting is how many of the locations are on members.
func (m Membership) counting(locations []blobstore.Location) int {
	n := 0
	for _, l := range locations {
		if m.has(l.Incarnation) || m.Counts && l.Incarnation == m.Self.Incarnation {
			n++
		}
	}
	return n
}
