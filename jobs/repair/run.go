package repair

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/seed-16d79997/zot/fsm"
)

const (
	// atOnce is how many copies are made at a time: pulls and pushes need the disks and lines too.
	atOnce = 3
	// pageSize is how many blobs are looked at in one view.
	pageSize = 200
)

// run looks once through the blobs with too few copies, those with the fewest first, and gives each the
// copy that it lacks. One that lacks two comes up again among those with one copy more.
//
// What went wrong with a blob or a node is in the log and set aside: the run goes on with the others, and
// fails only if there is no state to read.
func (r *repairer) run(ctx context.Context) error {
	r.blobs.next()
	r.nodes.next()
	b := &burst{repairer: r}
	defer b.end()
	for counting := 0; ; counting++ {
		var lists []list
		var enough bool
		err := r.State.View(func(v fsm.View) error {
			lists, enough = r.lists(v, counting), counting >= r.roster(v).want
			return nil
		})
		if err != nil || enough {
			return err
		}
		for _, l := range lists { // one after the other: a blob may stand in several
			if err := r.work(ctx, l, counting, b); err != nil {
				return err
			}
		}
	}
}

// list returns digests of an index, from the one behind after on, pageSize at most.
type list func(v fsm.View, after fsm.Digest) []fsm.Digest

// lists returns the indexes that have the blobs with so many counting copies: those with so many recorded
// ones, and what is recorded on nodes that do not count.
func (r *repairer) lists(v fsm.View, counting int) (all []list) {
	if counting > 0 {
		all = append(all, func(v fsm.View, after fsm.Digest) []fsm.Digest {
			return v.WithCopies(r.Store, counting, after, pageSize)
		})
	}
	gone := v.Uncleared() // and those that are leaving; no others have locations that do not count
	for _, n := range v.Nodes() {
		if n.State.String() == stateRetired {
			gone = append(gone, n.Incarnation)
		}
	}
	for _, i := range gone {
		all = append(all, func(v fsm.View, after fsm.Digest) (page []fsm.Digest) {
			for _, name := range v.On(i, fsm.BlobName{Store: r.Store, Digest: after}, pageSize) {
				if name.Store != r.Store {
					break // they come store by store
				}
				page = append(page, name.Digest)
			}
			return page
		})
	}
	return all
}

// work makes a copy of each blob of a list that has so many counting ones. It returns when all that it
// began is done, or has ended with ctx.
func (r *repairer) work(ctx context.Context, l list, counting int, b *burst) error {
	var copies errgroup.Group
	copies.SetLimit(atOnce)
	defer func() { _ = copies.Wait() }() // nil: what goes wrong with one blob is the burst's
	for after, more := fsm.Digest(""), true; more && ctx.Err() == nil; {
		var page, lacking []fsm.Digest
		err := r.State.View(func(v fsm.View) error {
			page = l(v, after)
			lacking = r.lacking(v, page, counting)
			return nil
		})
		if err != nil {
			return err
		}
		for _, d := range lacking {
			copies.Go(func() error {
				r.repair(ctx, d, counting, b)
				return nil
			})
		}
		if more = len(page) == pageSize; more {
			after = page[len(page)-1]
		}
	}
	return ctx.Err()
}

// lacking returns those digests of which a copy can be made now.
func (r *repairer) lacking(v fsm.View, page []fsm.Digest, counting int) (all []fsm.Digest) {
	nodes := r.roster(v)
	for _, d := range page {
		if p := r.plan(v, nodes, d, counting); len(p.targets) > 0 && !r.blobs.is(d) {
			all = append(all, d)
		}
	}
	return all
}
