package repair

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

const (
	// levelEvery is how soon, in state time, the job looks anew where the copies are when no node has come or
	// gone.
	levelEvery = 24 * time.Hour
	// fillBelow is what share of the average a member uses of its room, at most, that gets copies of others:
	// until it is even. So what comes and goes afterwards does not begin it again soon.
	fillBelow = 0.75
)

// stage is what a pass through all blobs is for.
type stage int

const (
	parting stage = iota // copies are moved to other zones
	filling              // copies are moved to the members that use much less than the others
	resting              // all is as it should be, as far as it can
)

// balance is how far the job is with all blobs. It begins anew when the nodes have changed.
type balance struct {
	stage  stage
	key    string // of the nodes that it is for
	copies int    // how many recorded ones the blobs have that it is at
	after  fsm.Digest
	rested blobstore.Time // since when
	low    map[blobstore.Incarnation]bool
	moved  int // copies, in this pass
}

// begin begins a stage.
func (b *balance) begin(s stage, nodes roster) {
	b.stage, b.copies, b.after, b.rested, b.moved = s, nodes.replicas, "", nodes.now, 0
}

// shares returns what share of its room each member uses that copies are placed on, and what all of them do. It
// is false while one of them has not said how much room it has.
func (r *repairer) shares(nodes roster) (shares map[blobstore.Incarnation]float64, mean float64, known bool) {
	shares = map[blobstore.Incarnation]float64{}
	var used, room float64
	for _, m := range nodes.members {
		if !m.takes() {
			continue
		}
		u, _ := r.Copies.UsageOf(m.incarnation)
		if u.Total <= 0 {
			return nil, 0, false
		}
		shares[m.incarnation] = float64(m.held) / float64(u.Total)
		used, room = used+float64(m.held), room+float64(u.Total)
	}
	return shares, used / max(room, 1), true
}

// level goes on with the pass that is under way, and begins the next. It waits until all nodes that could get
// a copy answer: what is passed over is not looked at again for long.
func (r *repairer) level(ctx context.Context, nodes roster, s *span, b *burst) error {
	l := r.balance
	if _, _, known := r.shares(nodes); !known || slices.ContainsFunc(nodes.members, func(m member) bool { return m.takes() && !r.Copies.Reachable(m.incarnation) }) {
		return nil
	}
	if key := nodes.key(); key != l.key || l.stage == resting && nodes.now >= l.rested+blobstore.Time(levelEvery) {
		l.key = key
		l.begin(parting, nodes)
	}
	if nodes.takers() <= nodes.replicas { // there is no choice
		l.begin(resting, nodes)
	}
	for l.stage != resting {
		whole, err := r.pass(ctx, nodes, s, b)
		if err == nil {
			nodes, err = r.look() // what they hold has changed
		}
		if err != nil || !whole {
			return err
		}
		r.next(nodes)
	}
	return nil
}

// next begins what follows a pass: to fill the members that use much less than the others, again and again until
// there is nothing to move to them any more.
func (r *repairer) next(nodes roster) {
	l := r.balance
	more := l.moved > 0
	if l.stage == parting {
		l.low = map[blobstore.Incarnation]bool{}
		shares, mean, _ := r.shares(nodes)
		for i, share := range shares {
			if share < fillBelow*mean {
				l.low[i] = true
			}
		}
		more = len(l.low) > 0
	}
	if more {
		l.begin(filling, nodes)
	} else {
		l.begin(resting, nodes)
	}
}

