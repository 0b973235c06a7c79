package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// pusher tells followers of a commit as soon as the leader begins to apply it. Raft itself tells them
// with the next entries, or after CommitTimeout; a write through a follower, which answers when it has
// applied, would wait for that (RAFT.md 4.8).
//
// What it sends is an AppendEntries without entries whose previous entry and commit index are both the
// last entry of the batch: true of any committed entry of the leader's own term, so a follower that has
// the entry may commit it, and one that has not, or is in a later term, changes nothing. The two must be
// the same entry, for Raft bounds the commit index by the end of the follower's log only, and that end
// may be stale (raft.go, appendEntries).
type pusher struct {
	node *Node

	mu   sync.Mutex
	next map[raft.ServerID]pushed // what a follower is to be told next; guarded by mu
	busy map[raft.ServerID]bool   // whether one is under way to it; guarded by mu
}

type pushed struct{ index, term uint64 }

func newPusher(n *Node) *pusher {
	return &pusher{node: n, next: map[raft.ServerID]pushed{}, busy: map[raft.ServerID]bool{}}
}

// push is called as a batch begins to be applied. It does not wait: one message to each follower is
// under way at most, and newer ones replace those that wait.
func (p *pusher) push(index, term uint64) {
	t := p.node.tenures.ready()
	if t == nil || t.term != term {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.node.servers() {
		if s.ID == serverID(p.node.config.Incarnation) {
			continue
		}
		p.next[s.ID] = pushed{index, term}
		if !p.busy[s.ID] {
			p.busy[s.ID] = true
			p.node.spawn(func() { p.tell(s) }, func() {})
		}
	}
}

// tell sends to one follower until there is nothing newer. Whether it arrived does not matter.
func (p *pusher) tell(s raft.Server) {
	n := p.node
	for {
		p.mu.Lock()
		what, ok := p.next[s.ID]
		delete(p.next, s.ID)
		p.busy[s.ID] = ok
		p.mu.Unlock()
		if !ok {
			return
		}
		self := n.trans.EncodePeer(serverID(n.config.Incarnation), n.local)
		req := &raft.AppendEntriesRequest{
			RPCHeader:         raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(serverID(n.config.Incarnation)), Addr: self},
			Term:              what.term,
			PrevLogEntry:      what.index,
			PrevLogTerm:       what.term,
			LeaderCommitIndex: what.index,
		}
		if err := n.trans.AppendEntries(s.ID, s.Address, req, &raft.AppendEntriesResponse{}); err != nil {
			n.log.Debug("commit was not pushed", "to", s.ID, "error", err)
		}
	}
}
