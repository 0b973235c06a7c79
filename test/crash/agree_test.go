package crash_test

import (
	"bytes"
	"context"
	"fmt"

	"github.com/seed-16d79997/zot/fsm"
)

// settled waits until all nodes are members, each as all of them see it, of one cluster.
func (r *rack) settled() bool {
	return r.eventually("three members", func(ctx context.Context) string {
		var id []byte
		for _, m := range r.machines {
			a, why := ask(ctx, m, question{Kind: askLook})
			switch {
			case why != "":
				return why
			case a.Members != len(r.machines):
				return fmt.Sprintf("%s knows %d members", m.name, a.Members)
			case id != nil && !bytes.Equal(id, a.Cluster):
				return fmt.Sprintf("%s is in cluster %x, another one in %x", m.name, a.Cluster, id)
			}
			id = a.Cluster
		}
		return ""
	})
}

// serves waits until a node has given a linearizable answer.
func (r *rack) serves(m *machine) bool {
	return r.eventually(m.name+" reads", func(ctx context.Context) string {
		if !r.load.readAt(ctx, m) {
			return "no answer"
		}
		return ""
	})
}

// progress waits until so many writes more are acknowledged.
func (r *rack) progress(writes int64) bool {
	want := r.load.acknowledged.Load() + writes
	return r.eventually("writes are acknowledged", func(context.Context) string {
		if have := r.load.acknowledged.Load(); have < want {
			return fmt.Sprintf("%d to go", want-have)
		}
		return ""
	})
}

// agree compares all nodes' states while nobody writes, and each with itself (invariants 2, 3, 5 and 7).
func (r *rack) agree() {
	r.load.gate.Lock()
	defer r.load.gate.Unlock()
	if !r.settled() {
		return
	}
	r.eventually("a hash that all have noted", func(ctx context.Context) string {
		if !r.load.insist(ctx, r.rng, fsm.HashCheck{}) {
			return "no check"
		}
		index, hashes := uint64(0), make([][]byte, len(r.machines))
		for i, m := range r.machines {
			if !r.load.readAt(ctx, m) { // once it has, the check is applied there
				return m.name + " does not read"
			}
			a, why := ask(ctx, m, question{Kind: askCheck, Index: index})
			if why == "" && len(a.Hash) == 0 {
				why = m.name + " has been sent a snapshot instead of the check"
			}
			if why != "" {
				return why
			}
			for _, finding := range a.Findings {
				r.fail("%s: %s", m.name, finding)
			}
			index, hashes[i] = a.Index, a.Hash // the first one's newest is what the others are asked for
		}
		for i, hash := range hashes {
			if !bytes.Equal(hash, hashes[0]) {
				r.fail("invariant 7: at log index %d the state hash is %x on %s, and %x on %s", index, hash, r.machines[i].name, hashes[0], r.machines[0].name)
			}
		}
		return ""
	})
}

// ask asks the node of a machine; why it gave no answer is "" if it gave one.
func ask(ctx context.Context, m *machine, q question) (a answer, why string) {
	p := m.asked()
	if p == nil {
		return a, m.name + " does not run"
	}
	a, err := p.ask(ctx, q)
	if err != nil {
		return a, fmt.Sprintf("%s: %v", m.name, err)
	}
	m.said(a.Applied)
	return a, ""
}
