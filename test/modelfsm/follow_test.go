package modelfsm_test

import (
	"errors"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/model"
)

// can reports whether a step that the model allows can be done: here a node does less than the model lets it.
func (r *run) can(s model.Step) bool {
	switch s.Op {
	case model.OpBlobStored: // without a copy it is not admitted to the log
		return len(r.claims[s.A].acks) > 0
	case model.OpRepeat: // a first try that is too old is not answered
		return r.now().Sub(r.claims[s.A].stamp) <= r.numbers().Window
	case model.OpHash: // a holder vouches for what it knows, after a retirement that it knows
		n, l := r.nodes[s.A], r.claims[s.B].copies[s.A]
		retirement := uint64(0)
		view(r.newest, func(v fsm.View) { retirement = v.Retirement() })
		return n.retirement == retirement && n.sees(l) == fsm.CopyRecorded
	}
	return true
}

func (r *run) numbers() (n fsm.Numbers) {
	view(r.newest, func(v fsm.View) {
		s, _ := v.Store(fsm.DefaultStore)
		n = s.Numbers
	})
	return n
}

// follow does a step of the model for real. Before is the world in which it is done.
func (r *run) follow(s model.Step, before model.World) {
	switch s.Op {
	case model.OpTick:
		r.pass(r.tick)
	case model.OpLead, model.OpIdleEntry, model.OpUnmount, model.OpMount, model.OpGiveUpClaim:
		// Nothing is done, or the model will not let something be done.
	case model.OpNewLeader:
		r.term++
		r.tell(r.now())
	case model.OpAdmit, model.OpApply, model.OpLoss, model.OpRetire, model.OpRetireLost, model.OpDrop, model.OpDropLost,
		model.OpDropLostMember, model.OpDropUnlessSole, model.OpDropCopies, model.OpClear:
		r.followNode(s)
	case model.OpUpload, model.OpRepair, model.OpWrite, model.OpBlobStored, model.OpRepeat, model.OpAddCopy:
		r.followClaim(s)
	case model.OpHead, model.OpHeadRenews, model.OpMountBlob, model.OpDeleteBlob, model.OpPut, model.OpDeleteManifest, model.OpCollect:
		r.followClient(s, before)
	case model.OpRemove, model.OpMark, model.OpRot, model.OpGiveUp, model.OpHash, model.OpVouch, model.OpConfirm:
		r.followFile(s)
	default:
		fail("a step that is not known: %s", s)
	}
}

// judge compares what became of a command with what the model says. If it refuses, it is for one of these reasons.
func (r *run) judge(s model.Step, result entry.Result, reasons ...error) {
	err := r.newest.Explain(result)
	if !s.Refused {
		if err != nil {
			fail("refused, and the model accepts it: %w", err)
		}
		return
	}
	for _, reason := range reasons {
		if errors.Is(err, reason) {
			return
		}
	}
	fail("the model refuses it; outcome %d: %v", result.Outcome, err)
}

// count compares how much a command has done with whether the model says that it does anything.
func (r *run) count(s model.Step, done int) {
	if want := !s.Refused; (done == 1) != want || done > 1 {
		fail("%d were done, and the model says %v", done, want)
	}
}

// decoded is the result of a command that must have been applied.
func decoded[R any](cmd fsm.CommandOf[R], result entry.Result) R {
	v, err := fsm.Decode(cmd, result)
	must(err)
	return v
}

func (r *run) followNode(s model.Step) {
	if s.Op == model.OpAdmit {
		r.admit(s.A)
		return
	}
	n := r.nodes[s.A]
	i := n.incarnation
	switch s.Op {
	case model.OpApply:
		r.catchUp(n)
	case model.OpLoss:
		must(n.close())
	case model.OpRetire, model.OpRetireLost:
		r.judge(s, r.propose(fsm.RetireNode{Incarnation: i}), fsm.ErrLastMember)
	case model.OpDropCopies:
		cmd := fsm.DropCopies{Incarnation: i, Store: fsm.DefaultStore, Digests: []fsm.Digest{r.digests[s.B]}}
		r.count(s, decoded(cmd, r.propose(cmd)).Copies)
	case model.OpDrop:
		r.judge(s, r.propose(fsm.DropNode{Incarnation: i}), fsm.ErrNodeHasCopies, fsm.ErrNodeNotRetired)
		if !s.Refused {
			must(n.close())
		}
	case model.OpDropLost, model.OpDropLostMember:
		r.judge(s, r.propose(fsm.DropNode{Incarnation: i, Lost: true}))
	case model.OpDropUnlessSole:
		r.judge(s, r.propose(fsm.DropNode{Incarnation: i, Lost: true, UnlessSole: true}), fsm.ErrSoleCopies, fsm.ErrNotCleared)
	case model.OpClear:
		cmd := fsm.ClearNode{Incarnation: i}
		if decoded(cmd, r.propose(cmd)).Left {
			fail("something is left of node %s", i)
		}
	}
}

