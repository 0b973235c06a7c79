package main

import (
	"context"
	"sync"
	"time"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// reportTimeout is for one node's report; who takes longer counts as not answering.
const reportTimeout = time.Second

// surveyed is the cluster as its operator sees it through this node.
type surveyed interface {
	Blobs() (blobHealth, error)
	Emptying() ([]emptying, error)
	Usage() (usage, error)
	Moving() ([]moving, error)
	// Held is what is recorded on each node, in all stores and in each; nodes with nothing are left out.
	Held() (map[entry.Incarnation]heldBy, error)
	// Reports are what the nodes say of themselves; those that do not answer are left out.
	Reports(ctx context.Context) map[entry.Incarnation]nodeReport
	// Audit checks all nodes, and calls tell with how far they are, from many goroutines.
	Audit(ctx context.Context, wish checkWish, tell func(auditProgress)) (verdict, error)
}

// survey is surveyed by the state of this node, and by asking all.
type survey struct {
	auditor
	own *askedNode
}

var _ surveyed = survey{}

func newSurvey(own *askedNode, r *registry, node *cluster.Node) survey {
	a := auditor{state: own.state, round: node.ReadIndex, proposer: node, nodes: allNodes{own, r.others}}
	if own.inBucket() {
		a.bucketBy = own.self
	}
	return survey{a, own}
}

func (s survey) Blobs() (blobHealth, error) { return blobsOf(s.state) }

func (s survey) Emptying() ([]emptying, error) { return emptyingOf(s.state) }

func (s survey) Usage() (usage, error) { return usageOf(s.state) }

func (s survey) Moving() ([]moving, error) { return allMoving(s.state) }

// heldBy is what is recorded on a node.
type heldBy struct {
	fsm.Held
	in map[string]fsm.Held // by store, if there are several; those of which nothing is left out
}

func (s survey) Held() (all map[entry.Incarnation]heldBy, err error) {
	all = map[entry.Incarnation]heldBy{}
	err = s.state.View(func(v fsm.View) error {
		several := v.Stores()
		for _, n := range v.Nodes() {
			h := heldBy{v.Held(n.Incarnation), map[string]fsm.Held{}}
			if h.Copies == 0 {
				continue
			}
			for _, s := range several {
				if in := v.HeldIn(n.Incarnation, s.Name); in.Copies > 0 && len(several) > 1 {
					h.in[s.Name] = in
				}
			}
			all[n.Incarnation] = h
		}
		return nil
	})
	return all, err
}

func (s survey) Reports(ctx context.Context) map[entry.Incarnation]nodeReport {
	var who []entry.Incarnation
	err := s.state.View(func(v fsm.View) error {
		for _, n := range v.Nodes() {
			if n.State != entry.Dropped {
				who = append(who, n.Incarnation)
			}
		}
		return nil
	})
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	var mu sync.Mutex
	all := map[entry.Incarnation]nodeReport{}
	var asking sync.WaitGroup
	for _, i := range who {
		asking.Go(func() {
			if r, err := s.nodes.report(ctx, i); err == nil {
				mu.Lock()
				defer mu.Unlock()
				all[i] = r
			}
		})
	}
	asking.Wait()
	return all
}

// Audit ends with the node.
func (s survey) Audit(ctx context.Context, wish checkWish, tell func(auditProgress)) (verdict, error) {
	ctx, done, err := s.own.begin(ctx)
	if err != nil {
		return verdict{}, err
	}
	defer done()
	return s.audit(ctx, wish, tell)
}

// memberStatus is a node as the cluster sees it, and as it says itself.
type memberStatus struct {
	cluster.MemberStatus
	nodeReport
	Held   fsm.Held            `json:"held"`             // recorded on it
	HeldIn map[string]fsm.Held `json:"heldIn,omitempty"` // of that, by store, if there are several
}

// withReports joins what the cluster says of its nodes with what they say.
func withReports(members []cluster.MemberStatus, reports map[entry.Incarnation]nodeReport, held map[entry.Incarnation]heldBy) []memberStatus {
	var all []memberStatus
	for _, m := range members {
		all = append(all, memberStatus{m, reports[m.Incarnation], held[m.Incarnation].Held, held[m.Incarnation].in})
	}
	return all
}
