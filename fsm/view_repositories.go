package fsm

import "slices"

// Repository is a repository that exists.
type Repository struct {
	Name      string
	Store     string
	Manifests uint64
	Bytes     int64 // as in Used, of it alone
}

// Repository returns a repository.
//
// It fails with ErrRepositoryUnknown.
func (v View) Repository(name string) (Repository, error) {
	r, exists := v.repository(name)
	if !exists {
		return Repository{}, ErrRepositoryUnknown.with("%s", name)
	}
	return Repository{Name: name, Store: r.Store, Manifests: r.Manifests, Bytes: r.Bytes}, nil
}

// Repositories returns the names of all repositories, also of those with no manifest, from the one behind last on, n
// at most.
func (v View) Repositories(last string, n int) []string { return v.rest(repositories, nil, last, n) }

// Catalog returns the names of repositories with a manifest, from the one behind last on, n at most.
func (v View) Catalog(last string, n int) []string { return v.rest(catalog, nil, last, n) }

// Vacant returns repositories with neither manifest nor link, from the one behind last on, n at most.
func (v View) Vacant(last string, n int) []string { return v.rest(vacant, nil, last, n) }

// Tag is a tag that exists.
type Tag struct {
	Name     string
	Digest   Digest
	NamedAt  int64 // Unix milliseconds, when it came to name this manifest
	PushedAt int64 // Unix milliseconds, when it was pushed last, as what it is
}

// Tag returns a tag, and whether it exists.
func (v View) Tag(repository, tag string) (Tag, bool) {
	t, exists := v.tag(repository, tag)
	return Tag{tag, t.Digest, t.NamedAt, t.PushedAt}, exists
}

// Tags returns the tags of a repository in order, from the one behind last on, n at most.
func (v View) Tags(repository, last string, n int) []Tag {
	prefix := within(repository)
	start := prefix
	if last != "" {
		start = beyond(within(repository, last))
	}
	var all []Tag
	for key, value := range v.scan(tags, prefix, start) {
		if len(all) == n {
			break
		}
		t := mustDecode[tagRecord](value)
		all = append(all, Tag{string(key[len(prefix):]), t.Digest, t.NamedAt, t.PushedAt})
	}
	return all
}

// TagsOf returns the tags that name a manifest, from the one behind last on, n at most.
func (v View) TagsOf(repository string, d Digest, last string, n int) []string {
	return v.rest(tagged, within(repository, string(d)), last, n)
}

// TagHistory is what a tag named before, oldest first. It outlives the tag.
type TagHistory struct {
	Deleted bool // the tag does not exist now
	Entries []TagHistoryEntry
}

// TagHistoryEntry is one manifest that a tag named, and from when to when, in Unix milliseconds.
type TagHistoryEntry struct {
	Digest  Digest
	NamedAt int64
	Until   int64
}

// TagHistory returns the history of a tag; empty if it has none, or it is forgotten.
func (v View) TagHistory(repository, tag string) TagHistory {
	h := v.tagHistory(repository, tag)
	all := TagHistory{Deleted: h.Deleted != 0}
	for _, e := range h.Entries {
		all.Entries = append(all.Entries, TagHistoryEntry(e))
	}
	return all
}

// DeletedTags returns the deleted tags of a repository whose history is kept, the latest first. There are
// few.
func (v View) DeletedTags(repository string) []string {
	all := v.rest(untagged, within(repository), "", maxUntagged)
	for i := range all {
		all[i] = all[i][8:] // after the log index
	}
	slices.Reverse(all)
	return all
}
