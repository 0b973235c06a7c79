package modelfsm_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/model"
)

// picture is what the newest state says, in the product's words.
type picture struct {
	now     entry.Time
	blobs   []fsm.Blob
	known   []bool // which there are
	damaged map[fsm.Digest]bool
	links   []fsm.Link // by the model's number
	alive   []bool     // which there are
	there   []bool     // manifests
	states  [model.MaxNodes]entry.NodeState
	doomed  []place
	left    map[entry.Incarnation]bool // dropped nodes that something is recorded of
	wrong   string                     // what no model can say
}

func (r *run) picture() *picture {
	p := &picture{damaged: map[fsm.Digest]bool{}, left: map[entry.Incarnation]bool{}}
	view(r.newest, func(v fsm.View) {
		p.now = v.Time()
		for _, d := range v.Damaged(fsm.DefaultStore, "", r.D+1) {
			p.damaged[d] = true
		}
		for _, d := range r.digests {
			b, known := v.Blob(fsm.DefaultStore, d)
			p.blobs, p.known = append(p.blobs, b), append(p.known, known)
		}
		for l := range r.D * r.Repos {
			link, err := v.Link(repository(l/r.D), r.digests[l%r.D])
			p.links, p.alive = append(p.links, link), append(p.alive, err == nil)
		}
		for _, m := range r.manifests {
			_, there := v.Manifest(m.Repository, m.Digest)
			p.there = append(p.there, there)
		}
		for _, i := range v.Uncleared() {
			if p.left[i] = true; !slices.ContainsFunc(r.nodes[:], func(n *node) bool { return n != nil && n.incarnation == i }) {
				p.wrong = fmt.Sprintf("something is recorded of node %s, which is gone altogether", i)
			}
		}
		if r.S3 {
			r.doomedAt(v, p, entry.Incarnation{})
		}
		for s, n := range r.nodes {
			if n != nil {
				node, _ := v.Node(n.incarnation)
				p.states[s] = node.State
				r.doomedAt(v, p, n.incarnation)
			}
		}
	})
	return p
}

func (r *run) doomedAt(v fsm.View, p *picture, i entry.Incarnation) {
	for _, c := range v.Doomed(i, fsm.DoomedCopy{}, 100) {
		at, known := r.index[c.Copy]
		if !known {
			p.wrong = fmt.Sprintf("copy %s on %s is doomed, and nobody has to do with it any more", c.Copy, i)
		}
		p.doomed = append(p.doomed, at)
	}
}

// differences says how the real states differ from a world of the model, "" if they do not.
func (r *run) differences(p *picture, w *model.World) string {
	if p.wrong != "" {
		return p.wrong
	}
	have := *w // with what is not the states' but the model's own: phases, promises, what must be there
	if wrong := r.overlay(p, &have); wrong != "" {
		return wrong
	}
	if have != *w {
		return unequal(reflect.ValueOf(have), reflect.ValueOf(*w), "")
	}
	if broken := r.Check(&have); broken != "" {
		return broken
	}
	return ""
}

// overlay writes what the states say over a world.
func (r *run) overlay(p *picture, w *model.World) string {
	for n := range r.Slots {
		w.Mem[n] = r.stateOf(p, n, w.Mem[n])
	}
	for m := range r.Mans {
		set(&w.Man, m, p.there[m])
	}
	for i := range w.C {
		c := &w.C[i]
		c.Rcd, c.Doom, c.Ok, c.Files, c.Bad = 0, 0, 0, 0, 0
	}
	leaving := r.leaving(w)
	for d := range r.D {
		if wrong := r.overlayBlob(p, w, d, leaving); wrong != "" {
			return wrong
		}
	}
	for _, at := range p.doomed {
		if w.C[at.slot].Phase == model.Unused {
			return fmt.Sprintf("%s is doomed, and the model has forgotten it", at)
		}
		set(&w.C[at.slot].Doom, at.store, true)
	}
	for l := range p.links {
		if wrong := r.overlayLink(p, w, l); wrong != "" {
			return wrong
		}
	}
	for i, cl := range r.claims {
		if cl != nil {
			r.overlayFiles(p, w, i, cl)
		}
	}
	for n := range r.Slots {
		if works(w, n) {
			w.Lag[n] = uint8(min(r.ticks(p.now.Sub(r.nodes[n].now)), int(r.K)+1))
		}
	}
	return ""
}

// stateOf is what a node is. One that is dropped and of which nothing is recorded is as good as absent, once nobody means
// it any more, which the model knows.
func (r *run) stateOf(p *picture, n int, wanted uint8) uint8 {
	switch p.states[n] {
	case entry.Member:
		return model.Member
	case entry.Retired:
		return model.Retired
	case entry.Dropped:
		if wanted == model.Absent && !p.left[r.nodes[n].incarnation] {
			return model.Absent
		}
		return model.Removed
	default:
		return model.Absent
	}
}

