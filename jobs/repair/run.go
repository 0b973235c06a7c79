package repair

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed-16d79997/zot/fsm"
)

const (
	// atOnce is how many copies are made at a time: pulls and pushes need the disks and lines too.
	atOnce = 3
	// pageSize is how many blobs are looked at in one view.
	pageSize = 200
	// What is in Deps by these names.
	slice   = time.Minute
	maxIdle = 20_000 // they must not keep a processor busy
	// rest is for how many runs the copies on nodes that are away are not looked through again, when there
	// was nothing to do about any of them.
	rest = 10
)

// run gives the blobs with too few copies those that they lack, and then moves copies for a while.
//
// What went wrong with a blob or a node is in the log and set aside: the run goes on with the others, and
// fails only if there is no state to read.
func (r *repairer) run(ctx context.Context) error {
	if r.early {
		return r.hurry(ctx)
	}
	defer func() { r.due = time.Now().Add(every) }()
	r.blobs.next()
	r.nodes.next()
	nodes, err := r.look()
	if err != nil {
		return err
	}
	if key := nodes.key(); key != r.key {
		r.key, r.resting = key, 0
	}
	r.resting = max(0, r.resting-1)
	b, err := r.mendAll(ctx)
	if err != nil {
		return err
	}
	if r.resting == 0 && b.began.IsZero() {
		r.resting = rest
	}
	return r.move(ctx, b.began.IsZero())
}

// mendAll gives the blobs with too few copies those that they lack, and returns what it did.
func (r *repairer) mendAll(ctx context.Context) (b *burst, err error) {
	b = &burst{repairer: r}
	for whole := false; !whole && err == nil; {
		whole, err = r.mend(ctx, b)
	}
	b.end()
	return b, err
}

// look returns the nodes as they are now.
func (r *repairer) look() (nodes roster, err error) {
	err = r.State.View(func(v fsm.View) error {
		nodes = r.roster(v)
		return nil
	})
	return nodes, err
}

// mend looks once through the blobs with too few copies, those with the fewest first, and gives each the copy
// that it lacks. One that lacks two comes up again among those with one copy more. It returns false if it is
// time to begin again with the most urgent.
func (r *repairer) mend(ctx context.Context, b *burst) (whole bool, err error) {
	s := r.span()
	for there := 0; ; there++ {
		var lists []list
		var enough bool
		err := r.State.View(func(v fsm.View) error {
			nodes := r.roster(v)
			lists, enough = r.lists(v, nodes, there), there >= nodes.want
			return nil
		})
		if err != nil || enough {
			return true, err
		}
		for _, l := range lists { // one after the other: a blob may stand in several
			t := tour{list: l, plan: r.missing(there), span: s}
			if whole, err := r.work(ctx, &t, b); err != nil || !whole {
				return false, err
			}
		}
	}
}

// list returns digests of an index, from the one behind after on, pageSize at most.
type list func(v fsm.View, after fsm.Digest) []fsm.Digest

// lists returns the indexes that have the blobs of which so many copies are there: those with so many recorded
// ones, and what is recorded on nodes that do not count, or are away.
func (r *repairer) lists(v fsm.View, nodes roster, there int) (all []list) {
	if there > 0 {
		all = append(all, r.withCopies(there))
	}
	if r.early {
		return all
	}
	gone := v.Uncleared() // and those that are leaving; no others have locations that do not count
	for _, n := range v.Nodes() {
		if n.State.String() == stateRetired {
			gone = append(gone, n.Incarnation)
		}
	}
	for _, m := range nodes.members {
		if m.away && r.resting == 0 {
			gone = append(gone, [16]byte(m.incarnation))
		}
	}
	for _, i := range gone {
		all = append(all, r.on(i))
	}
	return all
}

// withCopies lists the blobs with so many recorded copies.
func (r *repairer) withCopies(n int) list {
	return func(v fsm.View, after fsm.Digest) []fsm.Digest { return v.WithCopies(r.Store, n, after, pageSize) }
}

// on lists the blobs with a copy on a node.
func (r *repairer) on(i [16]byte) list {
	return func(v fsm.View, after fsm.Digest) (page []fsm.Digest) {
		for _, name := range v.On(i, fsm.BlobName{Store: r.Store, Digest: after}, pageSize) {
			if name.Store != r.Store {
				break // they come store by store
			}
			page = append(page, name.Digest)
		}
		return page
	}
}

// tour is a way through a list.
type tour struct {
	list  list
	plan  planner
	after fsm.Digest // the last blob of the last page that is done with
	span  *span
	idle  int // how many blobs are looked at in vain, one after the other; 0: all
}

// span is the time in which copies are begun: a slice from the first on.
type span struct {
	slice time.Duration
	until time.Time
}

func (r *repairer) span() *span { return &span{slice: r.slice} }

// over is asked before a copy is begun, and reports whether it should not be.
func (s *span) over() bool {
	if s.until.IsZero() {
		s.until = time.Now().Add(s.slice)
		return false
	}
	return time.Now().After(s.until)
}

// work goes on with a tour and makes the copies that are planned on it. It returns when all that it began is
// done, or has ended with ctx, and says whether it came to the end of the list.
func (r *repairer) work(ctx context.Context, t *tour, b *burst) (whole bool, err error) {
	var copies errgroup.Group
	copies.SetLimit(r.AtOnce)
	defer func() {
		_ = copies.Wait() // nil: what goes wrong with one blob is the burst's
		if err == nil {
			err = ctx.Err()
		}
	}()
	for idle := 0; t.idle == 0 || idle < t.idle; {
		var page, todo []fsm.Digest
		err := r.State.View(func(v fsm.View) error {
			page = t.list(v, t.after)
			todo = r.todo(v, page, t.plan)
			return nil
		})
		if err != nil || ctx.Err() != nil {
			return false, err
		}
		for _, d := range todo {
			if t.span.over() || ctx.Err() != nil {
				return false, nil
			}
			copies.Go(func() error {
				r.repair(ctx, d, t.plan, b)
				return nil
			})
		}
		if len(page) < pageSize {
			return true, nil
		}
		t.after = page[len(page)-1]
		if idle += len(page); len(todo) > 0 {
			idle = 0
		}
	}
	return false, nil
}

// todo returns those digests of which a copy can be made now.
func (r *repairer) todo(v fsm.View, page []fsm.Digest, of planner) (all []fsm.Digest) {
	nodes := r.roster(v)
	for _, d := range page {
		if p := of(v, nodes, d); len(p.targets) > 0 && !r.blobs.is(d) {
			all = append(all, d)
		}
	}
	return all
}
