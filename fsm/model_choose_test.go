package fsm_test

import (
	"slices"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// command makes up a command of any kind; those that fill the state come more often.
func (g *generator) command() operation {
	readOnly := 1
	if g.m.readOnly != nil {
		readOnly = 20 // little can happen until it ends
	}
	kinds := []struct {
		weight int
		make   func() operation
	}{
		{1, g.quiet},
		{2, g.setStore},
		{2, g.setLimits},
		{readOnly, g.setReadOnly},
		{1, g.cluster},
		{4, g.nodeStarted},
		{4, g.nodeJoined},
		{2, g.drainNode},
		{2, g.retireNode},
		{3, g.dropNode},
		{5, g.vouchCopies},
		{4, g.dropCopies},
		{3, g.clearNode},
		{24, g.blobStored},
		{6, g.addCopy},
		{4, g.giveUpCopy},
		{4, g.copyRemoved},
		{6, g.mount},
		{5, g.renewLease},
		{4, g.deleteBlob},
		{8, g.collectBlobs},
		{24, g.putManifest},
		{8, g.deleteManifest},
		{6, g.deleteTag},
		{4, g.restoreTag},
		{2, g.recordPulls},
		{4, g.moveRepository},
		{12, g.moveLink},
		{3, g.collectRepositories},
		{8, g.aboutPeople},
	}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	at := between(g.r, 0, total-1)
	for _, k := range kinds {
		if at -= k.weight; at < 0 {
			return k.make()
		}
	}
	panic("unreachable")
}

func (g *generator) quiet() operation {
	if chance(g.r, 50) {
		return g.must(operationOf(fsm.TermStarted{}, nothing))
	}
	return g.must(operationOf(fsm.HashCheck{}, nothing))
}

func (g *generator) cluster() operation {
	if chance(g.r, 50) {
		return g.must(operationOf(fsm.RaiseLevel{Level: 2, Now: chance(g.r, 50)}, func(*model) (fsm.None, *fsm.Refusal) {
			return fsm.None{}, fsm.ErrLevelTooLow
		}))
	}
	c := fsm.ClusterFormed{Name: "prod", ID: []byte{byte(between(g.r, 1, 2))}}
	return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.clusterFormed(c) }))
}

func (g *generator) setStore() operation {
	c := fsm.SetStore{Name: pick(g.r, g.u.stores), GCDelay: pick(g.r, g.u.delays)}
	c.Replicas = between(g.r, 1, 3)
	c.WriteAcks = between(g.r, 1, c.Replicas)
	c.Place, _ = g.m.place(c.Name)
	if chance(g.r, 20) {
		c.Place = pick(g.r, []fsm.Place{{}, theBucket, {Bucket: "other"}})
	}
	if c.Place.IsBucket() {
		c.Replicas, c.WriteAcks = 1, 1
	}
	return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.setStoreCommand(c) }))
}

func (g *generator) nodeStarted() operation {
	i := pick(g.r, g.u.nodes)
	c := fsm.NodeStarted{Node: entry.Node{
		Incarnation: i, Name: "zot-" + i.Short(), Address: pick(g.r, []string{"here", "there"}), Level: 1,
		State: pick(g.r, []entry.NodeState{0, 0, entry.Member, entry.Replica}),
	}}
	if chance(g.r, 5) {
		c.Node.Level = 0
	}
	return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.nodeStarted(c) }))
}

// inState is a node in a state, if one is.
func (g *generator) inState(state entry.NodeState) entry.Incarnation {
	all := slices.DeleteFunc(slices.Clone(g.u.nodes), func(i entry.Incarnation) bool { return g.m.state(i) != state })
	if len(all) == 0 || chance(g.r, 5) {
		return pick(g.r, g.u.nodes)
	}
	return pick(g.r, all)
}

func (g *generator) nodeJoined() operation {
	c := fsm.NodeJoined{Incarnation: g.inState(entry.Joining)}
	return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.nodeJoined(c) }))
}

func (g *generator) drainNode() operation {
	c := fsm.DrainNode{Incarnation: g.inState(entry.Member), Undo: chance(g.r, 30)}
	return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.drainNode(c) }))
}

