package main

import (
	"context"
	"encoding/json"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/compaction"
)

// Smaller files are left alone, whatever is free in them.
const (
	leastState = 64 << 20
	leastLog   = 32 << 20
)

// filesOf are the two files of a node that grow and never become smaller by themselves.
func filesOf(state *fsm.State, node *cluster.Node, pace blobstore.Pace) *compaction.Files {
	return compaction.NewFiles(
		compaction.File{Name: "state", Least: leastState, Space: state.Space, Compact: func(ctx context.Context) error { return state.Compact(ctx, pace) }},
		compaction.File{Name: "log", Least: leastLog, Space: node.LogSpace, Compact: func(ctx context.Context) error { return node.CompactLog(ctx, pace) }},
	)
}

// compactNote is what a node says while it compacts its files.
type compactNote struct {
	Over    bool                `json:"over,omitempty"` // the last
	Results []compaction.Result `json:"results,omitempty"`
}

// compacted compacts the files of this node that are due. Between two notes is a second at most. It ends with the
// node.
func (n *askedNode) compacted(ctx context.Context, each func(compactNote)) error {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	over := beating(func() { each(compactNote{}) })
	all, err := n.files.Compact(ctx)
	over()
	if err != nil {
		return err
	}
	each(compactNote{Over: true, Results: all})
	return nil
}

// compact has a node compact those of its files that are due.
func (a allNodes) compact(ctx context.Context, who entry.Incarnation) (all []compaction.Result, err error) {
	take := func(note compactNote) {
		if note.Over {
			all = note.Results
		}
	}
	if who == a.own.self {
		err = a.own.compacted(ctx, take)
		return all, err
	}
	err = a.listen(ctx, who, "/node/compact", nil, func(line json.RawMessage) (last bool, err error) {
		note, err := readNote[compactNote](line)
		if err == nil {
			take(note)
		}
		return note.Over, err
	})
	return all, err
}

// turns are all nodes, as the leader gives them turns to compact their files.
type turns struct{ allNodes }

var _ compaction.Nodes = turns{}

// Compact is compact.
func (t turns) Compact(ctx context.Context, who blobstore.Incarnation) ([]compaction.Result, error) {
	return t.compact(ctx, entry.Incarnation(who))
}

// compacted is the leader's job that has all nodes compact their files, one after the other.
func compacted(all allNodes, log hclog.Logger) (jobs.Job, error) {
	return compaction.New(compaction.Deps{
		Self: blobstore.Incarnation(all.own.self), State: all.own.state, Nodes: turns{all}, Logger: log.Named("compaction"),
	})
}