func (r *run) leaving(w *model.World) bool {
	for n := range w.Mem {
		if w.Mem[n] == model.Retired && works(w, n) {
			return true
		}
	}
	return false
}

func works(w *model.World, n int) bool {
	return (w.Mem[n] == model.Member || w.Mem[n] == model.Retired) && w.Lost&(1<<n) == 0
}

func (r *run) overlayBlob(p *picture, w *model.World, d int, leaving bool) string {
	b := p.blobs[d]
	w.Rec[d] = 0
	if p.known[d] {
		w.Rec[d] = 1
	}
	if p.damaged[b.Digest] && p.known[d] {
		w.Rec[d] |= 2
	}
	for _, c := range b.Copies {
		at, known := r.index[c.Copy]
		switch {
		case !known:
			return fmt.Sprintf("blob %d has copy %s on %s, which nobody has to do with any more", d, c.Copy, c.Incarnation)
		case at.claim.digest != d || at.claim.copies[at.store] != c.Location:
			return fmt.Sprintf("blob %d has %s, which is another's", d, at)
		case w.C[at.slot].Phase == model.Unused:
			return fmt.Sprintf("blob %d has %s, which the model has forgotten", d, at)
		}
		set(&w.C[at.slot].Rcd, at.store, true)
		set(&w.C[at.slot].Ok, at.store, c.Vouched && leaving) // before the next one leaves nobody asks
	}
	return ""
}

func (r *run) overlayLink(p *picture, w *model.World, l int) string {
	link := p.links[l]
	w.Cnt[l], w.Rem[l] = 0, 0
	if !p.alive[l] {
		return ""
	}
	w.Cnt[l], w.Rem[l] = uint8(link.References), uint8(r.ticks(link.Left))
	d := l % r.D
	if good := w.Rec[d] == 1 && r.held(p, d); link.Damaged == good {
		return fmt.Sprintf("the link of blob %d in %s says damaged: %v", d, repository(l/r.D), link.Damaged)
	}
	if renew := w.Cnt[l] == 0 && w.Rem[l] <= r.G+1; link.Renew != renew {
		return fmt.Sprintf("the link of blob %d in %s has %s left and says renew: %v", d, repository(l/r.D), link.Left, link.Renew)
	}
	return ""
}

// held reports whether a copy of a blob can be read.
func (r *run) held(p *picture, d int) bool {
	for _, c := range p.blobs[d].Copies {
		if s := r.index[c.Copy].store; r.S3 || p.states[s] == entry.Member || p.states[s] == entry.Retired {
			return true
		}
	}
	return false
}

// overlayFiles is what lies on the disks of a claim, and what the nodes see of it.
func (r *run) overlayFiles(p *picture, w *model.World, i int, cl *claim) {
	c := &w.C[i]
	if c.Phase == model.Open || c.Phase == model.Done {
		c.Age = uint8(min(r.ticks(p.now.Sub(cl.stamp)), int(r.K)+1))
	}
	c.VR, c.VD, c.Ripe = 0, 0, 0
	for s := range model.MaxNodes {
		f := r.fileAt(s, cl)
		set(&c.Files, s, f != nil)
		set(&c.Bad, s, f != nil && f.bad)
	}
	for n := range r.Slots {
		s := r.store(n)
		f := r.fileAt(s, cl)
		if !works(w, n) || cl.copies[s].Copy == (fsm.CopyID{}) || !r.S3 && cl.copies[s].Incarnation != r.nodes[n].incarnation {
			continue
		}
		seen := r.nodes[n].sees(cl.copies[s])
		set(&c.VR, n, f != nil && seen == fsm.CopyRecorded) // without a file it makes no difference
		set(&c.VD, n, seen == fsm.CopyDoomed && (f != nil || c.Doom&(1<<s) != 0))
		set(&c.Ripe, n, f != nil && r.nodes[n].ripe(f))
	}
}

// ticks is how many ticks of the model a time is.
func (r *run) ticks(d time.Duration) int {
	if d%r.tick != 0 {
		fail("%s is no number of ticks", d)
	}
	return int(d / r.tick)
}

func set(mask *uint8, bit int, to bool) {
	if *mask &^= 1 << bit; to {
		*mask |= 1 << bit
	}
}

// unequal lists the fields in which two structs differ.
func unequal(have, want reflect.Value, path string) string {
	var b strings.Builder
	switch have.Kind() {
	case reflect.Struct:
		for i := range have.NumField() {
			b.WriteString(unequal(have.Field(i), want.Field(i), path+"."+have.Type().Field(i).Name))
		}
	case reflect.Array:
		for i := range have.Len() {
			b.WriteString(unequal(have.Index(i), want.Index(i), fmt.Sprintf("%s[%d]", path, i)))
		}
	default:
		if !have.Equal(want) {
			fmt.Fprintf(&b, "%s is %v, in the model %v; ", path, have, want)
		}
	}
	return b.String()
}
