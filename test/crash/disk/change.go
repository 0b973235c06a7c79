package disk

import "slices"

// change is one step that programs have seen and the disk may not have: one name, or the two of a rename.
type change[T any] struct {
	steps []step[T]

	// needs are earlier changes that must be on the disk if this one is, and that an fsync which covers this
	// one takes along: those of the same names, which cannot be undone below it.
	needs []*change[T]
	// rests are earlier changes without which this one is undone as well, even if it was synced: where it
	// would otherwise move something out of reach that the disk had. They are not taken along, so that a
	// program which forgot to sync a directory above finds the file back at its old place.
	rests []*change[T]

	synced bool
	end    outcome
}

// step puts a node under a name, or nothing when it is nil.
type step[T any] struct {
	slot[T]
	to *Node[T]
}

// outcome is what has become of a change.
type outcome int

const (
	undecided outcome = iota
	kept
	lost
)

// Link gives a node a name, which may replace a file that had it. It is durable after SyncDir of dir.
func (t *Tree[T]) Link(dir *Node[T], name string, n *Node[T]) {
	t.record(&change[T]{steps: []step[T]{{slot[T]{dir, name}, n}}})
}

// Unlink removes a name of a file or of an empty directory. It is durable after SyncDir of dir.
func (t *Tree[T]) Unlink(dir *Node[T], name string) {
	t.record(&change[T]{steps: []step[T]{{slot[T]{dir, name}, nil}}})
}

// Rename moves a node to a name, which may replace a file or an empty directory. It is durable after SyncDir
// of either directory. The caller has checked that the node is there and not above its new place.
func (t *Tree[T]) Rename(from *Node[T], name string, to *Node[T], newName string) {
	n := from.names[name]
	c := &change[T]{steps: []step[T]{{slot[T]{to, newName}, n}, {slot[T]{from, name}, nil}}}
	if from != to {
		for dir := to; dir != nil; dir = dir.parent {
			if dir.placed != nil {
				c.rests = append(c.rests, dir.placed)
			}
		}
	}
	t.record(c)
}

// record makes a change visible to programs and queues it for the disk.
func (t *Tree[T]) record(c *change[T]) {
	for _, s := range c.steps {
		if prev := t.last[s.slot]; prev != nil {
			c.needs = append(c.needs, prev)
		}
		if old := s.dir.names[s.name]; old != nil && old.dir && s.to != nil {
			t.needEmptied(c, old) // replaced by a rename
		} else if old != nil && old.dir && len(c.steps) == 1 {
			t.needEmptied(c, old) // removed
		}
	}
	for _, s := range c.steps {
		if s.to != nil {
			t.Hold(s.to)
			if s.to.dir {
				s.to.placed = c
			}
		}
		t.show(s.dir, s.name, s.to)
		t.last[s.slot] = c
		if !slices.Contains(s.dir.touched, c) {
			t.Hold(s.dir)
			s.dir.touched = append(s.dir.touched, c)
		}
	}
	t.pending = append(t.pending, c)
}

// needEmptied orders the removal of a directory behind the changes that emptied it. Files removed from it
// are gone with it; a file moved out of it must have arrived elsewhere.
func (t *Tree[T]) needEmptied(c *change[T], dir *Node[T]) {
	for _, earlier := range dir.touched {
		if len(earlier.steps) == 1 {
			c.needs = append(c.needs, earlier)
		} else {
			c.rests = append(c.rests, earlier)
		}
	}
}

// SyncDir is an fsync of a directory: the names in it are on the disk as programs see them now.
func (t *Tree[T]) SyncDir(dir *Node[T]) {
	for _, c := range dir.touched {
		c.sync()
	}
	t.settle()
}

// SyncAll puts everything that programs see on the disk.
func (t *Tree[T]) SyncAll() {
	for _, c := range t.pending {
		c.synced = true
	}
	t.settle()
}

// Pending returns how many changes of names nobody has synced.
func (t *Tree[T]) Pending() int { return len(t.pending) }

// Cut decides which pending changes are on the disk, and returns how many are not. Only Walk may be called
// afterwards.
func (t *Tree[T]) Cut(f *Fate) int {
	before := len(t.pending)
	f.draw()
	// Half of the time the disk has a journal: it has all changes up to some moment. Else each has its own luck.
	journal, limit := f.rng.IntN(2) == 0, f.rng.IntN(before+1)
	for i, c := range t.pending {
		wants := c.synced
		if !wants && journal && f.policy == Arbitrary {
			wants = i < limit
		} else if !wants {
			wants = f.keeps()
		}
		c.end = lost
		if wants && c.possible() {
			c.end = kept
		}
	}
	all := t.pending
	t.pending = nil
	losses := 0
	for _, c := range all {
		if c.end == lost {
			losses++
			continue
		}
		t.apply(c)
	}
	return losses
}

// sync marks the change and all that it needs as covered by an fsync.
func (c *change[T]) sync() {
	if c.synced {
		return
	}
	c.synced = true
	for _, need := range c.needs {
		need.sync()
	}
}

// possible says whether everything below the change is on the disk.
func (c *change[T]) possible() bool {
	isKept := func(o *change[T]) bool { return o.end == kept }
	return !slices.ContainsFunc(slices.Concat(c.needs, c.rests), func(o *change[T]) bool { return !isKept(o) })
}

// settle moves to the disk what is synced and rests on nothing that is not. One pass does: a change comes
// behind everything it depends on.
func (t *Tree[T]) settle() {
	queue := t.pending
	t.pending = queue[:0:0]
	for _, c := range queue {
		if !c.synced || !c.possible() {
			t.pending = append(t.pending, c)
			continue
		}
		c.end = kept
		t.apply(c)
		t.forget(c)
	}
}

// apply writes the change to the disk.
func (t *Tree[T]) apply(c *change[T]) {
	for _, s := range c.steps {
		t.store(s.dir, s.name, s.to)
	}
}

// forget removes a settled change from wherever it was remembered.
func (t *Tree[T]) forget(c *change[T]) {
	c.needs, c.rests = nil, nil
	for _, s := range c.steps {
		if t.last[s.slot] == c {
			delete(t.last, s.slot)
		}
		if i := slices.Index(s.dir.touched, c); i >= 0 {
			s.dir.touched = slices.Delete(s.dir.touched, i, i+1)
			t.Drop(s.dir)
		}
		if s.to != nil {
			if s.to.placed == c {
				s.to.placed = nil
			}
			t.Drop(s.to)
		}
	}
}
