package modelfsm_test

import (
	"bytes"
	"errors"
	"path/filepath"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/model"
)

// sound compares everything in the newest state with everything else.
func (r *run) sound() {
	view(r.newest, func(v fsm.View) {
		for _, line := range v.Check() {
			fail("%s", line)
		}
	})
}

// newUploads pushes every blob once more, on a copy of the newest state: as long as enough members are up, that must be
// accepted, whatever happened before.
func (r *run) newUploads() {
	var up []entry.Incarnation
	if r.S3 {
		up = append(up, entry.Incarnation{})
	}
	members := 0
	for n := range r.Slots {
		if r.S3 || r.m.Mem[n] != model.Member {
			continue
		}
		members++
		if (r.m.Lost|r.m.Off)&(1<<n) == 0 && len(up) < r.CW {
			up = append(up, r.nodes[n].incarnation)
		}
	}
	if len(up) < min(r.W, max(1, members)) {
		return
	}
	s := r.fork()
	defer func() { must(s.Close()) }()
	var entries []entry.Entry
	for d := range r.digests {
		cl := &claim{digest: d, stamp: r.now()}
		for i, incarnation := range up {
			cl.copies[i] = fsm.Location{Incarnation: incarnation, Copy: fsm.CopyID(r.name('f'))}
			cl.acks = append(cl.acks, i)
		}
		payload, err := fsm.Encode(r.blobStored(cl))
		must(err)
		entries = append(entries, entry.Entry{
			Index: uint64(len(r.log) + 1 + d), Term: r.term, Kind: entry.Command, Payload: payload,
			Envelope: entry.Envelope{Request: r.request(r.now()), Term: r.term, Time: r.now().Add(r.tick)},
		})
	}
	for d, result := range s.Apply(entries) {
		if err := s.Explain(result); err != nil {
			fail("a new upload of blob %d is refused: %w", d, err)
		}
	}
	view(s, func(v fsm.View) {
		for d, digest := range r.digests {
			if b, _ := v.Blob(fsm.DefaultStore, digest); b.Damaged || b.Counting < len(up) {
				fail("a new upload of blob %d, with %d copies, is acknowledged, and recorded is %+v", d, len(up), b)
			}
		}
	})
}

// fork is a copy of the newest state, by way of a snapshot.
func (r *run) fork() *fsm.State {
	i := entry.Incarnation(r.name('k'))
	s := r.open(i, filepath.Join(r.dir, i.String()))
	snapshot, err := r.newest.OpenSnapshot()
	must(err)
	p := snapshot.Position()
	err = s.Stage(snapshot)
	must(errors.Join(err, snapshot.Close(), s.Install(entry.Stamp{Index: p.Index, Term: p.Term})))
	return s
}

// runDown ends a run as model.Drains does: no clients, all stores mounted, one node perhaps gone for good, manifests
// deleted; time passes, and everybody does his work. Then nothing may be left.
func (r *run) runDown() {
	if n := r.r.IntN(2 * r.Slots); n < r.Slots && works(&r.m, n) && !r.S3 && r.healthyBut(n) {
		r.note("node %d is gone for good", n)
		must(r.nodes[n].close())
	}
	for _, put := range r.manifests {
		_ = r.propose(fsm.DeleteManifest{Repository: put.Repository, Digest: put.Digest}) // it may not be there
	}
	for range int(r.L+2*r.S) + 6 {
		r.pass(r.tick)
		r.collectAll()
		for n, x := range r.nodes {
			if x != nil {
				r.tidyUp(n, x)
			}
		}
	}
	r.allAlike()
	r.sound()
	r.nothingLeft()
}

// healthyBut reports whether there is a healthy member beside node n.
func (r *run) healthyBut(n int) bool {
	for m := range r.Slots {
		if m != n && r.m.Mem[m] == model.Member && works(&r.m, m) {
			return true
		}
	}
	return false
}