func (g *generator) retireNode() operation {
	c := fsm.RetireNode{Incarnation: pick(g.r, g.u.nodes)}
	return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.retireNode(c) }))
}

func (g *generator) dropNode() operation {
	state := pick(g.r, []entry.NodeState{entry.Retired, entry.Retired, entry.Retired, entry.Member, entry.Joining})
	c := fsm.DropNode{Incarnation: g.inState(state), Lost: chance(g.r, 50), UnlessSole: chance(g.r, 60)}
	return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.dropNode(c) }))
}

func (g *generator) vouchCopies() operation {
	name := g.blobName()
	c := fsm.VouchCopies{Incarnation: pick(g.r, g.u.nodes), Store: name.Store, Retirement: g.m.retirements}
	if b := g.m.blobs[name]; b != nil && len(b.copies) > 0 {
		l := pick(g.r, b.copies)
		c.Copies = append(c.Copies, fsm.BlobCopy{Digest: name.Digest, Copy: l.Copy})
		if !l.Incarnation.IsZero() {
			c.Incarnation = l.Incarnation
		}
	}
	if chance(g.r, 5) {
		c.Retirement++
	}
	c.Copies = append(c.Copies, fsm.BlobCopy{Digest: pick(g.r, g.u.digests), Copy: g.copyID()})
	return g.must(operationOf(c, func(m *model) (fsm.CopiesVouched, *fsm.Refusal) { return m.vouchCopies(c) }))
}

func (g *generator) dropCopies() operation {
	c := fsm.DropCopies{Incarnation: g.inState(entry.Retired), Store: pick(g.r, g.u.stores), Digests: g.u.digests}
	return g.must(operationOf(c, func(m *model) (fsm.CopiesDropped, *fsm.Refusal) { return m.dropCopies(c) }))
}

func (g *generator) clearNode() operation {
	c := fsm.ClearNode{Incarnation: g.inState(entry.Dropped)}
	if ghosts := g.m.ghosts(true); len(ghosts) > 0 && chance(g.r, 50) {
		c.Incarnation = pick(g.r, ghosts)
	}
	return g.must(operationOf(c, func(m *model) (fsm.NodeCleared, *fsm.Refusal) { return m.clearNode(c) }))
}

func (g *generator) blobStored() operation {
	name := pick(g.r, g.u.repositories)
	d := pick(g.r, g.u.blobs)
	store := g.home(name)
	c := fsm.BlobStored{Repository: name, Store: store, Digest: d, Size: int64(d[1]), Stamp: g.stamp(), Unsummed: chance(g.r, 20)}
	b := g.m.blobs[fsm.BlobName{Store: store, Digest: d}]
	if b != nil && chance(g.r, 3) {
		c.Size++
	}
	for range between(g.r, 1, 5) {
		c.Locations = append(c.Locations, g.location(store, b))
	}
	return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.blobStored(c) }))
}

func (g *generator) addCopy() operation {
	name := g.blobName()
	b := g.m.blobs[name]
	c := fsm.AddCopy{Store: name.Store, Digest: name.Digest, Location: g.location(name.Store, b), Stamp: g.stamp()}
	if b != nil && len(b.copies) > 0 && chance(g.r, 50) {
		l := pick(g.r, b.copies).Location
		c.Instead = &l
	}
	return g.must(operationOf(c, func(m *model) (fsm.CopyAdded, *fsm.Refusal) { return m.addCopy(c) }))
}

func (g *generator) giveUpCopy() operation {
	name := g.blobName()
	c := fsm.GiveUpCopy{Store: name.Store, Digest: name.Digest, Location: g.location(name.Store, nil)}
	if b := g.m.blobs[name]; b != nil && len(b.copies) > 0 && chance(g.r, 90) {
		c.Location = pick(g.r, b.copies).Location
	}
	return g.must(operationOf(c, func(m *model) (fsm.CopyGivenUp, *fsm.Refusal) { return m.giveUpCopy(c) }))
}

