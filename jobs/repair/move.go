package repair

import (
	"context"
	"maps"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// move moves copies for a slice of time at most: off the nodes that are to be emptied, and if nothing lacks
// a copy, to where they should be. Each new copy takes the place of an old one, if the record is full; one
// that is not gets a copy more, and comes up again.
func (r *repairer) move(ctx context.Context, quiet bool) error {
	b := &burst{repairer: r, moves: true}
	defer b.end()
	s := r.span()
	nodes, err := r.look()
	if err == nil {
		err = r.empty(ctx, nodes, s, b)
	}
	if err != nil || !quiet {
		return err
	}
	return r.level(ctx, nodes, s, b)
}

// drain is how far a node is that is to be emptied.
type drain struct {
	after fsm.Digest
	said  bool // that it is empty
}

// empty goes on to empty the nodes that are to be.
func (r *repairer) empty(ctx context.Context, nodes roster, s *span, b *burst) error {
	maps.DeleteFunc(r.drains, func(i blobstore.Incarnation, _ *drain) bool {
		m, _ := nodes.of(i)
		return !m.draining
	})
	for _, m := range nodes.members {
		if !m.draining {
			continue
		}
		d := r.drains[m.incarnation]
		if d == nil {
			d = &drain{}
			r.drains[m.incarnation] = d
			r.log.Info("node is being emptied", "store", r.Store, "node", m.incarnation.String())
		}
		t := tour{list: r.on(m.incarnation), plan: r.off(m.incarnation), after: d.after, span: s, idle: r.idle}
		whole, err := r.work(ctx, &t, b)
		if err != nil {
			return err
		}
		if d.after = t.after; whole {
			d.after = ""
			if err := r.tell(m.incarnation, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// tell says once that a node is empty.
func (r *repairer) tell(i blobstore.Incarnation, d *drain) error {
	return r.State.View(func(v fsm.View) error {
		left := len(r.on(i)(v, ""))
		if left == 0 && !d.said {
			r.log.Info("node is empty", "store", r.Store, "node", i.String())
		}
		d.said = left == 0
		return nil
	})
}

// off plans the move of a copy off a node, to any other that has room.
func (r *repairer) off(from blobstore.Incarnation) planner {
	return func(v fsm.View, nodes roster, d fsm.Digest) plan {
		b, known := v.Blob(r.Store, d)
		if m, _ := nodes.of(from); !known || !m.draining {
			return plan{}
		}
		for _, c := range b.Copies {
			if blobstore.Incarnation(c.Incarnation) == from {
				return r.roomy(r.plan(nodes, b, &c.Location))
			}
		}
		return plan{}
	}
}

// roomy is a plan without the targets that take no copies by themselves: a move can wait.
func (r *repairer) roomy(p plan) plan {
	var all []blobstore.Incarnation
	for _, to := range p.targets {
		if _, room := r.Copies.UsageOf(to); room {
			all = append(all, to)
		}
	}
	p.targets = all
	return p
}
