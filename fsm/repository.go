package fsm

// repositoryRecord says that a repository exists, and what keeps it from being collected.
type repositoryRecord struct {
	Store     string `cbor:"1,keyasint"`           // of the first write, for ever
	Manifests uint64 `cbor:"2,keyasint,omitempty"` // in it; the catalog lists it while there are any
	Links     uint64 `cbor:"3,keyasint,omitempty"` // link records, expired ones too
	Untagged  uint64 `cbor:"4,keyasint,omitempty"` // deleted tags whose history is kept
	Bytes     int64  `cbor:"5,keyasint,omitempty"` // see Used
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

// indexes lists where a repository stands beside its own record.
func (r repositoryRecord) indexes(name string) []indexKey {
	var all []indexKey
	if r.Manifests > 0 {
		all = append(all, indexKey{bucket: catalog, key: name})
	}
	if r.Manifests == 0 && r.Links == 0 {
		all = append(all, indexKey{bucket: vacant, key: name})
	}
	return all
}
