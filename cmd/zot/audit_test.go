package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// panel are nodes that say what a test wants, and a state by which all is compared.
type panel struct {
	*shelves
	mu     sync.Mutex
	notes  map[int][]checkNote // what a node says, counted from 0, beside a result
	fails  map[int]error       // it does not come to the end
	hashes map[int]func(index uint64) (nodeHash, error)
	noLead error  // there is no leader
	during func() // called once, while nodes are asked
}

func newPanel(t *testing.T, members int) *panel {
	t.Helper()
	return &panel{
		shelves: shelvesOf(t, members, true), notes: map[int][]checkNote{}, fails: map[int]error{},
		hashes: map[int]func(uint64) (nodeHash, error){},
	}
}

var _ askNodes = (*panel)(nil)

func (p *panel) report(context.Context, entry.Incarnation) (nodeReport, error) {
	return nodeReport{}, errors.New("not asked")
}

func (p *panel) hashAt(_ context.Context, who entry.Incarnation, index uint64) (nodeHash, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if do := p.hashes[int(who[0])-1]; do != nil {
		return do(index)
	}
	return nodeHash{Hash: fmt.Sprint("of ", index)}, nil
}

func (p *panel) check(_ context.Context, who entry.Incarnation, _ checkWish, each func(checkNote)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.during != nil {
		p.during()
		p.during = nil
	}
	n := int(who[0]) - 1
	for _, note := range p.notes[n] {
		each(note)
	}
	if err := p.fails[n]; err != nil {
		return err
	}
	each(checkNote{Applied: 1000, Result: &checkResult{Copies: 1}})
	return nil
}

// propose is Propose with a leader.
func (p *panel) propose(ctx context.Context, payload []byte) (entry.Result, error) {
	if p.noLead != nil {
		return entry.Result{}, p.noLead
	}
	return p.Propose(ctx, payload)
}

// bad has a node say that its copy of a text is bad.
func (p *panel) bad(text string, nodes ...int) {
	p.t.Helper()
	for _, n := range nodes {
		p.notes[n] = append(p.notes[n], checkNote{Bad: &badCopy{
			Store: fsm.DefaultStore, Digest: digest.FromString(text).String(), Copy: p.nodes[n].at(text).Copy, Why: "its file is gone", Held: len(p.blob(text).Copies),
		}})
	}
}

