package fsm_test

import (
	"bytes"
	"slices"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// operation is a command with what it must do to the model. predict changes the model unless it refuses.
type operation struct {
	name       string
	command    fsm.Command
	payload    []byte
	leaseStore string // of a command that starts a lease
	content    bool   // it changes what the registry has
	predict    func(m *model) (any, *fsm.Refusal)
	decode     func(r entry.Result) (any, error)
}

// operationOf pairs a command with its prediction.
func operationOf[R any](cmd fsm.CommandOf[R], predict func(m *model) (R, *fsm.Refusal)) (operation, error) {
	payload, err := fsm.Encode(cmd)
	if err != nil {
		return operation{}, err
	}
	op := operation{
		name:    string(payload[1 : 1+payload[0]]),
		command: cmd,
		payload: payload,
		predict: func(m *model) (any, *fsm.Refusal) { return predict(m) },
		decode:  func(r entry.Result) (any, error) { return fsm.Decode(cmd, r) },
	}
	switch any(cmd).(type) {
	case fsm.BlobStored, fsm.Mount, fsm.DeleteBlob, fsm.PutManifest, fsm.DeleteManifest, fsm.DeleteTag, fsm.RestoreTag:
		op.content = true
	}
	switch c := any(cmd).(type) {
	case fsm.BlobStored:
		op.leaseStore = c.Store
	case fsm.Mount:
		op.leaseStore = c.Store
	case fsm.RenewLease:
		op.leaseStore = c.Store
	case fsm.MoveLink:
		op.leaseStore = c.To
	}
	return op, nil
}

func nothing(*model) (fsm.None, *fsm.Refusal) { return fsm.None{}, nil }

func (m *model) setStoreCommand(c fsm.SetStore) (fsm.None, *fsm.Refusal) {
	if s, set := m.stores[c.Name]; set && s.place != c.Place && m.holdsOf(c.Name) {
		return fsm.None{}, fsm.ErrStoreElsewhere
	}
	m.setStore(c)
	return fsm.None{}, nil
}

func (m *model) clusterFormed(c fsm.ClusterFormed) (fsm.None, *fsm.Refusal) {
	if m.cluster != nil && !bytes.Equal(m.cluster, c.ID) {
		return fsm.None{}, fsm.ErrClusterFormed
	}
	m.cluster = c.ID
	return fsm.None{}, nil
}

func (m *model) nodeStarted(c fsm.NodeStarted) (fsm.None, *fsm.Refusal) {
	n := c.Node
	state := m.state(n.Incarnation)
	switch {
	case n.Level < 1:
		return fsm.None{}, fsm.ErrLevelTooLow
	case state == 0 && slices.Contains(m.ghosts(true), n.Incarnation):
		return fsm.None{}, fsm.ErrNotCleared
	case state == entry.Dropped:
		return fsm.None{}, fsm.ErrNodeDropped
	case state == entry.Member, state == entry.Retired:
		n.State = state
	case n.State != entry.Replica:
		n.State = entry.Joining
	}
	m.nodes[n.Incarnation] = n
	return fsm.None{}, nil
}

func (m *model) become(i entry.Incarnation, state entry.NodeState) {
	n := m.nodes[i]
	n.State = state
	m.nodes[i] = n
	if state != entry.Member {
		delete(m.draining, i)
	}
}

func (m *model) nodeJoined(c fsm.NodeJoined) (fsm.None, *fsm.Refusal) {
	switch m.state(c.Incarnation) {
	case entry.Joining, entry.Member, entry.Replica:
		m.become(c.Incarnation, entry.Member)
		return fsm.None{}, nil
	case entry.Retired:
		return fsm.None{}, fsm.ErrNodeRetired
	case entry.Dropped:
		return fsm.None{}, fsm.ErrNodeDropped
	default:
		return fsm.None{}, fsm.ErrNodeUnknown
	}
}

func (m *model) drainNode(c fsm.DrainNode) (fsm.None, *fsm.Refusal) {
	switch state := m.state(c.Incarnation); {
	case state == 0:
		return fsm.None{}, fsm.ErrNodeUnknown
	case state != entry.Member:
		return fsm.None{}, fsm.ErrNodeNoMember
	case c.Undo:
		delete(m.draining, c.Incarnation)
		return fsm.None{}, nil
	case m.draining[c.Incarnation]:
		return fsm.None{}, nil
	}
	for _, s := range m.stores {
		if s.replicas > m.members()-len(m.draining)-1 {
			return fsm.None{}, fsm.ErrTooFewNodes
		}
	}
	m.draining[c.Incarnation] = true
	return fsm.None{}, nil
}

func (m *model) retireNode(c fsm.RetireNode) (fsm.None, *fsm.Refusal) {
	switch state := m.state(c.Incarnation); {
	case state == 0:
		return fsm.None{}, fsm.ErrNodeUnknown
	case state == entry.Dropped:
		return fsm.None{}, fsm.ErrNodeDropped
	case state == entry.Member && m.members() == 1:
		return fsm.None{}, fsm.ErrLastMember
	case state != entry.Retired:
		m.become(c.Incarnation, entry.Retired)
		m.retirements++
	}
	return fsm.None{}, nil
}

// on lists the blobs with a location on a node.
func (m *model) on(i entry.Incarnation) []fsm.BlobName {
	var all []fsm.BlobName
	for name, b := range m.blobs {
		if b.on(i) >= 0 {
			all = append(all, name)
		}
	}
	sortBlobs(all)
	return all
}

func sortBlobs(all []fsm.BlobName) {
	slices.SortFunc(all, func(a, b fsm.BlobName) int {
		return bytes.Compare([]byte(a.Store+"\x00"+string(a.Digest)), []byte(b.Store+"\x00"+string(b.Digest)))
	})
}

// sole lists the undamaged blobs whose only location is on a node.
func (m *model) sole(i entry.Incarnation) []fsm.BlobName {
	return slices.DeleteFunc(m.on(i), func(name fsm.BlobName) bool {
		return len(m.blobs[name].copies) > 1 || m.blobs[name].damaged
	})
}

// ghosts are the nodes that hold nothing and of which something is still recorded.
func (m *model) ghosts(doomedToo bool) []entry.Incarnation {
	all := map[string]bool{}
	for _, b := range m.blobs {
		for _, l := range b.copies {
			if !m.holds(l.Incarnation) {
				all[string(l.Incarnation[:])] = true
			}
		}
	}
	for c := range m.doomed {
		if doomedToo && !m.holds(c.at) {
			all[string(c.at[:])] = true
		}
	}
	var list []entry.Incarnation
	for _, i := range sorted(all) {
		list = append(list, entry.Incarnation([]byte(i)))
	}
	return list
}

func (m *model) dropNode(c fsm.DropNode) (fsm.None, *fsm.Refusal) {
	i := c.Incarnation
	switch state := m.state(i); {
	case state == 0:
		return fsm.None{}, fsm.ErrNodeUnknown
	case state == entry.Dropped:
		return fsm.None{}, nil
	case state != entry.Retired && !c.Lost:
		return fsm.None{}, fsm.ErrNodeNotRetired
	case state == entry.Member && m.members() == 1:
		return fsm.None{}, fsm.ErrLastMember
	case !c.Lost && len(m.on(i)) > 0:
		return fsm.None{}, fsm.ErrNodeHasCopies
	case c.Lost && c.UnlessSole && len(m.ghosts(false)) > 0:
		return fsm.None{}, fsm.ErrNotCleared
	case c.Lost && c.UnlessSole && len(m.sole(i)) > 0:
		return fsm.None{}, fsm.ErrSoleCopies
	case state != entry.Retired:
		m.retirements++
	}
	m.become(i, entry.Dropped)
	return fsm.None{}, nil
}

func (m *model) vouchCopies(c fsm.VouchCopies) (done fsm.CopiesVouched, _ *fsm.Refusal) {
	if m.state(c.Incarnation) != entry.Member {
		return done, fsm.ErrNodeNoMember
	}
	if c.Retirement != m.retirements {
		return done, fsm.ErrRetirement
	}
	for _, v := range c.Copies {
		if b := m.blobs[fsm.BlobName{Store: c.Store, Digest: v.Digest}]; b != nil {
			if at := b.find(fsm.Location{Incarnation: c.Incarnation, Copy: v.Copy}); at >= 0 {
				b.copies[at].vouched = m.retirements
				done.Copies++
			}
		}
	}
	return done, nil
}

func (m *model) dropCopies(c fsm.DropCopies) (done fsm.CopiesDropped, _ *fsm.Refusal) {
	if m.state(c.Incarnation) != entry.Retired {
		return done, fsm.ErrNodeNotRetired
	}
	for _, d := range c.Digests {
		b := m.blobs[fsm.BlobName{Store: c.Store, Digest: d}]
		if b == nil || b.on(c.Incarnation) < 0 || m.vouched(b) < m.need(c.Store) {
			continue
		}
		b.remove(b.on(c.Incarnation))
		done.Copies++
	}
	return done, nil
}

func (m *model) clearNode(c fsm.ClearNode) (done fsm.NodeCleared, _ *fsm.Refusal) {
	if state := m.state(c.Incarnation); state != 0 && state != entry.Dropped {
		return done, fsm.ErrNodeNotDropped
	}
	for _, name := range m.on(c.Incarnation) {
		b := m.blobs[name]
		b.remove(b.on(c.Incarnation))
		b.damaged = b.damaged || len(b.copies) == 0
		done.Locations++
	}
	for d := range m.doomed {
		if d.at == c.Incarnation {
			delete(m.doomed, d)
			done.Doomed++
		}
	}
	return done, nil
}

func (m *model) blobStored(c fsm.BlobStored) (fsm.None, *fsm.Refusal) {
	if refusal := m.copiesCome(c); refusal != nil {
		return fsm.None{}, refusal
	}
	m.lease(c.Repository, c.Store, c.Digest)
	return fsm.None{}, nil
}

// copiesCome records the copies of an upload, or says why not.
func (m *model) copiesCome(c fsm.BlobStored) *fsm.Refusal {
	if !m.fresh(c.Stamp, c.Store) {
		return fsm.ErrStampTooOld
	}
	var good []fsm.Location
	for _, l := range c.Locations {
		first := !slices.ContainsFunc(good, func(g fsm.Location) bool { return g.Incarnation == l.Incarnation })
		if m.counts(l.Incarnation) && m.takes(c.Store, l, c.Stamp) && !m.spent(c.Store, l, c.Digest) && first {
			good = append(good, l)
		}
	}
	need, vouched := m.need(c.Store), m.retirements
	if c.Unsummed {
		need, vouched = 1, max(m.retirements, 1)-1
	}
	if len(good) < need {
		return fsm.ErrTooFewCopies
	}
	name := fsm.BlobName{Store: c.Store, Digest: c.Digest}
	b := m.blobs[name]
	if b != nil && b.size != c.Size {
		return fsm.ErrBlobSize
	}
	if refusal := m.fitsBlob(c.Repository, c.Digest, c.Size); c.Repository != "" && refusal != nil {
		return refusal
	}
	if c.Unsummed && b != nil {
		if m.broken(b) {
			return fsm.ErrBlobDamaged
		}
		for _, l := range good {
			if b.find(l) < 0 {
				m.doom(c.Store, l)
			}
		}
		return nil
	}
	if b == nil {
		b = &modelBlob{}
		m.blobs[name] = b
	}
	b.size, b.damaged = c.Size, false
	for _, l := range good { // one copy a node, and the new one stays
		if at := b.on(l.Incarnation); at >= 0 {
			if old := b.remove(at); old != l {
				m.doom(c.Store, old)
			}
		}
	}
	replicas, _ := m.numbers(c.Store)
	for m.counting(b)+len(good) > replicas {
		at := slices.IndexFunc(b.copies, func(l modelLocation) bool { return m.counts(l.Incarnation) })
		if at < 0 {
			break
		}
		m.doom(c.Store, b.remove(at))
	}
	for _, l := range good {
		b.copies = append(b.copies, modelLocation{l, vouched})
	}
	return nil
}

func (m *model) moveRepository(c fsm.MoveRepository) (fsm.None, *fsm.Refusal) {
	switch {
	case m.repos[c.Repository] == nil:
		return fsm.None{}, fsm.ErrRepositoryUnknown
	case m.stores[c.To] == nil:
		return fsm.None{}, fsm.ErrStoreUnknown
	}
	m.repos[c.Repository].store = c.To
	return fsm.None{}, nil
}

func (m *model) moveLink(c fsm.MoveLink) (fsm.None, *fsm.Refusal) {
	r := m.repos[c.Repository]
	if r == nil || r.links[c.Digest].store == "" {
		return fsm.None{}, fsm.ErrBlobUnknown
	}
	if r.store != c.To || r.links[c.Digest].store != c.From {
		return fsm.None{}, fsm.ErrWrongStore
	}
	if !m.linkExists(c.Repository, c.Digest) {
		delete(r.links, c.Digest)
		return fsm.None{}, nil
	}
	b, size := m.blobs[fsm.BlobName{Store: c.To, Digest: c.Digest}], m.blobOf(c.Repository, c.Digest).size
	switch {
	case len(c.Locations) > 0 && c.Size != size, len(c.Locations) == 0 && b != nil && b.size != size:
		return fsm.None{}, fsm.ErrBlobSize
	case len(c.Locations) > 0:
		refusal := m.copiesCome(fsm.BlobStored{Store: c.To, Digest: c.Digest, Size: c.Size, Locations: c.Locations, Stamp: c.Stamp})
		if refusal != nil {
			return fsm.None{}, refusal
		}
	case b == nil:
		return fsm.None{}, fsm.ErrBlobUnknown
	case b.damaged || m.counting(b) < m.need(c.To):
		return fsm.None{}, fsm.ErrTooFewCopies
	}
	m.linkTo(c.Repository, c.Digest, modelLink{c.To, r.links[c.Digest].since})
	return fsm.None{}, nil
}

func (m *model) addCopy(c fsm.AddCopy) (done fsm.CopyAdded, _ *fsm.Refusal) {
	b := m.blobs[fsm.BlobName{Store: c.Store, Digest: c.Digest}]
	switch {
	case !m.fresh(c.Stamp, c.Store):
		return done, fsm.ErrStampTooOld
	case !m.counts(c.Location.Incarnation):
		return done, fsm.ErrNodeNoMember
	case !m.takes(c.Store, c.Location, c.Stamp):
		return done, fsm.ErrStoreElsewhere
	case b == nil:
		return done, fsm.ErrBlobUnknown
	case m.spent(c.Store, c.Location, c.Digest):
		return done, fsm.ErrCopySpent
	case b.find(c.Location) >= 0:
		return fsm.CopyAdded{Recorded: true}, nil
	case b.on(c.Location.Incarnation) >= 0:
		m.doom(c.Store, c.Location)
		return done, nil
	}
	if replicas, _ := m.numbers(c.Store); m.counting(b) >= replicas {
		at := -1
		if c.Instead != nil && m.counts(c.Instead.Incarnation) {
			at = b.find(*c.Instead)
		}
		if at < 0 {
			m.doom(c.Store, c.Location)
			return done, nil
		}
		m.doom(c.Store, b.remove(at))
	}
	b.copies = append(b.copies, modelLocation{c.Location, m.retirements})
	b.damaged = false
	return fsm.CopyAdded{Recorded: true}, nil
}

func (m *model) giveUpCopy(c fsm.GiveUpCopy) (done fsm.CopyGivenUp, _ *fsm.Refusal) {
	b := m.blobs[fsm.BlobName{Store: c.Store, Digest: c.Digest}]
	if b == nil || b.find(c.Location) < 0 {
		return done, fsm.ErrCopyUnknown
	}
	for _, l := range b.copies {
		if l.Location != c.Location && m.holds(l.Incarnation) {
			m.doom(c.Store, b.remove(b.find(c.Location)))
			return done, nil
		}
	}
	b.damaged = true
	return fsm.CopyGivenUp{Damaged: true}, nil
}

func (m *model) copyRemoved(c fsm.CopyRemoved) (fsm.None, *fsm.Refusal) {
	for _, id := range c.Copies {
		delete(m.doomed, modelCopy{c.Incarnation, c.Store, id})
	}
	return fsm.None{}, nil
}

// lease starts the lease of a link that nothing refers to; when that of others began does not matter.
func (m *model) lease(repository, store string, d fsm.Digest) {
	m.linkTo(repository, d, modelLink{store, m.now})
}

// linkTo makes a link what it is to be. One that comes from another store keeps the lease that it had there.
func (m *model) linkTo(repository string, d fsm.Digest, l modelLink) {
	r := m.repo(repository, l.store)
	if from := r.links[d].store; m.linkExists(repository, d) && from != l.store {
		highest, _ := m.delays(from)
		m.stretch(l.store, highest)
	}
	r.links[d] = l
}

func (m *model) mount(c fsm.Mount) (fsm.None, *fsm.Refusal) {
	if refusal := m.usable(c.From, c.Digest); refusal != nil {
		return fsm.None{}, refusal
	}
	to := m.repos[c.To]
	if m.repos[c.From].links[c.Digest].store != c.Store || to != nil && to.store != c.Store {
		return fsm.None{}, fsm.ErrWrongStore
	}
	if refusal := m.fitsBlob(c.To, c.Digest, m.blobOf(c.From, c.Digest).size); refusal != nil {
		return fsm.None{}, refusal
	}
	m.lease(c.To, c.Store, c.Digest)
	return fsm.None{}, nil
}

func (m *model) renewLease(c fsm.RenewLease) (fsm.None, *fsm.Refusal) {
	if refusal := m.usable(c.Repository, c.Digest); refusal != nil {
		return fsm.None{}, refusal
	}
	m.lease(c.Repository, m.repos[c.Repository].links[c.Digest].store, c.Digest)
	return fsm.None{}, nil
}

func (m *model) deleteBlob(c fsm.DeleteBlob) (fsm.None, *fsm.Refusal) {
	if !m.linkExists(c.Repository, c.Digest) {
		return fsm.None{}, fsm.ErrBlobUnknown
	}
	r := m.repos[c.Repository]
	if r.referencesTo(c.Digest) > 0 {
		return fsm.None{}, fsm.ErrBlobReferenced
	}
	delete(r.links, c.Digest)
	return fsm.None{}, nil
}

func (m *model) collectBlobs(c fsm.CollectBlobs) (done fsm.BlobsCollected, _ *fsm.Refusal) {
	digests := slices.Clone(c.Digests)
	for _, l := range c.Links {
		r := m.repos[l.Repository]
		if r == nil || m.linkExists(l.Repository, l.Digest) {
			continue
		}
		if link, recorded := r.links[l.Digest]; recorded && link.store == c.Store {
			delete(r.links, l.Digest)
			done.Links++
			digests = append(digests, l.Digest)
		}
	}
	for _, d := range digests {
		name := fsm.BlobName{Store: c.Store, Digest: d}
		b := m.blobs[name]
		if b == nil || len(m.linksOf(name)) > 0 {
			continue
		}
		for _, l := range b.copies {
			m.doom(c.Store, l.Location)
		}
		delete(m.blobs, name)
		done.Blobs++
		done.Copies += len(b.copies)
		done.Bytes += int64(len(b.copies)) * b.size
	}
	return done, nil
}
