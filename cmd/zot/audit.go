package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

const (
	hashTries   = 3                // agreed checks that are tried, if nodes do not keep the first
	hashTimeout = 10 * time.Second // for one of them
	lookBack    = 1 << 14          // log entries among which an old check is looked for, when there can be no new one
	maxSpelled  = 20               // bad copies of a node, and blobs, that are spelled out
)

// verdict is what all nodes said, and what follows from it together.
type verdict struct {
	Broken    []finding     `json:"broken"`
	Unchecked []unchecked   `json:"unchecked"`
	Hints     []string      `json:"hints"`
	Nodes     []nodeVerdict `json:"nodes"`
}

// unchecked is what could not be checked.
type unchecked struct {
	Node string `json:"node,omitempty"` // "": of the whole
	What string `json:"what"`
}

// nodeVerdict is a node that was asked.
type nodeVerdict struct {
	Name        string            `json:"name"`
	Incarnation entry.Incarnation `json:"incarnation"`
	Answered    bool              `json:"answered"` // it has come to the end of its check
	Applied     uint64            `json:"applied"`
	checkResult
}

// auditProgress is how far a node is.
type auditProgress struct {
	Node string `json:"node"`
	stageNote
}

// auditor has all nodes check themselves, and compares what they say (invariants 1, 2, 5, 7 and 8).
type auditor struct {
	state    *fsm.State // of the node that is asked
	round    func(ctx context.Context) error
	proposer fsm.Proposer
	nodes    askNodes
	bucketBy entry.Incarnation // who looks at the bucket, for all; zero if there is none
}

// audit is one of its audits.
type audit struct {
	*auditor
	tell    func(auditProgress)
	members []*audited
	verdict verdict
}

// audited is a node, and what it said.
type audited struct {
	name        string
	incarnation entry.Incarnation

	failed   error // it did not come to the end of its check
	noHash   error // its state hash could not be had
	applied  uint64
	went     [2]uint64 // the applied index went back: from, to
	findings []finding
	bad      []badCopy
	hints    []string
	missed   []string
	result   checkResult
}

// blind reports whether not all is known of the copies of a store on a node, or of any, for "".
func (m *audited) blind(store string) bool {
	return m.failed != nil || slices.Contains(m.result.Blind, store) || store == "" && len(m.result.Blind) > 0
}

// audit checks the whole cluster. Tell is called with what nodes say of how far they are, from many goroutines.
//
// It fails if there is nobody to ask, or with the context's error.
func (a *auditor) audit(ctx context.Context, wish checkWish, tell func(auditProgress)) (verdict, error) {
	u := &audit{auditor: a, tell: tell}
	if err := u.round(ctx); err != nil {
		u.unchecked("", "what was acknowledged lately: %v", err)
	}
	members, err := u.holders()
	if err == nil && len(members) == 0 {
		err = errors.New("this node is not part of a cluster yet")
	}
	if err != nil {
		return verdict{}, err
	}
	u.members = members
	if isOne := func(m *audited) bool { return m.incarnation == u.bucketBy }; !u.bucketBy.IsZero() && !slices.ContainsFunc(members, isOne) {
		u.unchecked("", "the copies in the bucket: this node is no member; ask another")
	}
	u.compareHashes(ctx)
	var asking sync.WaitGroup
	for _, m := range u.members {
		asking.Go(func() { u.ask(ctx, m, wish) })
	}
	asking.Wait()
	if err := u.forgetGone(); err != nil {
		return verdict{}, err
	}
	for _, m := range u.members {
		u.conclude(m)
	}
	if err := u.compareBlobs(ctx); err != nil {
		return verdict{}, err
	}
	return u.close(), ctx.Err()
}

func (u *audit) unchecked(node, format string, args ...any) {
	u.verdict.Unchecked = append(u.verdict.Unchecked, unchecked{node, fmt.Sprintf(format, args...)})
}

func (u *audit) broken(invariant int, nodes []string, mend, format string, args ...any) {
	u.verdict.Broken = append(u.verdict.Broken, finding{invariant, nodes, fmt.Sprintf(format, args...), mend})
}

