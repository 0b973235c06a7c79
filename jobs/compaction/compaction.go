// Package compaction keeps the files of every node's state and log from staying as large as they ever were: after
// much was deleted, half of such a file and more may be pages that nothing is in.
//
// The leader gives turns: it asks one node after the other, itself last, and waits for each (New). A node looks at
// its own files and compacts those that are half free (Files), while it goes on with its work; the files' owners know
// how. A turn ends with its request, and a request with the leadership. A leader that was cut off may leave a node at
// work whom the next one does not know of; that one asks nobody before it has led for a while, and a node that is at
// work says so. Two nodes that compact at once would only be slower.
//
// It changes nothing that is replicated, so its leader needs no proposer.
package compaction

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
)

const (
	every = time.Hour
	// after is how long a leader leads before it gives the first turn: who comes up, or has lost a leader, has
	// something better to do.
	after = 5 * time.Minute
)

// stateDropped is what the state calls a node that is gone.
const stateDropped = "dropped"

// State is the replicated state of this node.
type State interface {
	// View calls fn with the newest applied state and returns its error.
	View(fn func(v fsm.View) error) error
}

// Nodes has nodes, this one too, compact their files.
type Nodes interface {
	// Compact returns when a node has had its turn, with what it did. It ends, there too, when its context does. It
	// fails for a node that does not answer, or cannot have a turn now.
	Compact(ctx context.Context, who blobstore.Incarnation) ([]Result, error)
}

// Deps is what the leader's job works with.
type Deps struct {
	Self   blobstore.Incarnation
	State  State
	Nodes  Nodes
	Logger hclog.Logger // nil: none

	after time.Duration
}

// New returns the leader's job. It fails if something is missing.
func New(d Deps) (jobs.Job, error) {
	if d.State == nil || d.Nodes == nil {
		return jobs.Job{}, errors.New("compaction: a state and nodes are needed")
	}
	if d.Logger == nil {
		d.Logger = hclog.NewNullLogger()
	}
	t := &turns{Deps: d, begin: time.Now().Add(cmp.Or(d.after, after))}
	return jobs.Job{Name: "compact the files of all nodes", Every: every, Do: t.run}, nil
}

// turns is the job.
type turns struct {
	Deps
	begin time.Time
}

// run gives each node its turn. What a node cannot do, it is asked for again in the next run.
func (t *turns) run(ctx context.Context) error {
	if err := t.wait(ctx); err != nil {
		return err
	}
	all, err := t.nodes()
	if err != nil {
		return err
	}
	for _, who := range all {
		done, err := t.Nodes.Compact(ctx, who)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			t.Logger.Info("a node had no turn to compact its files", "of", who.String(), "error", err)
		}
		for _, r := range done {
			t.log(who, r)
		}
	}
	return nil
}

func (t *turns) wait(ctx context.Context) error {
	defer jobs.Waits(ctx)()
	early := time.NewTimer(time.Until(t.begin))
	defer early.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-early.C:
		return ctx.Err()
	}
}

// nodes are all nodes of the cluster, this one last.
func (t *turns) nodes() (all []blobstore.Incarnation, err error) {
	err = t.State.View(func(v fsm.View) error {
		for _, n := range v.Nodes() {
			if n.State.String() != stateDropped {
				all = append(all, blobstore.Incarnation(n.Incarnation))
			}
		}
		return nil
	})
	if i := slices.Index(all, t.Self); i >= 0 {
		all = append(slices.Delete(all, i, i+1), t.Self)
	}
	return all, err
}

func (t *turns) log(who blobstore.Incarnation, r Result) {
	if r.Error != "" {
		t.Logger.Warn("file was not compacted", "of", who.String(), "file", r.File, "bytes", r.Before, "error", r.Error)
		return
	}
	t.Logger.Info("file compacted", "of", who.String(), "file", r.File, "bytes_before", r.Before, "bytes", r.After, "duration_seconds", r.TookSeconds)
}
