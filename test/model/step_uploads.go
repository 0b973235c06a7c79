package model

import (
	"fmt"
	"math/bits"
)

// begin is the start of uploads and repairs.
func (s *stepper) begin() {
	c, w := s.c, &s.w
	free := c.slot(w)
	if free < 0 {
		return
	}
	var ages uint8
	for n := 0; n < c.Slots; n++ {
		if !w.works(n) || ages&(1<<w.Lag[n]) != 0 || w.Uploads == 0 {
			continue
		}
		ages |= 1 << w.Lag[n]
		for l := 0; l < c.D*c.Repos; l++ {
			s.use(&w.Uploads)
			w.C[free] = Claim{Phase: Open, Link: uint8(l), Age: w.Lag[n]}
			s.do(Step{Op: OpUpload, A: free, B: l % c.D, C: n, D: l / c.D, Note: fmt.Sprintf("repository %d", l/c.D)})
		}
	}
	if w.Repairs == 0 || c.S3 {
		return
	}
	for d := 0; d < c.D; d++ {
		if w.Rec[d] == 0 || c.trueCopies(w, d) == 0 || c.counted(w, d) >= c.R && !c.Replace {
			continue
		}
		for n := 0; n < c.Slots; n++ {
			if w.online(n) && w.Mem[n] == Member && c.recorded(w, d)&(1<<n) == 0 && c.source(w, d) {
				b := uint8(1) << n
				s.use(&w.Repairs)
				w.C[free] = Claim{Phase: Open, Repair: 1, Link: uint8(d), Age: w.Lag[n], Acks: b, Files: b}
				c.written(w, free, n)
				s.do(Step{Op: OpRepair, A: n, B: free, C: d, Note: "written"})
			}
		}
	}
}

// source: somebody can read a good copy of d.
func (c *Config) source(w *World, d int) bool {
	for i := range w.C {
		if cl := &w.C[i]; cl.Phase != Unused && c.dig(cl) == d && cl.Rcd&cl.Files&^cl.Bad&^w.Off != 0 {
			return true
		}
	}
	return false
}

// written: a file of claim i has just appeared on store n.
func (c *Config) written(w *World, i, n int) {
	if c.Rules.SweepOwnTime && !c.S3 {
		w.C[i].Mk[n] = 1 + min(c.S, w.Lag[n])
	}
}

// claim is what can happen to claim i.
func (s *stepper) claim(i int) {
	c, w := s.c, &s.w
	cl := &w.C[i]
	if cl.Phase == Open && cl.Repair == 0 {
		s.write(i)
	}
	if cl.Phase == Open && cl.Repair != 0 {
		s.addCopy(i)
	}
	again := cl.Phase == Done && cl.Repair == 0 && w.Dups > 0
	if cl.Phase == Open && cl.Repair == 0 || again && (c.Rules.NewIDPerPut || c.Rules.ForgetIDs) {
		s.blobStored(i)
	}
	if again && !c.Rules.NewIDPerPut && !c.Rules.ForgetIDs && cl.Req > 0 && cl.Void == 0 && w.Ent[cl.Link] < c.G+1 {
		w.Ent[cl.Link] = c.G + 1
		s.use(&w.Dups)
		s.do(Step{Op: OpRepeat, A: i, Note: "201, the stored result"})
	}
	if c.Rules.RestampByRename && w.Dups > 0 && cl.Repair == 0 && cl.Files != 0 && cl.Phase != Dead {
		if j := c.slot(w); j >= 0 {
			s.use(&w.Dups)
			w.C[j] = Claim{Phase: Open, Link: cl.Link, Acks: cl.Files, Files: cl.Files}
			cl.Files = 0
			s.do(Step{Op: OpRename, A: i, B: j})
		}
	}
	if cl.Phase == Open {
		cl.Phase = Dead
		s.do(Step{Op: OpGiveUpClaim, A: i})
	}
}

// write is one more copy of an upload.
func (s *stepper) write(i int) {
	c, w := s.c, &s.w
	cl := &w.C[i]
	d := c.dig(cl)
	for n := 0; n < c.Slots; n++ {
		st := c.store(n)
		b := uint8(1) << st
		if c.S3 && n > 0 || !c.S3 && !w.online(n) || cl.Acks&b != 0 || bits.OnesCount8(cl.Acks) >= c.CW {
			continue
		}
		if c.Rules.AckPresent {
			for j := range w.C {
				if o := &w.C[j]; j != i && o.Phase != Unused && c.dig(o) == d && o.Files&b != 0 {
					cl.Acks |= b
					s.do(Step{Op: OpHasIt, A: n, B: i})
					break
				}
			}
		}
		cl.Acks |= b
		cl.Files |= b
		c.written(w, i, st)
		s.do(Step{Op: OpWrite, A: st, B: i, C: d})
	}
}

// addCopy is the command of repair i, with and without a location that its copy replaces.
func (s *stepper) addCopy(i int) {
	c, w := s.c, &s.w
	cl := &w.C[i]
	d := c.dig(cl)
	lost := func() { // the disk was lost before its copy was recorded
		if cl.Rcd&w.Lost != 0 && w.Bud[d] > 0 {
			w.Bud[d]--
		}
	}
	c.enter(w)
	accepted := c.addCopy(w, i, -1)
	if accepted {
		lost()
	}
	s.judged(accepted, Step{Op: OpAddCopy, A: i, B: d, D: -1})
	for pick := 0; c.Replace && pick < MaxClaims*MaxNodes; pick++ {
		c.enter(w)
		if c.addCopy(w, i, pick) {
			lost()
			note := fmt.Sprintf("it replaces copy %d on node %d", pick/MaxNodes, pick%MaxNodes)
			s.do(Step{Op: OpAddCopy, A: i, B: d, D: pick, Note: note})
		}
		s.undo()
	}
}

// blobStored is the command of upload i, once for each choice of old copies that are too many.
func (s *stepper) blobStored(i int) {
	c, w := s.c, &s.w
	cl := &w.C[i]
	d := c.dig(cl)
	step := Step{Op: OpBlobStored, A: i, B: d, Note: "201"}
	seen := map[World]bool{}
	n := 1
	if c.R > c.W {
		n = MaxClaims * MaxNodes
	}
	for pick := range n {
		c.enter(w)
		was := cl.Phase
		if !c.blobStored(w, i, pick) {
			s.judged(false, step)
			return
		}
		if was == Done {
			s.use(&w.Dups)
		}
		w.Ent[cl.Link] = c.G + 1
		must := min(c.W, bits.OnesCount8(w.active()))
		if c.S3 {
			must = 1
		}
		must -= bits.OnesCount8(cl.Acks & w.Lost) // lost on the way
		w.Bud[d] = uint8(max(must, 0))
		if n > 1 {
			if seen[*w] {
				s.undo()
				continue
			}
			seen[*w] = true
		}
		s.do(step)
	}
}
