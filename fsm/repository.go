package fsm

import (
	"cmp"
	"slices"
)

// repositoryRecord says that a repository exists, and what keeps it from being collected.
type repositoryRecord struct {
	Store     string `cbor:"1,keyasint"`           // of new blobs: that of the first write, until it is moved
	Manifests uint64 `cbor:"2,keyasint,omitempty"` // in it; the catalog lists it while there are any
	Links     uint64 `cbor:"3,keyasint,omitempty"` // link records, expired ones too
	Untagged  uint64 `cbor:"4,keyasint,omitempty"` // deleted tags whose history is kept
	Bytes     int64  `cbor:"5,keyasint,omitempty"` // see Used
	InState   int64  `cbor:"6,keyasint,omitempty"` // of these, those of manifests in the state: the others are of links

	// Elsewhere has the links to blobs of other stores, by store, where there are any. The repository is moving as
	// long as it is not empty.
	Elsewhere []LinksIn `cbor:"7,keyasint,omitempty"`
}

// LinksIn is the links of a repository to blobs of a store, expired ones too, and the bytes of these blobs.
type LinksIn struct {
	Store string `cbor:"1,keyasint" json:"store"`
	Links uint64 `cbor:"2,keyasint" json:"links"`
	Bytes int64  `cbor:"3,keyasint,omitempty" json:"bytes"`
}

func (r reader) repository(name string) (repositoryRecord, bool) {
	return load[repositoryRecord](r, repositories, []byte(name))
}

// storeOf is the store of a repository, wanted for one that does not exist yet.
func (r reader) storeOf(name, wanted string) string {
	if repo, exists := r.repository(name); exists {
		return repo.Store
	}
	return wanted
}

// changeRepository makes a change to a repository's record, which begins to exist in store if it does
// not yet.
func (t *tx) changeRepository(name, store string, change func(*repositoryRecord)) {
	repo, exists := t.repository(name)
	var before []indexKey
	if exists {
		before = repo.indexes(name)
	} else {
		t.useStore(store)
		repo.Store = store
	}
	was := repo.used(exists)
	change(&repo)
	t.grow(name, repo.used(true).minus(was))
	t.save(repositories, []byte(name), repo)
	t.reindex(before, repo.indexes(name))
}

// removeRepository ends a repository that has nothing in it.
func (t *tx) removeRepository(name string) {
	repo, exists := t.repository(name)
	if !exists {
		return
	}
	t.grow(name, Used{}.minus(repo.used(true)))
	t.del(repositories, []byte(name))
	t.reindex(repo.indexes(name), nil)
}

// countManifest counts a manifest more, or less, and the bytes of its body in the state.
func (r *repositoryRecord) countManifest(change int, inState int64) {
	r.Manifests += uint64(change) //nolint:gosec // one more, or one less
	r.Bytes += inState
	r.InState += inState
}

// countLink counts a link record that has come to a store, or gone from it, and the bytes of its blob.
func (r *repositoryRecord) countLink(store string, change int, size int64) {
	one := uint64(change) //nolint:gosec // one more, or one less
	r.Links += one
	r.Bytes += size
	if store != r.Store {
		r.countElsewhere(LinksIn{store, one, size})
	}
}

// countElsewhere adds links to blobs of another store than the repository's.
func (r *repositoryRecord) countElsewhere(more LinksIn) {
	r.Elsewhere = slices.Clone(r.Elsewhere)
	at, found := slices.BinarySearchFunc(r.Elsewhere, more.Store, func(in LinksIn, store string) int { return cmp.Compare(in.Store, store) })
	if !found {
		r.Elsewhere = slices.Insert(r.Elsewhere, at, LinksIn{Store: more.Store})
	}
	r.Elsewhere[at].Links += more.Links
	r.Elsewhere[at].Bytes += more.Bytes
	if r.Elsewhere[at].Links == 0 {
		r.Elsewhere = slices.Delete(r.Elsewhere, at, at+1)
	}
}

// home is the links to blobs of the repository's own store.
func (r repositoryRecord) home() LinksIn {
	in := LinksIn{r.Store, r.Links, r.Bytes - r.InState}
	for _, e := range r.Elsewhere {
		in.Links -= e.Links
		in.Bytes -= e.Bytes
	}
	return in
}

// move makes another store that of new blobs: what was elsewhere there is at home now, and what was at home elsewhere.
func (r *repositoryRecord) move(to string) {
	home := r.home()
	r.Store = to
	r.Elsewhere = slices.DeleteFunc(slices.Clone(r.Elsewhere), func(in LinksIn) bool { return in.Store == to })
	if home.Links > 0 {
		r.countElsewhere(home)
	}
}

// indexes lists where a repository stands beside its own record.
func (r repositoryRecord) indexes(name string) []indexKey {
	var all []indexKey
	if r.Manifests > 0 {
		all = append(all, indexKey{bucket: catalog, key: name})
	}
	if r.Manifests == 0 && r.Links == 0 {
		all = append(all, indexKey{bucket: vacant, key: name})
	}
	if len(r.Elsewhere) > 0 {
		all = append(all, indexKey{bucket: moving, key: name})
	}
	return all
}