// holders are the nodes whose copies can be read: members, and those that are leaving.
func (u *audit) holders() (all []*audited, err error) {
	err = u.state.View(func(v fsm.View) error {
		for _, n := range v.Nodes() {
			if n.State == entry.Member || n.State == entry.Retired {
				all = append(all, &audited{name: cmp.Or(n.Name, n.Incarnation.Short()), incarnation: n.Incarnation})
			}
		}
		return nil
	})
	slices.SortFunc(all, func(a, b *audited) int { return cmp.Compare(a.name, b.name) })
	return all, err
}

// forgetGone leaves out those that answered no more because they are none of the nodes any more.
func (u *audit) forgetGone() error {
	now, err := u.holders()
	u.members = slices.DeleteFunc(u.members, func(m *audited) bool {
		return m.failed != nil && !slices.ContainsFunc(now, func(n *audited) bool { return n.incarnation == m.incarnation })
	})
	return err
}

// ask has a node check itself.
func (u *audit) ask(ctx context.Context, m *audited, wish checkWish) {
	wish.Bucket = m.incarnation == u.bucketBy
	m.failed = u.nodes.check(ctx, m.incarnation, wish, func(n checkNote) {
		if n.Applied < m.applied && m.went == [2]uint64{} {
			m.went = [2]uint64{m.applied, n.Applied}
		}
		m.applied = max(m.applied, n.Applied)
		switch {
		case n.Finding != nil:
			m.findings = append(m.findings, *n.Finding)
		case n.Bad != nil:
			m.bad = append(m.bad, *n.Bad)
		case n.Result != nil:
			m.result = *n.Result
		case n.Hint != "":
			m.hints = append(m.hints, n.Hint)
		case n.Missed != "":
			m.missed = append(m.missed, n.Missed)
		}
		if n.Stage.Name != "" {
			u.tell(auditProgress{m.name, n.Stage})
		}
	})
	stage := stageNote{Name: "done"}
	if m.failed != nil {
		stage.Name = "does not answer"
	}
	u.tell(auditProgress{m.name, stage})
}

// conclude turns what a node said into the verdict.
func (u *audit) conclude(m *audited) {
	u.verdict.Nodes = append(u.verdict.Nodes, nodeVerdict{m.name, m.incarnation, m.failed == nil, m.applied, m.result})
	for _, f := range m.findings {
		u.add(m.name, f)
	}
	if m.went != [2]uint64{} {
		u.broken(8, []string{m.name}, mendNode, "the applied index went back from %d to %d", m.went[0], m.went[1])
	}
	u.badCopies(m)
	for _, h := range m.hints {
		u.verdict.Hints = append(u.verdict.Hints, m.name+": "+h)
	}
	if m.failed != nil {
		u.unchecked(m.name, "it was not asked to the end: %v: its state, its files, and whether its copies are there", m.failed)
		return
	}
	if m.noHash != nil && !errors.Is(m.noHash, errNoHash) {
		u.unchecked(m.name, "its state hash: %v", m.noHash)
	}
	for _, what := range m.missed {
		u.unchecked(m.name, "%s", what)
	}
}

// add adds a finding about a state, which others may have said as well.
func (u *audit) add(node string, f finding) {
	for i, known := range u.verdict.Broken {
		if known.Invariant == f.Invariant && known.What == f.What {
			if !slices.Contains(known.Nodes, node) {
				u.verdict.Broken[i].Nodes = append(known.Nodes, node)
			}
			return
		}
	}
	f.Nodes = []string{node}
	u.verdict.Broken = append(u.verdict.Broken, f)
}

