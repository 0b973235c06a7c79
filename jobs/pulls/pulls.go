// Package pulls counts what is pulled from a node, and records it in the replicated state from time to time:
// for retention, which keeps what was pulled lately, and for people.
//
// It is a job of every node. A request only counts, in memory, and waits for nothing; so many manifests are
// counted at most between two recordings, and what a node has not recorded when it ends is lost. The date of
// a pull is that of the command, a moment later. What counts as a pull is not known here: api says so.
//
// Start with New. Any node may propose the command, at any time: no invariant hangs on it.
package pulls

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
)

const (
	every       = 30 * time.Second
	maxCounted  = 10_000 // manifests between two recordings; a pull of any other is not counted
	maxRecorded = 500    // in one command (fsm.RecordPulls)
)

// Deps is what the job works with.
type Deps struct {
	Proposer fsm.Proposer // of this node, bound to no term
	Logger   hclog.Logger // nil: none
}

// Counter counts pulls.
type Counter struct {
	proposer fsm.Proposer
	log      hclog.Logger

	mu      sync.Mutex
	counts  map[pulled]uint64
	omitted uint64 // pulls that there was no room for
}

// pulled is a manifest.
type pulled struct {
	repository string
	digest     fsm.Digest
}

// New returns a counter and the job that records what it has counted. It fails if something is missing.
func New(d Deps) (*Counter, jobs.Job, error) {
	if d.Proposer == nil {
		return nil, jobs.Job{}, errors.New("pulls: a proposer is needed")
	}
	if d.Logger == nil {
		d.Logger = hclog.NewNullLogger()
	}
	c := &Counter{proposer: d.Proposer, log: d.Logger, counts: map[pulled]uint64{}}
	return c, jobs.Job{Name: "record pulls", Every: every, Do: c.record}, nil
}

// Pulled counts a pull. It may be called from any goroutine.
func (c *Counter) Pulled(repository string, d fsm.Digest) { c.add(pulled{repository, d}, 1) }

func (c *Counter) add(p pulled, n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, counted := c.counts[p]; !counted && len(c.counts) >= maxCounted {
		c.omitted += n
		return
	}
	c.counts[p] += n
}

// take returns what was counted since the last time.
func (c *Counter) take() (counts map[pulled]uint64, omitted uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts, omitted = c.counts, c.omitted
	c.counts, c.omitted = map[pulled]uint64{}, 0
	return counts, omitted
}

// record records what was counted. What a command that failed has may have been recorded all the same, and
// is counted again: a number that is a little too large harms nobody, and a forgotten pull might.
func (c *Counter) record(ctx context.Context) error {
	counts, omitted := c.take()
	if omitted > 0 {
		c.log.Warn("more manifests were pulled at a time than are counted", "pulls_omitted", omitted, "manifests_counted", len(counts))
	}
	var failed error
	var batch fsm.RecordPulls
	flush := func() {
		if failed == nil && len(batch.Pulls) > 0 {
			_, failed = fsm.Do(ctx, c.proposer, batch)
		}
		if failed != nil {
			for _, p := range batch.Pulls {
				c.add(pulled{p.Repository, p.Digest}, p.Count)
			}
		}
		batch.Pulls = nil
	}
	inOrder := func(a, b pulled) int {
		return cmp.Or(strings.Compare(a.repository, b.repository), cmp.Compare(a.digest, b.digest))
	}
	for _, p := range slices.SortedFunc(maps.Keys(counts), inOrder) {
		batch.Pulls = append(batch.Pulls, fsm.Pull{Repository: p.repository, Digest: p.digest, Count: counts[p]})
		if len(batch.Pulls) == maxRecorded {
			flush()
		}
	}
	flush()
	if failed != nil {
		return fmt.Errorf("record pulls: %w", failed)
	}
	return nil
}
