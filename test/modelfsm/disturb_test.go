package modelfsm_test

import (
	"bytes"
	"errors"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/model"
)

// disturb does, now and then, something that may have no effect at all.
func (r *run) disturb() {
	if r.r.IntN(3) > 0 {
		return
	}
	all := []struct {
		what string
		do   func() bool // whether it was possible
	}{
		{"an entry of an old term", r.oldTerm},
		{"an entry that was there before", r.again},
		{"a command whose stamp is too old", r.late},
		{"a vouching from before the last retirement", r.oldVouch},
		{"a command for a node that it is not for", r.wrongNode},
		{"a command for a copy that is not recorded", r.wrongCopy},
		{"CollectRepositories", r.collectRepositories},
		{"a restart", r.restartOne},
	}
	chosen := all[r.r.IntN(len(all))]
	r.lead = 0
	if !chosen.do() {
		return
	}
	r.note("nothing comes of %s", chosen.what)
	r.seen[disturbed]++
	r.seen["-- "+chosen.what]++
	r.unchanged(chosen.what)
}

// refuse proposes a command that must be refused for the reason given.
func (r *run) refuse(reason error, cmd fsm.Command) {
	if err := r.newest.Explain(r.propose(cmd)); !errors.Is(err, reason) {
		fail("%+v: %v, must be refused: %v", cmd, err, reason)
	}
}

// oldTerm appends what a deposed leader has wrapped, with its time: that is no entry at all (GC T1).
func (r *run) oldTerm() bool {
	if r.term == 1 && r.r.IntN(2) == 0 { // the term before is none
		return false
	}
	e := r.log[r.r.IntN(len(r.log))]
	e.Term = r.term
	e.Envelope.Term, e.Envelope.Time, e.Envelope.Request = r.term-1, r.now().Add(r.tick), r.request(r.now())
	if result := r.append(e); result.Outcome != entry.WrongTerm {
		fail("outcome %d of an entry of an old term", result.Outcome)
	}
	return true
}

// again appends an entry once more, as a retry does whose first answer was lost (invariant 9).
func (r *run) again() bool {
	i := r.r.IntN(len(r.log))
	if r.r.IntN(2) == 0 {
		i = max(0, len(r.log)-1-r.r.IntN(20)) // what is old is mostly expired
	}
	e := r.log[i]
	if e.Envelope.Request.IsZero() || r.results[i].Outcome == entry.WrongTerm {
		return false
	}
	e.Envelope.Time, e.Envelope.Term, e.Term = r.now(), r.term, r.term
	result := r.append(e)
	// Commands that start a lease are known for a window, the others for ten minutes.
	age := r.now().Sub(e.Envelope.Request.FirstTry)
	same := result.Outcome == r.results[i].Outcome && bytes.Equal(result.Bytes, r.results[i].Bytes)
	switch {
	case result.Outcome == entry.Expired && age <= r.numbers().Window:
		fail("entry %d is expired after %s", i+1, age)
	case result.Outcome != entry.Expired && !same:
		fail("entry %d gave %v, and the second time %v", i+1, r.newest.Explain(r.results[i]), r.newest.Explain(result))
	}
	return true
}

// late proposes the copies of a claim whose window is over, for the first time, with a request id of now.
func (r *run) late() bool {
	var late []*claim
	for _, cl := range append(r.past[max(0, len(r.past)-50):], r.claims[:]...) {
		if cl != nil && len(cl.acks) > 0 && r.now().Sub(cl.stamp) > r.numbers().Window {
			late = append(late, cl)
		}
	}
	if len(late) == 0 {
		return false
	}
	cl := late[r.r.IntN(len(late))]
	if cl.repair {
		r.refuse(fsm.ErrStampTooOld, fsm.AddCopy{
			Store: fsm.DefaultStore, Digest: r.digests[cl.digest], Location: cl.copies[cl.acks[0]], Stamp: cl.stamp,
		})
	} else {
		r.refuse(fsm.ErrStampTooOld, r.blobStored(cl))
	}
	return true
}

// oldVouch vouches for a recorded copy by a hashing from before the last RetireNode.
func (r *run) oldVouch() bool {
	retirement := uint64(0)
	view(r.newest, func(v fsm.View) { retirement = v.Retirement() })
	at, ok := r.recordedCopy(func(at place) bool { return r.m.Mem[at.store] == model.Member })
	if !ok || r.S3 || retirement == 0 {
		return false
	}
	cmd := r.vouchFor(at.claim, at.store)
	cmd.Retirement = r.r.Uint64N(retirement)
	r.refuse(fsm.ErrRetirement, cmd)
	return true
}

