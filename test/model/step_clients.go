package model

// link is what clients do about link l.
func (s *stepper) link(l int) {
	c, w := s.c, &s.w
	d, rp := l%c.D, l/c.D
	if w.Heads > 0 {
		s.head(l)
	}
	for from := d; w.Mounts > 0 && from < c.D*c.Repos; from += c.D {
		if from == l {
			continue
		}
		c.enter(w)
		accepted := c.mount(w, from, l)
		if accepted {
			s.use(&w.Mounts)
			w.Ent[l] = c.G + 1
		}
		s.judged(accepted, Step{Op: OpMountBlob, A: d, B: rp, D: from / c.D, Note: "201"})
	}
	if w.DelBlobs > 0 {
		c.enter(w)
		accepted := c.deleteBlob(w, l)
		if accepted {
			s.use(&w.DelBlobs)
		}
		s.judged(accepted, Step{Op: OpDeleteBlob, A: d, B: rp, Note: "202"})
	}
}

func (s *stepper) head(l int) {
	c, w := s.c, &s.w
	r := &c.Rules
	d, rp := l%c.D, l/c.D
	if r.HeadLocal {
		for n := 0; n < c.Slots; n++ {
			if w.works(n) && w.VL[n]&(1<<l) != 0 {
				s.use(&w.Heads)
				w.Ent[l] = c.G + 1
				s.do(Step{Op: OpHeadLocal, A: d, B: n, Note: "200"})
			}
		}
		return
	}
	if !c.usable(w, l) {
		s.judged(false, Step{Op: OpHeadRenews, A: d, B: rp})
		return
	}
	left := w.Rem[l]
	if (c.Idle || c.Early) && !r.HeadNoMargin {
		left -= min(left, 1) // the newest entry may be so old
	}
	if w.Cnt[l] == 0 && left < c.G+1 && !r.HeadNeverRenews {
		c.enter(w)
		accepted := c.renew(w, l) || r.HeadUnconfirmed
		if accepted {
			s.use(&w.Heads)
			w.Ent[l] = c.G + 1
		}
		s.judged(accepted, Step{Op: OpHeadRenews, A: d, B: rp, Note: "200"})
		return
	}
	if w.Ent[l] < c.G+1 {
		s.use(&w.Heads)
		w.Ent[l] = c.G + 1
		s.do(Step{Op: OpHead, A: d, B: rp, Note: "200"})
	}
}

// manifest is what clients do about manifest m.
func (s *stepper) manifest(m int) {
	c, w := s.c, &s.w
	if w.Puts > 0 && (w.Man&(1<<m) == 0 || c.Refusals) { // else nothing changes
		c.enter(w)
		accepted := c.putManifest(w, m)
		if accepted {
			s.use(&w.Puts)
		}
		s.judged(accepted, Step{Op: OpPut, A: m, Note: "201"})
	}
	if w.Dels > 0 {
		c.enter(w)
		accepted := c.deleteManifest(w, m)
		if accepted {
			s.use(&w.Dels)
		}
		s.judged(accepted, Step{Op: OpDeleteManifest, A: m, Note: "202"})
	}
	if w.Del[m] != 0 {
		c.enter(w)
		c.countDown(w, m)
		s.do(Step{Op: OpCountDown, A: m})
	}
	if c.Rules.ForgetIDs && w.Dups > 0 && w.ManWas&(1<<m) != 0 && w.Man&(1<<m) == 0 {
		s.use(&w.Dups)
		if c.putManifest(w, m) {
			w.Err = errAgain
			s.do(Step{Op: OpPutAgain, A: m})
		}
		s.undo()
	}
}
