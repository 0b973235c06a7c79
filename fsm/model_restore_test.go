package fsm_test

import (
	"slices"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// restoreBackup restores a backup of the present state into two new replicas, which go on in its place.
func (r *run) restoreBackup() {
	saved := r.saved()
	defer func() { r.must(saved.Close()) }()
	r.shut(r.first, true)
	r.shut(r.second, true)
	before := *r.m
	r.first, r.second = r.open(r.newDir(), node(201)), r.open(r.newDir(), node(202))
	r.index, r.log, *r.m = 0, nil, *newModel()
	r.m.date = before.date
	r.settle()

	begin, err := saved.Begin()
	r.must(err)
	r.step(operationOf(begin, func(m *model) (fsm.None, *fsm.Refusal) { m.restoring = true; return fsm.None{}, nil }))
	for at := (fsm.RestoreCursor{}); ; {
		next, more, err := saved.Next(at)
		r.must(err)
		if !more {
			break
		}
		r.step(operationOf(next, nothing))
		if chance(r.r, 30) {
			r.step(operationOf(next, func(*model) (fsm.None, *fsm.Refusal) { return fsm.None{}, fsm.ErrRestoreStep }))
		}
		for range between(r.r, 0, 1) { // what anybody does meanwhile
			r.index++
			r.add(r.g.next(r.index))
		}
		at = next.Through
	}
	end := fsm.EndRestore{Backup: saved.ID()}
	r.step(operationOf(end, func(m *model) (fsm.None, *fsm.Refusal) {
		m.restore(before)
		return fsm.None{}, nil
	}))
	r.step(operationOf(end, nothing))
	r.judge()
	r.sound()
	r.catchUp()
	r.sameHash()
}

// settle makes the new cluster of a run what it was at its beginning.
func (r *run) settle() {
	for _, name := range r.g.u.stores {
		op, err := r.storeOf(name, r.g.u)
		r.step(op, err)
	}
	for _, i := range r.g.u.nodes[:3] {
		r.step(r.nodeStarted(i), nil)
		c := fsm.NodeJoined{Incarnation: i}
		r.step(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.nodeJoined(c) }))
	}
	r.judge()
}

// step adds an entry that nobody sends again.
func (r *run) step(op operation, err error) {
	r.must(err)
	r.index++
	r.add(entry.Entry{
		Index: r.index, Term: r.g.term, Kind: entry.Command, Payload: op.payload,
		Envelope: entry.Envelope{Term: r.g.term, Time: r.m.now, Date: r.g.date},
	}, op)
}

func (r *run) must(err error) {
	if err != nil {
		r.t.Fatal(err)
	}
}

// saved is a backup of the first replica.
func (r *run) saved() *fsm.Saved {
	snapshot := r.snapshot()
	defer snapshot.close(r.t)
	saved, err := fsm.OpenSaved(r.newDir(), snapshot)
	r.must(err)
	return saved
}

// waits reports whether a command has to wait for the end of a restore.
func (m *model) waits(op operation) bool {
	switch op.command.(type) {
	case fsm.TermStarted, fsm.HashCheck, fsm.ClusterFormed, fsm.RaiseLevel, fsm.SpendToken, fsm.SetStore, fsm.SetProgress, fsm.SetLimits, fsm.SetReadOnly,
		fsm.NodeStarted, fsm.NodeJoined, fsm.DrainNode, fsm.RetireNode, fsm.DropNode, fsm.ClearNode,
		fsm.BeginRestore, fsm.RestoreRecords, fsm.EndRestore:
		return false
	default:
		return m.restoring
	}
}

// restore is what the end of a restore must have brought: all that the former cluster held and manifests need, without
// a copy, and without anything of its log.
func (m *model) restore(from model) {
	m.restoring = false
	m.keys, m.marks, m.trusted, m.repos = from.keys, from.marks, from.trusted, from.repos
	for _, repo := range m.repos {
		for d, l := range repo.links {
			if repo.referencesTo(d) == 0 {
				delete(repo.links, d)
				continue
			}
			name := fsm.BlobName{Store: l.store, Digest: d}
			m.blobs[name] = &modelBlob{size: from.blobs[name].size, damaged: true}
		}
		for _, man := range repo.manifests {
			man.touched = 0
		}
		for name, t := range repo.tags {
			t.by = 0
			repo.tags[name] = t
		}
		for d, p := range repo.pulls {
			p.by = 0
			repo.pulls[d] = p
		}
		var deletions []uint64
		for _, h := range repo.past {
			if h.deleted != 0 {
				deletions = append(deletions, h.deleted)
			}
		}
		slices.Sort(deletions)
		deletions = slices.Compact(deletions)
		for _, h := range repo.past {
			h.deleted = uint64(slices.Index(deletions, h.deleted) + 1) // 0 for none
		}
	}
}