// recordedCopy draws a recorded copy.
func (r *run) recordedCopy(wanted func(place) bool) (place, bool) {
	var all []place
	for i, cl := range r.claims {
		for s := range model.MaxNodes {
			if at := (place{cl, i, s}); cl != nil && r.m.C[i].Rcd&(1<<s) != 0 && wanted(at) {
				all = append(all, at)
			}
		}
	}
	if len(all) == 0 {
		return place{}, false
	}
	return all[r.r.IntN(len(all))], true
}

// wrongNode asks for what a node in this state does not do.
func (r *run) wrongNode() bool {
	s := r.r.IntN(r.Slots)
	n := r.nodes[s]
	if n == nil {
		return false
	}
	i, d := n.incarnation, r.digests[r.r.IntN(r.D)]
	vouch := fsm.VouchCopies{Incarnation: i, Store: fsm.DefaultStore, Copies: []fsm.BlobCopy{{Digest: d}}}
	view(r.newest, func(v fsm.View) { vouch.Retirement = v.Retirement() })
	drop := fsm.DropCopies{Incarnation: i, Store: fsm.DefaultStore, Digests: []fsm.Digest{d}}
	started := fsm.NodeStarted{Node: entry.Node{Incarnation: i, Name: "again", Level: 1}}
	switch r.m.Mem[s] {
	case model.Member:
		r.refuse(fsm.ErrNodeNotRetired, drop)
		r.refuse(fsm.ErrNodeNotRetired, fsm.DropNode{Incarnation: i})
		r.refuse(fsm.ErrNodeNotDropped, fsm.ClearNode{Incarnation: i})
		must(r.accept(r.propose(started)))
		must(r.accept(r.propose(fsm.NodeJoined{Incarnation: i})))
		if done := decoded(vouch, r.propose(vouch)); done.Copies != 0 {
			fail("%d copies are vouched for that nobody has", done.Copies)
		}
	case model.Retired:
		r.refuse(fsm.ErrNodeNoMember, vouch)
		r.refuse(fsm.ErrNodeNotDropped, fsm.ClearNode{Incarnation: i})
		r.refuse(fsm.ErrNodeRetired, fsm.NodeJoined{Incarnation: i})
		must(r.accept(r.propose(started)))
		must(r.accept(r.propose(fsm.RetireNode{Incarnation: i})))
	case model.Removed:
		r.refuse(fsm.ErrNodeNotRetired, drop)
		r.refuse(fsm.ErrNodeNoMember, vouch)
		r.refuse(fsm.ErrNodeDropped, fsm.NodeJoined{Incarnation: i})
		r.refuse(fsm.ErrNodeDropped, started)
		r.refuse(fsm.ErrNodeDropped, fsm.RetireNode{Incarnation: i})
		must(r.accept(r.propose(fsm.DropNode{Incarnation: i})))
	}
	return true
}

// wrongCopy gives up, and confirms, what is not recorded, or not doomed; and confirms what is recorded.
func (r *run) wrongCopy() bool {
	l := fsm.Location{Copy: fsm.CopyID(r.name('x'))}
	if n := r.nodes[r.r.IntN(r.Slots)]; !r.S3 && n != nil {
		l.Incarnation = n.incarnation
	}
	d := r.digests[r.r.IntN(r.D)]
	r.refuse(fsm.ErrCopyUnknown, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: d, Location: l})
	gone := fsm.CopyRemoved{Incarnation: l.Incarnation, Store: fsm.DefaultStore, Copies: []fsm.CopyID{l.Copy}}
	if at, ok := r.recordedCopy(func(place) bool { return true }); ok {
		other := at.claim.copies[at.store]
		gone.Incarnation, gone.Copies = other.Incarnation, append(gone.Copies, other.Copy)
	}
	must(r.accept(r.propose(gone)))
	return true
}

func (r *run) collectRepositories() bool {
	var cmd fsm.CollectRepositories
	for n := range r.Repos {
		cmd.Repositories = append(cmd.Repositories, repository(n))
	}
	must(r.accept(r.propose(cmd)))
	return true
}

func (r *run) restartOne() bool {
	n := r.nodes[r.r.IntN(r.Slots)]
	if n == nil || n.state == nil || r.r.IntN(8) > 0 { // it takes long
		return false
	}
	r.restart(n)
	return true
}