func (r *run) collectAll() {
	cmd := fsm.CollectBlobs{Store: fsm.DefaultStore}
	view(r.newest, func(v fsm.View) {
		cmd.Links, cmd.Digests = v.Expired(fsm.DefaultStore, 50), v.Unlinked(fsm.DefaultStore, "", 50)
	})
	if len(cmd.Links)+len(cmd.Digests) > 0 {
		must(r.accept(r.propose(cmd)))
	}
}

// tidyUp is the work of node n, and the leader's about it.
func (r *run) tidyUp(n int, x *node) {
	var state entry.NodeState
	var on []fsm.BlobName
	view(r.newest, func(v fsm.View) {
		node, _ := v.Node(x.incarnation)
		state, on = node.State, v.On(x.incarnation, fsm.BlobName{}, 100)
	})
	switch {
	case state == entry.Dropped:
		must(r.accept(r.propose(fsm.ClearNode{Incarnation: x.incarnation})))
	case x.state == nil:
		must(r.accept(r.propose(fsm.DropNode{Incarnation: x.incarnation, Lost: true})))
		return
	case state == entry.Retired && len(on) == 0:
		must(r.accept(r.propose(fsm.DropNode{Incarnation: x.incarnation})))
		must(x.close())
		return
	}
	if x.state != nil {
		r.catchUp(x)
		r.sweep(n, x)
	}
}

// sweep removes, confirms and marks what lies in a node's store.
func (r *run) sweep(n int, x *node) {
	at := entry.Incarnation{}
	if !r.S3 {
		at = x.incarnation
	}
	files := r.shelfOf(r.store(n))
	for id, f := range files {
		l := fsm.Location{Incarnation: at, Copy: id}
		if x.mayRemove(l, f) {
			delete(files, id)
		} else if !f.marked && x.sees(l) == fsm.CopyUnknown {
			f.marked, f.at = true, x.now
		}
	}
	var gone []fsm.CopyID
	view(x.state, func(v fsm.View) {
		for _, c := range v.Doomed(at, fsm.DoomedCopy{}, 100) {
			if files[c.Copy] == nil {
				gone = append(gone, c.Copy)
			}
		}
	})
	if len(gone) > 0 {
		must(r.accept(r.propose(fsm.CopyRemoved{Incarnation: at, Store: fsm.DefaultStore, Copies: gone})))
	}
}

// allAlike lets every node apply the whole log: the states must be the same (invariant 7).
func (r *run) allAlike() {
	r.tell(r.now())
	want, _ := r.newest.Hash(r.hashed)
	for _, n := range r.nodes {
		if n == nil || n.state == nil {
			continue
		}
		r.catchUp(n)
		if have, ok := n.state.Hash(r.hashed); ok && !bytes.Equal(have, want) {
			fail("at entry %d the hash of node %s is %x, elsewhere %x", r.hashed, n.incarnation, have, want)
		}
	}
}

func (r *run) nothingLeft() {
	view(r.newest, func(v fsm.View) {
		for d, digest := range r.digests {
			if b, known := v.Blob(fsm.DefaultStore, digest); known {
				fail("the record of blob %d stays: %+v", d, b)
			}
		}
		if left := v.Doomed(entry.Incarnation{}, fsm.DoomedCopy{}, 1); len(left) > 0 {
			fail("the doomed entry of copy %s stays", left[0].Copy)
		}
		for _, n := range v.Nodes() {
			if left := v.Doomed(n.Incarnation, fsm.DoomedCopy{}, 1); len(left) > 0 {
				fail("the doomed entry of copy %s on %s stays", left[0].Copy, n.Incarnation)
			}
			if n.State == entry.Retired {
				fail("node %s is retired and never removed", n.Incarnation)
			}
		}
	})
	for n := range r.nodes {
		for id := range r.shelfOf(r.store(n)) {
			fail("the file of copy %s stays on node %d", id, n)
		}
	}
}