func (p *panel) audit() verdict {
	p.t.Helper()
	a := auditor{state: p.state, round: func(context.Context) error { return p.noLead }, proposer: proposerOf(p.propose), nodes: p}
	v, err := a.audit(p.t.Context(), checkWish{}, func(auditProgress) {})
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

// wants compares a verdict with the invariants that are to be found and where, with whom could not be asked, and
// with hints.
func (p *panel) wants(v verdict, findings, open, hints []string) {
	p.t.Helper()
	var asked []string
	for _, u := range v.Unchecked {
		asked = append(asked, u.Node)
	}
	same := len(v.Hints) == len(hints)
	for i := range min(len(hints), len(v.Hints)) {
		same = same && strings.Contains(v.Hints[i], hints[i])
	}
	if !slices.Equal(v.findings(), findings) || !slices.Equal(asked, open) || !same {
		p.t.Errorf("found %q, open %q; want %q, %q, %q\n%+v", v.findings(), asked, findings, open, hints, v)
	}
}

func TestAudit(t *testing.T) {
	t.Parallel()
	down := errors.New("connection refused")
	for name, test := range map[string]struct {
		do                    func(p *panel)
		findings, open, hints []string
	}{
		"all well":                           {do: func(*panel) {}},
		"one of three bad":                   {func(p *panel) { p.bad("b", 1) }, []string{"5 zot-1"}, nil, nil},
		"two of three bad":                   {func(p *panel) { p.bad("b", 1, 2) }, []string{"1", "5 zot-1", "5 zot-2"}, nil, nil},
		"all bad":                            {func(p *panel) { p.bad("b", 0, 1, 2) }, []string{"2", "5 zot-0", "5 zot-1", "5 zot-2"}, nil, nil},
		"all bad, and nothing names it":      {func(p *panel) { p.bad("alone", 0, 1, 2) }, []string{"1", "5 zot-0", "5 zot-1", "5 zot-2"}, nil, nil},
		"one bad of two":                     {func(p *panel) { p.push("two", 0, 1); p.bad("two", 1) }, []string{"1", "5 zot-1"}, nil, nil},
		"a node is down":                     {func(p *panel) { p.fails[2] = down }, nil, []string{"zot-2"}, nil},
		"a node is down that has one of two": {func(p *panel) { p.push("two", 0, 2); p.fails[2] = down }, nil, []string{"zot-2", "zot-2"}, nil},
		"a node breaks off":                  {func(p *panel) { p.bad("b", 1); p.fails[1] = down }, []string{"5 zot-1"}, []string{"zot-1"}, nil},
		"one bad, and a node is down":        {func(p *panel) { p.bad("b", 1); p.fails[2] = down }, []string{"5 zot-1"}, []string{"zot-2", "zot-2"}, nil},
		"two bad, and a node is down":        {func(p *panel) { p.bad("b", 0, 1); p.fails[2] = down }, []string{"1", "5 zot-0", "5 zot-1"}, []string{"zot-2"}, nil},
		"the disk would not say": {func(p *panel) {
			p.bad("b", 0, 1)
			p.notes[0][0].Bad.Unsure, p.notes[1][0].Bad.Unsure = true, true
		}, nil, []string{"zot-0", "zot-1"}, nil},
		"a store is away": {func(p *panel) {
			p.notes[1] = []checkNote{{Missed: "its store: offline"}, {Result: &checkResult{Blind: []string{fsm.DefaultStore}}}}
			p.fails[1] = errors.New("its end is the test's")
		}, nil, []string{"zot-1"}, nil},
		"a damaged blob": {func(p *panel) {
			for _, n := range p.nodes {
				must(p.shelves, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: digestFor("b"), Location: n.at("b")})
			}
		}, []string{"2"}, nil, nil},
		"a blob that becomes damaged": {func(p *panel) {
			p.bad("b", 0, 1, 2)
			p.during = func() {
				for _, n := range p.nodes {
					must(p.shelves, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: digestFor("b"), Location: n.at("b")})
				}
			}
		}, []string{"2", "5 zot-0", "5 zot-1", "5 zot-2"}, nil, nil},
		"one is leaving, and another's copy is bad": {func(p *panel) {
			p.bad("b", 2)
			must(p.shelves, fsm.RetireNode{Incarnation: incarnation(1)})
		}, []string{"5 zot-2"}, nil, nil},
		"a damaged blob that nothing names": {func(p *panel) {
			for _, n := range p.nodes {
				must(p.shelves, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: digestFor("alone"), Location: n.at("alone")})
			}
		}, nil, nil, nil},
		"states say the same": {func(p *panel) {
			for n := range 3 {
				p.notes[n] = []checkNote{{Finding: &finding{Invariant: 3, What: "link"}}}
			}
		}, []string{"3 zot-0 zot-1 zot-2"}, nil, nil},
		"the applied index goes back": {func(p *panel) {
			p.notes[1] = []checkNote{{Applied: 7}, {Applied: 9}, {Applied: 8}, {Applied: 9}}
		}, []string{"8 zot-1"}, nil, nil},
		"a hint": {func(p *panel) { p.notes[1] = []checkNote{{Hint: "2 files"}} }, nil, nil, []string{"zot-1: 2 files"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPanel(t, 3)
			p.push("b", 0, 1, 2)
			p.push("alone", 0, 1, 2)
			p.image("image", []string{"b"}, nil)
			test.do(p)
			p.wants(p.audit(), test.findings, test.open, test.hints)
		})
	}
}

// What moves while the nodes are asked is not said to be broken.
func TestAuditWhileCopiesMove(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		race     func(p *panel)
		findings []string
		hints    []string
	}{
		// Two are bad, and given up at once; what they had before is what counts.
		"given up": {func(p *panel) { p.nodes[1].giveUp("b"); p.nodes[2].giveUp("b") }, []string{"1", "5 zot-1", "5 zot-2"}, []string{"1 blob waits for repair"}},
		"given up and made again": {func(p *panel) {
			p.nodes[1].giveUp("b")
			must(p.shelves, fsm.AddCopy{Store: fsm.DefaultStore, Digest: digestFor("b"), Location: p.nodes[1].write("b"), Stamp: p.state.Position().Time})
		}, []string{"5 zot-1", "5 zot-2"}, nil},
		"pushed again": {func(p *panel) { p.push("b", 1, 2) }, []string{"5 zot-1", "5 zot-2"}, nil},
		"collected": {func(p *panel) {
			must(p.shelves, fsm.DeleteManifest{Repository: repository, Digest: digestFor("image")})
			must(p.shelves, fsm.DeleteBlob{Repository: repository, Digest: digestFor("b")})
			must(p.shelves, fsm.CollectBlobs{Store: fsm.DefaultStore, Digests: []fsm.Digest{digestFor("b")}})
		}, []string{"5 zot-1", "5 zot-2"}, nil},
		"no longer linked": {func(p *panel) {
			must(p.shelves, fsm.DeleteManifest{Repository: repository, Digest: digestFor("image")})
			must(p.shelves, fsm.DeleteBlob{Repository: repository, Digest: digestFor("b")})
		}, []string{"5 zot-1", "5 zot-2"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPanel(t, 3)
			p.push("b", 0, 1, 2)
			p.image("image", []string{"b"}, nil)
			p.bad("b", 1, 2)
			p.during = func() { test.race(p) }
			p.wants(p.audit(), test.findings, nil, test.hints)
		})
	}
}