func (r *run) followClaim(s model.Step) {
	switch s.Op {
	case model.OpUpload:
		r.claims[s.A] = &claim{repo: s.D, digest: s.B, stamp: r.nodes[s.C].now}
	case model.OpRepair:
		r.claims[s.B] = &claim{repair: true, digest: s.C, stamp: r.nodes[s.A].now}
		r.write(s.B, s.A)
	case model.OpWrite:
		r.write(s.B, s.A)
	case model.OpBlobStored:
		cl := r.claims[s.A]
		result := r.proposeAs(r.request(cl.stamp), r.blobStored(cl))
		cl.proposed = len(r.log)
		r.judge(s, result, fsm.ErrTooFewCopies, fsm.ErrOutcomeUnknown) // the leader's time may end its window
	case model.OpRepeat:
		e := r.log[r.claims[s.A].proposed-1]
		e.Envelope.Time, e.Envelope.Term, e.Term = r.now(), r.term, r.term
		r.judge(s, r.append(e))
	case model.OpAddCopy:
		cl := r.claims[s.A]
		cmd := fsm.AddCopy{Store: fsm.DefaultStore, Digest: r.digests[cl.digest], Location: cl.copies[cl.acks[0]], Stamp: cl.stamp}
		if s.D >= 0 {
			cmd.Instead = &r.claims[s.D/model.MaxNodes].copies[s.D%model.MaxNodes]
		}
		result := r.proposeAs(r.request(cl.stamp), cmd)
		cl.proposed = len(r.log)
		r.judge(s, result, fsm.ErrNodeNoMember, fsm.ErrBlobUnknown, fsm.ErrStampTooOld)
	}
}

func (r *run) followClient(s model.Step, before model.World) {
	switch s.Op {
	case model.OpHead, model.OpHeadRenews:
		r.head(s)
	case model.OpMountBlob:
		cmd := fsm.Mount{From: repository(s.D), To: repository(s.B), Digest: r.digests[s.A], Store: fsm.DefaultStore}
		r.judge(s, r.propose(cmd), fsm.ErrBlobUnknown, fsm.ErrBlobDamaged)
	case model.OpDeleteBlob:
		cmd := fsm.DeleteBlob{Repository: repository(s.B), Digest: r.digests[s.A]}
		r.judge(s, r.propose(cmd), fsm.ErrBlobUnknown, fsm.ErrBlobReferenced)
	case model.OpPut:
		cmd := r.manifests[s.A]
		result := r.propose(cmd)
		r.judge(s, result, fsm.ErrManifestBlobUnknown)
		if !s.Refused && decoded(cmd, result).Created != (before.Man&(1<<s.A) == 0) {
			fail("whether the manifest was there is told wrong")
		}
	case model.OpDeleteManifest:
		put := r.manifests[s.A]
		r.judge(s, r.propose(fsm.DeleteManifest{Repository: put.Repository, Digest: put.Digest}), fsm.ErrManifestUnknown)
	case model.OpCollect:
		cmd := fsm.CollectBlobs{Store: fsm.DefaultStore, Digests: []fsm.Digest{r.digests[s.A]}}
		for rp := range r.Repos {
			cmd.Links = append(cmd.Links, fsm.LinkName{Repository: repository(rp), Digest: r.digests[s.A]})
		}
		r.count(s, decoded(cmd, r.propose(cmd)).Blobs)
	}
}

// head is a HEAD by a caller who may push (GC R16).
func (r *run) head(s model.Step) {
	name, d := repository(s.B), r.digests[s.A]
	var l fsm.Link
	var err error
	view(r.newest, func(v fsm.View) { l, err = v.Link(name, d) })
	if !s.Refused && (err != nil || l.Damaged || l.Renew != (s.Op == model.OpHeadRenews)) {
		fail("HEAD sees %+v, %v", l, err)
	}
	if s.Op == model.OpHeadRenews {
		r.judge(s, r.propose(fsm.RenewLease{Repository: name, Digest: d, Store: fsm.DefaultStore}), fsm.ErrBlobUnknown, fsm.ErrBlobDamaged)
	}
}

func (r *run) followFile(s model.Step) {
	if s.Op == model.OpRot {
		r.fileAt(s.B, r.claims[s.A]).bad = true
		return
	}
	n, cl, store := r.nodes[s.A], r.claims[s.B], r.store(s.A)
	l, f := cl.copies[store], r.fileAt(store, cl)
	switch s.Op {
	case model.OpRemove:
		if !n.mayRemove(l, f) {
			fail("node %d must not remove it: its state says %d of the copy", s.A, n.sees(l))
		}
		delete(r.shelfOf(store), l.Copy)
	case model.OpMark:
		r.enter()
		r.catchUp(n)
		if n.sees(l) != fsm.CopyUnknown {
			fail("the copy is known")
		}
		f.marked, f.at = true, n.now
	case model.OpGiveUp:
		r.judge(s, r.propose(fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: r.digests[cl.digest], Location: l}))
	case model.OpHash:
		cl.hashed[s.A] = n.retirement
	case model.OpVouch:
		cmd := r.vouchFor(cl, s.A)
		r.count(s, decoded(cmd, r.propose(cmd)).Copies)
	case model.OpConfirm:
		r.judge(s, r.propose(fsm.CopyRemoved{Incarnation: l.Incarnation, Store: fsm.DefaultStore, Copies: []fsm.CopyID{l.Copy}}))
	}
}

func (r *run) vouchFor(cl *claim, store int) fsm.VouchCopies {
	l := cl.copies[store]
	return fsm.VouchCopies{
		Incarnation: l.Incarnation, Store: fsm.DefaultStore, Retirement: cl.hashed[store],
		Copies: []fsm.BlobCopy{{Digest: r.digests[cl.digest], Copy: l.Copy}},
	}
}