func (g *generator) copyRemoved() operation {
	c := fsm.CopyRemoved{Incarnation: pick(g.r, append(slices.Clone(g.u.nodes), entry.Incarnation{})), Store: pick(g.r, g.u.stores)}
	c.Copies = []fsm.CopyID{g.copyID()}
	for _, d := range (modelFacts{g.m}).doomedOn(c.Incarnation) {
		if d.Store == c.Store && chance(g.r, 80) {
			c.Copies = append(c.Copies, d.Copy)
		}
	}
	return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.copyRemoved(c) }))
}

func (g *generator) mount() operation {
	c := fsm.Mount{From: pick(g.r, g.u.repositories), To: pick(g.r, g.u.repositories), Digest: pick(g.r, g.u.blobs)}
	if r := g.m.repos[c.From]; r != nil && len(r.links) > 0 && chance(g.r, 80) {
		c.Digest = pick(g.r, sorted(r.links))
	}
	c.Store = g.home(c.From)
	return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.mount(c) }))
}

func (g *generator) moveRepository() operation {
	c := fsm.MoveRepository{Repository: pick(g.r, g.u.repositories), To: pick(g.r, g.u.stores)}
	if chance(g.r, 5) {
		c.To = "unknown"
	}
	return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.moveRepository(c) }))
}

func (g *generator) moveLink() operation {
	name, d := g.linkName()
	if all := (modelFacts{g.m}).moving(); len(all) > 0 && chance(g.r, 90) {
		name = pick(g.r, all)
		d = pick(g.r, sorted(g.m.repos[name].links))
		if strays := (modelFacts{g.m}).strays(name); len(strays) > 0 && chance(g.r, 90) {
			d = pick(g.r, strays).Digest
		}
	}
	c := fsm.MoveLink{Repository: name, Digest: d, From: pick(g.r, g.u.stores), To: g.home(name)}
	if r := g.m.repos[name]; r != nil && r.links[d].store != "" && chance(g.r, 95) {
		c.From = r.links[d].store
	}
	for c.From == c.To {
		c.To = pick(g.r, g.u.stores)
	}
	if b := g.m.blobs[fsm.BlobName{Store: c.To, Digest: d}]; b == nil && chance(g.r, 90) || chance(g.r, 30) {
		c.Size, c.Stamp = int64(d[1]), g.stamp()
		if chance(g.r, 3) {
			c.Size++
		}
		for range between(g.r, 1, 4) {
			c.Locations = append(c.Locations, g.location(c.To, b))
		}
	}
	return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.moveLink(c) }))
}

// linkName is a link that is recorded, if one is.
func (g *generator) linkName() (name string, d fsm.Digest) {
	name = pick(g.r, g.u.repositories)
	if r := g.m.repos[name]; r != nil && len(r.links) > 0 {
		return name, pick(g.r, sorted(r.links))
	}
	return name, pick(g.r, g.u.blobs)
}

func (g *generator) renewLease() operation {
	name, d := g.linkName()
	c := fsm.RenewLease{Repository: name, Digest: d, Store: g.home(name)}
	return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.renewLease(c) }))
}

func (g *generator) deleteBlob() operation {
	name, d := g.linkName()
	c := fsm.DeleteBlob{Repository: name, Digest: d}
	return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.deleteBlob(c) }))
}

func (g *generator) collectBlobs() operation {
	store := pick(g.r, g.u.stores)
	c := fsm.CollectBlobs{Store: store, Digests: []fsm.Digest{pick(g.r, g.u.digests)}}
	if chance(g.r, 70) {
		c.Links = (modelFacts{g.m}).expired(store)
	}
	if chance(g.r, 70) {
		c.Digests = append(c.Digests, (modelFacts{g.m}).unlinked(store)...)
	}
	name, d := g.linkName()
	c.Links = append(c.Links, fsm.LinkName{Repository: name, Digest: d})
	return g.must(operationOf(c, func(m *model) (fsm.BlobsCollected, *fsm.Refusal) { return m.collectBlobs(c) }))
}

// possible are the manifests that a repository has all blobs and children for.
func (g *generator) possible(name string) []fsm.PutManifest {
	return slices.DeleteFunc(slices.Clone(g.u.manifests), func(c fsm.PutManifest) bool {
		lacksBlob := slices.ContainsFunc(c.Blobs, func(d fsm.Digest) bool { return g.m.usable(name, d) != nil })
		r := g.m.repos[name]
		return lacksBlob || slices.ContainsFunc(c.Manifests, func(d fsm.Digest) bool { return r == nil || r.manifests[d] == nil })
	})
}