// pass goes on with all blobs whose record is full, one after the other.
func (r *repairer) pass(ctx context.Context, nodes roster, s *span, b *burst) (whole bool, err error) {
	l := r.balance
	planned := r.apart
	if l.stage == filling {
		planned = r.fill
	}
	for idle := 0; l.copies <= len(nodes.members) && idle < r.idle; {
		var page, todo []fsm.Digest
		err := r.State.View(func(v fsm.View) error {
			page = r.withCopies(l.copies)(v, l.after)
			todo = r.todo(v, page, planned)
			return nil
		})
		if err != nil {
			return false, err
		}
		for _, d := range todo {
			if s.over() || ctx.Err() != nil {
				return false, ctx.Err()
			}
			before := b.copies
			r.repair(ctx, d, planned, b) // one at a time: there is no hurry
			l.moved += b.copies - before
		}
		if l.after = ""; len(page) == pageSize {
			l.after = page[len(page)-1] // in this page everything is where it should be
		} else {
			l.copies++
		}
		if idle += len(page); len(todo) > 0 {
			idle = 0
		}
	}
	return l.copies > len(nodes.members), ctx.Err()
}

// settled returns a blob whose record is full, with the holders of its copies and how many are in each zone; no
// holders if one is on a node that is leaving or gone: that is looked after elsewhere.
func (r *repairer) settled(v fsm.View, nodes roster, d fsm.Digest) (b fsm.Blob, holders []member, zones map[string]int) {
	b, _ = v.Blob(r.Store, d)
	zones = map[string]int{}
	for _, c := range b.Copies {
		m, is := nodes.of(blobstore.Incarnation(c.Incarnation))
		if !is {
			return b, nil, nil
		}
		holders = append(holders, m)
		zones[m.zone]++
	}
	return b, holders, zones
}

// apart plans the move of a copy to a zone where the blob has none, away from one where it has several.
func (r *repairer) apart(v fsm.View, nodes roster, d fsm.Digest) plan {
	b, holders, zones := r.settled(v, nodes, d)
	from, worst := -1, rank{inZone: 1}
	for at, m := range holders {
		if k := (rank{inZone: zones[m.zone], hash: hashOf(d, m.incarnation)}); zones[m.zone] > 1 && k.compare(worst) > 0 {
			from, worst = at, k
		}
	}
	if from < 0 {
		return plan{}
	}
	p := r.roomy(r.plan(nodes, b, &b.Copies[from].Location))
	p.targets = slices.DeleteFunc(p.targets, func(i blobstore.Incarnation) bool {
		m, _ := nodes.of(i)
		return zones[m.zone] > 0
	})
	return p
}

// fill plans the move of a copy to a member that uses much less than the others, so that the blob is in no fewer
// zones: from the holder that uses most, if that is more than the average. Within a zone it need not be: often
// nobody else can give.
func (r *repairer) fill(v fsm.View, nodes roster, d fsm.Digest) plan {
	b, holders, zones := r.settled(v, nodes, d)
	shares, mean, known := r.shares(nodes)
	if !known {
		return plan{}
	}
	less := func(a, b member) int { return cmp.Compare(shares[a.incarnation], shares[b.incarnation]) }
	for _, from := range slices.Backward(slices.SortedFunc(slices.Values(holders), less)) {
		for _, to := range slices.SortedFunc(slices.Values(nodes.members), less) {
			across := from.zone != to.zone
			narrower := across && zones[from.zone] == 1 && zones[to.zone] > 0
			if narrower || across && shares[from.incarnation] <= mean || !r.balance.low[to.incarnation] || !r.evens(shares, from, to, b.Size) {
				continue
			}
			at := slices.Index(holders, from)
			if p := only(to.incarnation, r.roomy(r.plan(nodes, b, &b.Copies[at].Location))); len(p.targets) > 0 {
				return p
			}
		}
	}
	return plan{}
}

// evens reports whether a move leaves the two nodes no further apart, and not the other way round. So filling
// comes to an end: each move makes the shares more alike.
func (r *repairer) evens(shares map[blobstore.Incarnation]float64, from, to member, size int64) bool {
	f, _ := r.Copies.UsageOf(from.incarnation)
	t, _ := r.Copies.UsageOf(to.incarnation)
	return shares[to.incarnation]+float64(size)/float64(t.Total) <= shares[from.incarnation]-float64(size)/float64(f.Total)
}

// only is a plan with one of its targets.
func only(to blobstore.Incarnation, p plan) plan {
	p.targets = slices.DeleteFunc(p.targets, func(i blobstore.Incarnation) bool { return i != to })
	return p
}