// A change of the members breaks nothing, though blobs have fewer copies for it.
func TestAuditWhileMembersChange(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		members int
		do      func(p *panel)
		hints   []string
		open    []string
	}{
		"one grows to two": {1, func(p *panel) { p.push("b", 0); p.join() }, []string{"1 blob waits for repair"}, nil},
		"one grows to two, and does not answer": {1, func(p *panel) {
			p.push("b", 0)
			p.join()
			p.fails[0] = errors.New("connection refused")
		}, []string{"1 blob waits for repair"}, []string{"zot-0", "zot-0"}},
		"one is leaving": {3, func(p *panel) {
			p.push("b", 0, 1)
			must(p.shelves, fsm.RetireNode{Incarnation: incarnation(1)})
		}, nil, nil},
		"one leaves while it is asked, and answers no more": {3, func(p *panel) {
			p.push("b", 0, 1)
			p.fails[2] = errors.New("connection refused")
			p.during = func() {
				must(p.shelves, fsm.RetireNode{Incarnation: incarnation(3)})
				must(p.shelves, fsm.DropNode{Incarnation: incarnation(3), Lost: true})
			}
		}, nil, nil},
		"one is lost": {3, func(p *panel) {
			p.push("b", 0, 2)
			must(p.shelves, fsm.RetireNode{Incarnation: incarnation(3)})
			must(p.shelves, fsm.DropNode{Incarnation: incarnation(3), Lost: true})
		}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPanel(t, test.members)
			test.do(p)
			p.wants(p.audit(), nil, test.open, test.hints)
		})
	}
}

func TestAuditOfHashes(t *testing.T) {
	t.Parallel()
	other := func(uint64) (nodeHash, error) { return nodeHash{Hash: "another"}, nil }
	for name, test := range map[string]struct {
		do             func(p *panel)
		findings, open []string
		nodes          int
	}{
		"one differs":           {func(p *panel) { p.hashes[1] = other }, []string{"7 zot-1"}, nil, 3},
		"two of two differ":     {func(p *panel) { p.hashes[1] = other }, []string{"7 zot-0 zot-1"}, nil, 2},
		"one is fenced":         {func(p *panel) { p.hashes[1] = func(uint64) (nodeHash, error) { return nodeHash{Fenced: "why"}, nil } }, nil, nil, 3},
		"one does not answer":   {func(p *panel) { p.hashes[1] = func(uint64) (nodeHash, error) { return nodeHash{}, errSilent } }, nil, []string{"zot-1"}, 3},
		"one has forgotten all": {func(p *panel) { p.hashes[1] = func(uint64) (nodeHash, error) { return nodeHash{}, errNoHash } }, nil, []string{""}, 3},
		"one has forgotten the first": {func(p *panel) {
			first := uint64(0)
			p.hashes[1] = func(index uint64) (nodeHash, error) {
				if first == 0 || first == index {
					first = index
					return nodeHash{}, errNoHash
				}
				return nodeHash{Hash: "another"}, nil
			}
		}, []string{"7 zot-1"}, nil, 3},
		"no leader, and an old check": {func(p *panel) {
			must(p.shelves, fsm.HashCheck{})
			p.push("b", 0, 1)
			p.noLead, p.hashes[1] = errors.New("no leader"), other
		}, []string{"7 zot-1"}, []string{""}, 3},
		"no leader, and no check": {func(p *panel) { p.noLead = errors.New("no leader") }, nil, []string{"", ""}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPanel(t, test.nodes)
			test.do(p)
			p.wants(p.audit(), test.findings, test.open, nil)
		})
	}
}

// However much is broken, the list is one that somebody can read.
func TestAuditSpellsOutSome(t *testing.T) {
	t.Parallel()
	p := newPanel(t, 3)
	for i := range 2 * maxSpelled {
		p.push(fmt.Sprint(i), 0, 1, 2)
		p.bad(fmt.Sprint(i), 0, 1)
	}
	v := p.audit()
	one, five := 0, 0
	for _, f := range v.Broken {
		switch f.Invariant {
		case 1:
			one++
		case 5:
			five++
		}
	}
	if one != maxSpelled+1 || five != 2*(maxSpelled+1) {
		t.Errorf("%d and %d findings: %+v", one, five, v)
	}
}

func TestAuditOfNobody(t *testing.T) {
	t.Parallel()
	p := newPanel(t, 0)
	a := auditor{state: p.state, round: func(context.Context) error { return nil }, proposer: p, nodes: p}
	if _, err := a.audit(t.Context(), checkWish{}, func(auditProgress) {}); err == nil {
		t.Error("there was somebody")
	}
}