func (u *audit) badCopies(m *audited) {
	spelled, more, unsure := 0, 0, 0
	for _, b := range m.bad {
		switch {
		case b.Unsure:
			if unsure++; unsure == 1 {
				u.unchecked(m.name, "copy %s of blob %s, and perhaps others: %s", b.Copy, b.Digest, b.Why)
			}
		case spelled < maxSpelled:
			spelled++
			where, nodes, mend := "there", []string{m.name}, mendCopy
			if b.Bucket {
				where, nodes, mend = "in the bucket", nil, mendImage
			}
			u.broken(5, nodes, mend, "copy %s of blob %s%s is recorded %s, and %s", b.Copy, b.Digest, besides(b.Store), where, b.Why)
		default:
			more++
		}
	}
	if more > 0 {
		u.broken(5, []string{m.name}, mendCopy, "%d more copies are recorded there and are not as they should be", more)
	}
}

// besides names a store that is not the default one.
func besides(store string) string {
	if store == fsm.DefaultStore || store == "" {
		return ""
	}
	return " in store " + store
}

// compareHashes has all nodes note the hash of their state at one place of the log, and compares them (invariant 7).
// They are the same there, or a state is not that of the others: no move of anything makes a difference.
func (u *audit) compareHashes(ctx context.Context) {
	var failed error
	for range hashTries {
		var index uint64
		if index, failed = u.agree(ctx); failed != nil {
			break
		}
		if failed = u.hashesAt(ctx, index); failed == nil || ctx.Err() != nil {
			return
		}
	}
	u.unchecked("", "the state hashes of all nodes at one log index: %v", failed)
}

// agree has the log take in a check, at which all nodes note their hash, and returns its index. Without a leader it
// is the newest check that this node has noted.
func (u *audit) agree(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, hashTimeout)
	defer cancel()
	from := u.state.Position().Index
	_, err := fsm.Do(ctx, u.proposer, fsm.HashCheck{})
	to := u.state.Position().Index
	if err != nil {
		from = to - min(to, lookBack)
	}
	for i := to; i > from; i-- {
		if _, noted := u.state.Hash(i); noted {
			return i, nil
		}
	}
	return 0, cmp.Or(err, errNoHash)
}

// hashesAt compares the hashes of all nodes at a log index. It fails if one that answers keeps none: another index
// must be tried.
func (u *audit) hashesAt(ctx context.Context, index uint64) error {
	ctx, cancel := context.WithTimeout(ctx, hashTimeout)
	defer cancel()
	type said struct {
		nodeHash
		err error
	}
	answers := make([]said, len(u.members))
	var asking sync.WaitGroup
	for i, m := range u.members {
		asking.Go(func() { answers[i].nodeHash, answers[i].err = u.nodes.hashAt(ctx, m.incarnation, index) })
	}
	asking.Wait()
	names := map[string][]string{} // by hash
	for i, s := range answers {
		u.members[i].noHash = s.err
		switch {
		case errors.Is(s.err, errNoHash):
			return fmt.Errorf("%s: %w", u.members[i].name, errNoHash)
		case s.err == nil && s.Fenced == "": // a fenced node says so itself
			names[s.Hash] = append(names[s.Hash], u.members[i].name)
		}
	}
	u.judgeHashes(index, names)
	return nil
}

// judgeHashes names those whose hash is not that of the most nodes; all, if that is not clear.
func (u *audit) judgeHashes(index uint64, names map[string][]string) {
	if len(names) < 2 {
		return
	}
	most := ""
	for hash := range names {
		if 2*len(names[hash]) > len(u.members) {
			most = hash
		}
	}
	var differ []string
	for hash, which := range names {
		if hash != most {
			differ = append(differ, which...)
		}
	}
	slices.Sort(differ)
	if most == "" {
		u.broken(7, differ, mendNode, "their state hashes at log index %d differ, and none is that of a majority", index)
		return
	}
	u.broken(7, differ, mendNode, "the state hash at log index %d is another than that of %s", index, strings.Join(names[most], " and "))
}

// close puts the verdict in order.
func (u *audit) close() verdict {
	v := u.verdict
	slices.SortStableFunc(v.Broken, func(a, b finding) int { return cmp.Compare(a.Invariant, b.Invariant) })
	v.Broken = append([]finding{}, v.Broken...) // lists, not null
	v.Unchecked = append([]unchecked{}, v.Unchecked...)
	v.Hints = append([]string{}, v.Hints...)
	return v
}