func (g *generator) putManifest() operation {
	name := pick(g.r, g.u.repositories)
	c := pick(g.r, g.u.manifests)
	if all := g.possible(name); len(all) > 0 && chance(g.r, 80) {
		c = pick(g.r, all)
	}
	c.Repository = name
	c.Store = g.home(c.Repository)
	for _, tag := range some(g.r, g.u.tags) {
		c.Tags = append(c.Tags, fsm.TagMove{Tag: tag, If: g.condition(c.Repository, tag)})
	}
	return g.must(operationOf(c, func(m *model) (fsm.ManifestPut, *fsm.Refusal) { return m.putManifest(c) }))
}

// manifestName is a manifest that is there, if one is.
func (g *generator) manifestName() (name string, d fsm.Digest) {
	name = pick(g.r, g.u.repositories)
	if r := g.m.repos[name]; r != nil && len(r.manifests) > 0 {
		return name, pick(g.r, sorted(r.manifests))
	}
	return name, pick(g.r, g.u.manifests).Digest
}

func (g *generator) deleteManifest() operation {
	name, d := g.manifestName()
	c := fsm.DeleteManifest{Repository: name, Digest: d, AtMostOneTag: chance(g.r, 50)}
	if r := g.m.repos[name]; r != nil && chance(g.r, 60) {
		if all := r.loose(); len(all) > 0 {
			c.Digest = pick(g.r, all)
			c.UnneededAt = g.seen(r.manifests[c.Digest].touched, r.pulls[c.Digest].by)
		}
	}
	return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.deleteManifest(c) }))
}

// seen is an index at which somebody looked at the state: just now, or about when something happened.
func (g *generator) seen(happened ...uint64) uint64 {
	at := pick(g.r, append(happened, g.m.index))
	return at - min(at, uint64(between(g.r, 0, 1)))
}

func (g *generator) deleteTag() operation {
	name, tag := pick(g.r, g.u.repositories), pick(g.r, g.u.tags)
	if r := g.m.repos[name]; r != nil && len(r.tags) > 0 && chance(g.r, 80) {
		tag = pick(g.r, sorted(r.tags))
	}
	c := fsm.DeleteTag{Repository: name, Tag: tag, If: g.condition(name, tag)}
	if r := g.m.repos[name]; r != nil && chance(g.r, 60) {
		c.UnneededAt = g.seen(r.tags[tag].by, r.pulls[r.tags[tag].digest].by)
	}
	if chance(g.r, 30) {
		_, d := g.manifestName()
		c.Subject = []byte(d)[:pick(g.r, []int{0, 1, 10, len(d)})]
	}
	return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.deleteTag(c) }))
}

func (g *generator) restoreTag() operation {
	name, tag := pick(g.r, g.u.repositories), pick(g.r, g.u.tags)
	if r := g.m.repos[name]; r != nil && len(r.past) > 0 && chance(g.r, 80) {
		tag = pick(g.r, sorted(r.past))
	}
	c := fsm.RestoreTag{Repository: name, Tag: tag, Digest: pick(g.r, g.u.manifests).Digest, If: g.condition(name, tag)}
	if r := g.m.repos[name]; r != nil && r.past[tag] != nil {
		c.Digest = pick(g.r, r.past[tag].entries).Digest
	}
	return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.restoreTag(c) }))
}

func (g *generator) recordPulls() operation {
	name, d := g.manifestName()
	c := fsm.RecordPulls{Pulls: []fsm.Pull{{Repository: name, Digest: d, Count: 3}, {Repository: "c", Digest: d, Count: 1}}}
	return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.recordPulls(c) }))
}

func (g *generator) collectRepositories() operation {
	c := fsm.CollectRepositories{Repositories: append(some(g.r, g.u.repositories), pick(g.r, g.u.repositories))}
	return g.must(operationOf(c, func(m *model) (fsm.RepositoriesCollected, *fsm.Refusal) { return m.collectRepositories(c) }))
}
