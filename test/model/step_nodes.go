package model

import "math/bits"

// node is what happens to node n as a whole.
func (s *stepper) node(n int) {
	c, w := s.c, &s.w
	b := uint8(1) << n
	if w.Admits > 0 && w.Mem[n] == Absent {
		s.use(&w.Admits)
		w.Mem[n] = Member
		s.do(Step{Op: OpAdmit, A: n})
	}
	if !w.works(n) {
		s.gone(n)
		return
	}
	c.view(w, n)
	if *w != *s.from {
		s.do(Step{Op: OpApply, A: n})
	}
	s.undo()
	if c.S3 {
		return
	}
	if w.Losses > 0 && bits.OnesCount8(w.active()&^w.Lost&^b) > 0 {
		s.use(&w.Losses)
		c.lose(w, n)
		s.do(Step{Op: OpLoss, A: n})
	}
	if w.Offs > 0 && w.Off&b == 0 {
		s.use(&w.Offs)
		w.Off |= b
		s.do(Step{Op: OpUnmount, A: n})
	}
	if w.Off&b != 0 {
		w.Off &^= b
		s.do(Step{Op: OpMount, A: n})
	}
	s.leave(n)
}

// leave is the removal of node n in good order.
func (s *stepper) leave(n int) {
	c, w := s.c, &s.w
	if w.Retires > 0 && w.Mem[n] == Member {
		c.enter(w)
		if c.retire(w, n) {
			s.use(&w.Retires)
			s.do(Step{Op: OpRetire, A: n})
		} else if s.undo(); w.active() == 1<<n { // else nobody tries
			s.judged(false, Step{Op: OpRetire, A: n})
		}
		s.undo()
	}
	if w.Mem[n] == Member && !c.Refusals {
		return
	}
	c.enter(w)
	s.judged(c.dropNode(w, n, false), Step{Op: OpDrop, A: n})
	for d := 0; d < c.D && w.Mem[n] == Retired; d++ {
		if c.recorded(w, d)&(1<<n) != 0 {
			c.enter(w)
			s.judged(c.dropCopy(w, n, d), Step{Op: OpDropCopies, A: n, B: d})
		}
	}
}

// gone is what is done about node n, which does not work any more.
func (s *stepper) gone(n int) {
	c, w := s.c, &s.w
	if w.Lost&(1<<n) != 0 && w.Mem[n] == Member {
		if c.retire(w, n) {
			s.do(Step{Op: OpRetireLost, A: n})
		}
		s.undo()
		if c.Refusals { // otherwise the two steps do
			if c.retire(w, n) && c.dropNode(w, n, true) {
				s.do(Step{Op: OpDropLostMember, A: n})
			}
			s.undo()
		}
	}
	if w.Lost&(1<<n) != 0 && (w.Mem[n] == Member || w.Mem[n] == Retired) && c.Refusals {
		if w.Mem[n] == Retired || c.retire(w, n) {
			s.judged(!c.unsure(s.from, n) && c.dropNode(w, n, true), Step{Op: OpDropUnlessSole, A: n})
		}
		s.undo()
	}
	if w.Lost&(1<<n) != 0 && w.Mem[n] == Retired {
		if c.dropNode(w, n, true) {
			s.do(Step{Op: OpDropLost, A: n})
		}
		s.undo()
	}
	for d := -1; w.Mem[n] == Removed && d < c.D; d++ {
		if c.clearNode(w, n, d) {
			s.do(Step{Op: OpClear, A: n, B: d})
		}
		s.undo()
	}
}

// vouch is a VouchCopies that is on its way; node n may have no disk any more.
func (s *stepper) vouch(n, i int) {
	c, w := s.c, &s.w
	cl := &w.C[i]
	b := uint8(1) << n
	if c.Rules.VouchUnhashed && w.online(n) && w.leaving() {
		cl.Hashed |= cl.Rcd & b
	}
	if cl.Hashed&b != 0 {
		c.enter(w)
		if c.vouch(w, i, n) {
			s.do(Step{Op: OpVouch, A: n, B: i})
		}
	}
	s.undo()
}
