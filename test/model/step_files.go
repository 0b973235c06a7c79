package model

// file is what node n, a disk or the collector's command does to the copy of claim i on the node's store.
func (s *stepper) file(n, i int) {
	c, w := s.c, &s.w
	cl := &w.C[i]
	b, sb := uint8(1)<<n, uint8(1)<<c.store(n)
	if !w.online(n) {
		if w.works(n) && c.Rules.OfflineIsEmpty {
			c.enter(w)
			if cl.VR&b != 0 && c.giveUp(w, i, c.store(n)) {
				s.do(Step{Op: OpGiveUpOff, A: n, B: i})
			}
			s.undo()
		}
		return
	}
	if cl.Files&sb != 0 {
		s.sweep(n, i)
		s.rot(n, i)
	}
	if cl.Rcd&sb != 0 && (cl.Bad|^cl.Files)&sb != 0 {
		c.enter(w)
		if c.giveUp(w, i, c.store(n)) {
			note := "doomed, the blob has others"
			if cl.Rcd&sb != 0 {
				note = "kept, the blob is damaged"
			}
			s.do(Step{Op: OpGiveUp, A: n, B: i, Note: note})
		}
		s.undo()
	}
	good := cl.Rcd & cl.Files &^ cl.Bad
	if good&^cl.Ok&^cl.Hashed&sb != 0 && !c.S3 && w.Mem[n] == Member && (w.leaving() || c.Rules.OldVouch) {
		cl.Hashed |= sb
		s.do(Step{Op: OpHash, A: n, B: i})
	}
	if cl.VD&b != 0 && cl.Doom&sb != 0 && (cl.Files&sb == 0 || c.Rules.ConfirmUnremoved) && !c.Rules.NeverConfirm {
		c.enter(w)
		cl.Doom &^= sb
		if c.Rules.ConfirmUnremoved {
			cl.VD &^= b
		}
		s.do(Step{Op: OpConfirm, A: n, B: i})
	}
}

// sweep is what node n does about a file that it may think nobody needs.
func (s *stepper) sweep(n, i int) {
	c, w := s.c, &s.w
	r := &c.Rules
	cl := &w.C[i]
	st := c.store(n)
	b, sb := uint8(1)<<n, uint8(1)<<st
	if c.mayDelete(n, cl) {
		cl.Files &^= sb
		note := "it is unknown"
		if cl.VD&b != 0 {
			note = "it is doomed"
		}
		if r.DigestIsName {
			for j := range w.C {
				if c.dig(&w.C[j]) == c.dig(cl) && w.C[j].Phase != Unused {
					w.C[j].Files &^= sb
				}
			}
		}
		s.do(Step{Op: OpRemove, A: n, B: i, Note: note})
	}
	if !r.NoSweep && cl.Mk[st] == 0 && (cl.Rcd|cl.Doom)&sb == 0 {
		c.enter(w)
		c.view(w, n)
		cl.Mk[st] = 1
		s.do(Step{Op: OpMark, A: n, B: i})
	}
	if r.SweepOwnTime && c.S3 && cl.Mk[st] == 0 && (cl.VR|cl.VD)&b == 0 {
		cl.Mk[st] = 1 + min(c.S, w.Lag[n])
		s.do(Step{Op: OpMarkLocal, A: n, B: i})
	}
}

// rot: a recorded copy goes bad.
func (s *stepper) rot(n, i int) {
	c, w := s.c, &s.w
	cl := &w.C[i]
	sb := uint8(1) << n
	if w.Rots == 0 || c.S3 || cl.Bad&sb != 0 || cl.Rcd&sb == 0 {
		return
	}
	s.use(&w.Rots)
	cl.Bad |= sb
	if d := c.dig(cl); w.Bud[d] > 0 {
		w.Bud[d]--
	}
	s.do(Step{Op: OpRot, A: i, B: n})
}

// lose: the disk of node n is gone.
func (c *Config) lose(w *World, n int) {
	b := uint8(1) << n
	w.Lost |= b
	for d := 0; d < c.D; d++ {
		for i := range w.C {
			if cl := &w.C[i]; cl.Phase != Unused && c.dig(cl) == d && cl.Rcd&cl.Files&^cl.Bad&b != 0 {
				if w.Bud[d] > 0 {
					w.Bud[d]--
				}
				break
			}
		}
	}
	for i := range w.C {
		cl := &w.C[i]
		cl.Files &^= b
		cl.VR, cl.VD, cl.Ripe = cl.VR&^b, cl.VD&^b, cl.Ripe&^b
	}
	w.Off &^= b
}
