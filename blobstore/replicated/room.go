package replicated

import (
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

// room fails with blobstore.ErrNoSpace if so many other nodes have full disks that a push cannot get the copies that
// it must have: its client is told so, and does not wait for them in vain. What the nodes said last counts, so that
// it goes on by itself; one that does not answer may have room. Nodes that are done have their copy, however full
// they are. Whether this node has room its own store judges.
func (s *Store) room(m Membership, done map[blobstore.Incarnation]bool) error {
	full, able := 0, 0
	if m.Counts {
		able++
	}
	for _, o := range m.Others {
		if !done[o.Incarnation] && s.reachable(o.Incarnation) && s.health.of(o.Incarnation).usage.Full() {
			full++
		} else {
			able++
		}
	}
	if able >= m.Need || full == 0 {
		return nil
	}
	return fmt.Errorf("%w: the disks of %d of the other nodes are used to %d %% or more, and %d nodes must take a copy: make room there; pulls and deletes go on",
		blobstore.ErrNoSpace, full, blobstore.FullFrom, m.Need)
}

// done are the nodes that have verified the bytes of an upload.
func (p *push) done(d digest.Digest) map[blobstore.Incarnation]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	done := map[blobstore.Incarnation]bool{}
	for _, s := range p.senders {
		done[s.to.Incarnation] = s.finished == d
	}
	return done
}
