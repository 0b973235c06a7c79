package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// AppendAs appends an envelope as a leader that wrapped it would.
func (n *Node) AppendAs(ctx context.Context, e entry.Envelope, payload []byte) (entry.Result, error) {
	result, _, err := n.append(ctx, e, payload)
	return result, err
}

// whenUp is Raft, once it is up.
func (n *Node) whenUp() *raft.Raft {
	select {
	case <-n.started:
	case <-time.After(time.Minute):
		panic("raft does not come up")
	}
	return n.raft
}

// Term is Raft's current term.
func (n *Node) Term() uint64 { return n.whenUp().CurrentTerm() }

// LeadsTerm is the term that this node is the ready leader of, 0 if of none.
func (n *Node) LeadsTerm() uint64 {
	if t := n.tenures.ready(); t != nil {
		return t.term
	}
	return 0
}

// TermOf is the term that a proposer of WhileLeader is bound to.
func TermOf(p Proposer) uint64 { return p.(termProposer).tenure.term }

// Heard is when this node, as a leader, had the last answer of another.
func (n *Node) Heard(i entry.Incarnation) time.Time {
	n.living.mu.Lock()
	defer n.living.mu.Unlock()
	return n.living.heard[i]
}

// LastIndex is the last index of the log.
func (n *Node) LastIndex() uint64 { return n.whenUp().LastIndex() }

// FirstIndex is the first index of the log, 0 if it is empty.
func (n *Node) FirstIndex() uint64 {
	i, err := n.logs.FirstIndex()
	if err != nil {
		return 0
	}
	return i
}

// LogHolds reports whether an entry of the log has this payload.
func (n *Node) LogHolds(index uint64, payload []byte) bool {
	var log raft.Log
	if err := n.logs.GetLog(index, &log); err != nil || log.Type != raft.LogCommand {
		return false
	}
	_, got, err := entry.Unwrap(log.Data)
	return err == nil && bytes.Equal(got, payload)
}

// VoteIn is the vote that a log's file holds.
func VoteIn(t testing.TB, path string) (term uint64, candidate string) {
	t.Helper()
	s, err := openLogStore(path, fsm.SystemFiles(), true, DefaultTiming().WriteDeadline, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // a copy
	term, err = s.GetUint64([]byte(keyLastVoteTerm))
	if err != nil {
		return 0, ""
	}
	b, err := s.Get([]byte(keyLastVoteCand))
	if err != nil {
		return term, ""
	}
	return term, string(b)
}

// Servers counts the servers of Raft's newest configuration.
func (n *Node) Servers() int {
	n.whenUp()
	return len(n.servers())
}

// PlanOf is a plan of two nodes, formed by one of a name and an incarnation, as it travels and is kept.
func PlanOf(t testing.TB, former string, i entry.Incarnation) []byte {
	t.Helper()
	b, err := json.Marshal(plan{Members: []hello{{Name: former, Incarnation: i, Expect: 2}, {Name: "n9", Expect: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Promise has the node of a directory agree to a plan.
func Promise(dir string, files Files, planned []byte) error {
	var p plan
	if err := json.Unmarshal(planned, &p); err != nil {
		return err
	}
	n := &Node{config: Config{Dir: dir, Files: files, Node: "n9"}}
	return n.promise(p)
}
