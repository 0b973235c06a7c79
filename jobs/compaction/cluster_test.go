package compaction_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs/compaction"
	"github.com/seed-16d79997/zot/test/sim"
)

// inTurn are the nodes of a cluster in one process.
type inTurn struct {
	t       *testing.T
	files   map[blobstore.Incarnation]*compaction.Files
	working atomic.Int64
	done    map[blobstore.Incarnation][]compaction.Result
}

func (n *inTurn) Compact(ctx context.Context, who blobstore.Incarnation) ([]compaction.Result, error) {
	if n.working.Add(1) > 1 {
		n.t.Error("two nodes compact at once")
	}
	defer n.working.Add(-1)
	all, err := n.files[who].Compact(ctx)
	n.done[who] = append(n.done[who], all...)
	return all, err
}

func progress(n, size int) fsm.SetProgress {
	return fsm.SetProgress{Job: fmt.Sprintf("job-%03d", n), Term: 1, Value: make([]byte, size)}
}

// insist has a command acknowledged, through a node that may not know for a while who leads, on a slow machine.
func insist[R any](t *testing.T, n *sim.Node, command fsm.CommandOf[R]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := fsm.Do(ctx, n, command)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Errorf("%s: %v", n.Name, err)
			return
		}
	}
}

// TestThreeNodesCompact has the nodes of a cluster compact in turn, while clients write through all of them.
func TestThreeNodesCompact(t *testing.T) {
	timing := sim.FastTiming()
	timing.TrailingLogs, timing.SnapshotThreshold, timing.SnapshotInterval = 64, 64, 100*time.Millisecond
	c := sim.Started(t, 3, sim.Options{Timing: timing})
	c.Settle(3)
	leader := c.Leader()
	for _, size := range []int{60 << 10, 0} { // made and removed
		var filling sync.WaitGroup
		for n := range 20 {
			filling.Go(func() {
				for i := range 20 {
					insist(t, leader, progress(n*20+i, size))
				}
			})
		}
		filling.Wait()
	}
	nodes := &inTurn{t: t, files: map[blobstore.Incarnation]*compaction.Files{}, done: map[blobstore.Incarnation][]compaction.Result{}}
	pace := func(ctx context.Context, _ int) error { return ctx.Err() }
	var logs atomic.Int64
	for _, n := range c.Running() {
		// Logs of a few entries are full of free pages, and must be compacted all the same.
		whole := func() (int64, int64, error) {
			size, _, err := n.LogSpace()
			return size, size, err
		}
		nodes.files[blobstore.Incarnation(n.Incarnation())] = compaction.NewFiles(
			compaction.File{Name: "state", Least: 1 << 20, Space: n.State.Space, Compact: func(ctx context.Context) error { return n.State.Compact(ctx, pace) }},
			compaction.File{Name: "log", Space: whole, Compact: func(ctx context.Context) error {
				err := n.CompactLog(ctx, pace)
				if err == nil {
					logs.Add(1)
				} else if errors.Is(err, cluster.ErrLogMoved) { // a snapshot was taken meanwhile
					return nil
				}
				return err
			}},
		)
	}

	c.Eventually("half of each state is free", func() bool { // a node may lag
		for _, n := range c.Running() {
			if size, free, err := n.State.Space(); err != nil || free < size/2 {
				return false
			}
		}
		return true
	})
	over := make(chan struct{})
	var writing sync.WaitGroup
	var acknowledged atomic.Int64
	for w, n := range c.Running() {
		writing.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				default:
				}
				if _, err := fsm.Do(t.Context(), n, progress(900+w, 1+i%3000)); err == nil { // on a slow machine, somebody may lose the lead
					acknowledged.Add(1)
				}
			}
		})
	}
	job, err := compaction.New(compaction.Deps{Self: blobstore.Incarnation(leader.Incarnation()), State: leader.State, Nodes: nodes}.Soon(time.Nanosecond))
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		before := acknowledged.Load()
		if err := job.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.Eventually("clients go on", func() bool { return acknowledged.Load() > before || t.Failed() })
	}
	close(over)
	writing.Wait()
	for who, done := range nodes.done {
		if len(done) < 11 || done[0].File != "state" || done[0].After > done[0].Before*3/4 { // half was free, and clients write
			t.Errorf("%s: %+v", who, done)
		}
		for _, r := range done {
			if r.Error != "" {
				t.Errorf("%s: %+v", who, r)
			}
		}
	}
	if len(nodes.done) != 3 || logs.Load() < 5 || len(c.Running()) != 3 {
		t.Errorf("%d nodes had turns, %d logs were compacted, %d nodes run", len(nodes.done), logs.Load(), len(c.Running()))
	}
	sameHashes(t, c)
	t.Logf("%d writes were acknowledged, %d logs compacted", acknowledged.Load(), logs.Load())
}

// sameHashes compares the states of all nodes.
func sameHashes(t *testing.T, c *sim.Cluster) {
	t.Helper()
	for _, n := range c.Running() {
		insist(t, n, fsm.HashCheck{})
	}
	nodes := c.Running()
	first := nodes[0].State
	var index uint64
	c.Eventually("all have come as far", func() bool {
		index = first.Position().Index
		for _, n := range nodes {
			if n.State.Position().Index != index {
				return false
			}
		}
		return true
	})
	want, known := first.Hash(index)
	for ; !known && index > 0; index-- {
		want, known = first.Hash(index - 1)
	}
	for _, n := range nodes {
		if have, ok := n.State.Hash(index); !ok || string(have) != string(want) {
			t.Errorf("%s has the hash %x at %d, not %x", n.Name, have, index, want)
		}
		if err := n.State.View(func(v fsm.View) error {
			for _, finding := range v.Check() {
				t.Errorf("%s: %s", n.Name, finding)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
}
