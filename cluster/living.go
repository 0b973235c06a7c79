package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// living is when this leader last heard from each node. Only Raft's own messages count (DESIGN 3).
type living struct {
	mu    sync.Mutex
	since time.Time // when this node became leader; guarded by mu
	heard map[entry.Incarnation]time.Time
}

// begin is called when this node becomes leader.
func (l *living) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since = time.Now()
}

// contact notes that a node has answered.
func (l *living) contact(id raft.ServerID) {
	i, err := entry.ParseIncarnation(string(id))
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard[i] = time.Now()
}

// ago is how long ago a node was last heard from; false if never.
func (l *living) ago(i entry.Incarnation) (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok := l.heard[i]
	return time.Since(at), ok
}

// silent is for how long this leader has not heard from a node. A new leader has not listened for
// long: it cannot say yet that somebody is gone.
func (l *living) silent(i entry.Incarnation) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.heard[i]
	if at.Before(l.since) {
		at = l.since
	}
	return time.Since(at)
}

// lastContact is how long ago this leader heard from a node, 0 for itself; false if never.
func (n *Node) lastContact(i entry.Incarnation) (time.Duration, bool) {
	if i == n.config.Incarnation {
		return 0, true
	}
	return n.living.ago(i)
}

// gone fails unless this leader has listened for a node, and not heard it, for long enough.
func (n *Node) gone(node entry.Node) error {
	silent := n.living.silent(node.Incarnation)
	if node.Incarnation == n.config.Incarnation || silent < n.config.Timing.Live {
		return fmt.Errorf("node %s counts as alive until its leader has not heard from it for %s", node.Name, n.config.Timing.Live)
	}
	return nil
}

// quorumWithout fails if the voters that answer, and may vote, would be no majority of those that
// remain.
func (n *Node) quorumWithout(ctx context.Context, gone entry.Incarnation) error {
	servers := n.servers()
	answers := n.askAll(ctx, servers)
	alive, remain := 0, 0
	for _, s := range servers {
		if s.Suffrage != raft.Voter || s.ID == serverID(gone) {
			continue
		}
		remain++
		i, err := entry.ParseIncarnation(string(s.ID))
		if err != nil {
			return err
		}
		if answer := answers[i]; answer != nil && answer.Fenced == "" {
			alive++
		}
	}
	if alive <= remain/2 {
		return fmt.Errorf("of the %d voters that would remain only %d answer: no quorum", remain, alive)
	}
	return nil
}
