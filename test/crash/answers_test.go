package crash_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// The questions.
const (
	askName    = "name"    // of a new request
	askPropose = "propose" // Payload as Request
	askRead    = "read"    // all registers, linearizably
	askLook    = "look"    // how the node is
	askCheck   = "check"   // the state against itself, and its hash at Index, or the newest
)

func (n *node) answer(ctx context.Context, q question) (a answer, err error) {
	switch q.Kind {
	case askName:
		a.Request = n.NewRequest()
		return a, nil
	case askPropose:
		result, err := n.ProposeAs(ctx, q.Request, q.Payload)
		a.Outcome, a.Result = result.Outcome, result.Bytes
		return a, err
	case askRead:
		if err := n.ReadIndex(ctx); err != nil {
			return a, err
		}
		a.Values, err = n.values()
		return a, err
	case askLook:
		return n.look()
	case askCheck:
		a.Index, a.Hash = n.hash(q.Index)
		a.Findings, err = n.check()
		return a, err
	default:
		return a, fmt.Errorf("what is %q", q.Kind)
	}
}

// values are the registers as this node has them.
func (n *node) values() (map[string]int, error) {
	values := map[string]int{}
	err := n.state.View(func(v fsm.View) error {
		for _, tag := range v.Tags(repository, "", registers) {
			body := v.Body(repository, tag.Digest)
			var m manifest
			if err := json.Unmarshal(body, &m); err != nil || digest.FromBytes(body) != tag.Digest.Unpack() || m.Register != tag.Name {
				return fmt.Errorf("tag %s names %s, which holds %.100q", tag.Name, tag.Digest, body)
			}
			values[tag.Name] = m.Value
		}
		return nil
	})
	return values, err
}

func (n *node) look() (a answer, err error) {
	a.Leads, a.Self, a.Cluster = n.Leads(), n.self.Self, n.state.ClusterID()
	nodes, err := n.state.Nodes()
	for _, node := range nodes {
		switch node.State {
		case entry.Member:
			a.Members++
		case entry.Dropped:
		default:
			return answer{Error: node.Name + " is " + node.State.String()}, err
		}
	}
	return a, err
}

// hash is the hash that was noted at a log index, or the newest one.
func (n *node) hash(index uint64) (at uint64, hash []byte) {
	if index > 0 {
		hash, _ = n.state.Hash(index)
		return index, hash
	}
	for at = n.state.Position().Index; at > 0 && hash == nil; at-- {
		hash, _ = n.state.Hash(at)
	}
	return at + 1, hash
}

// check is what is wrong with the state.
func (n *node) check() (findings []string, err error) {
	err = n.state.View(func(v fsm.View) error {
		findings = v.Check()
		return nil
	})
	return findings, err
}
