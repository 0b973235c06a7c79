package fsm

import (
	"bytes"
	"slices"
)

// Repository is a repository that exists.
type Repository struct {
	Name      string
	Store     string // of new blobs
	Manifests uint64
	Bytes     int64     // as in Used, of it alone
	Links     LinksIn   // to blobs of its store, expired ones too
	Elsewhere []LinksIn // to those of others, by store: it is moving while there are any
}

// Repository returns a repository.
//
// It fails with ErrRepositoryUnknown.
func (v View) Repository(name string) (Repository, error) {
	r, exists := v.repository(name)
	if !exists {
		return Repository{}, ErrRepositoryUnknown.with("%s", name)
	}
	return r.export(name), nil
}

func (r repositoryRecord) export(name string) Repository {
	return Repository{Name: name, Store: r.Store, Manifests: r.Manifests, Bytes: r.Bytes, Links: r.home(), Elsewhere: r.Elsewhere}
}

// Moving returns repositories with links to blobs of another store than theirs, from the one behind last on, n at most.
func (v View) Moving(last string, n int) []string { return v.rest(moving, nil, last, n) }

// Stray is a link to a blob of another store than the repository's.
type Stray struct {
	Digest  Digest
	Store   string // where the blob is
	Size    int64  // of the blob
	Expired bool   // its lease has run out: it does not exist any more
}

// Stray returns a link of a repository, if it is one to a blob of another store than its own.
func (v View) Stray(repository string, d Digest) (Stray, bool) {
	repo, _ := v.repository(repository)
	l, recorded := v.link(repository, d)
	return v.stray(l, d), recorded && l.Store != repo.Store
}

// Strays looks at links of a repository, from the one behind after on, n at most, and returns those that are to blobs
// of another store than its own. Last is that of the link that was looked at last, "" if there are no more.
func (v View) Strays(repository string, after Digest, n int) (strays []Stray, last Digest) {
	repo, _ := v.repository(repository)
	prefix := within(repository)
	start := prefix
	if after != "" {
		start = beyond(within(repository, string(after)))
	}
	for key, value := range v.scan(links, prefix, start) {
		if n == 0 {
			return strays, last
		}
		n--
		last = Digest(bytes.Clone(key[len(prefix):]))
		if l := mustDecode[linkRecord](value); l.Store != repo.Store {
			strays = append(strays, v.stray(l, last))
		}
	}
	return strays, ""
}

func (v View) stray(l linkRecord, d Digest) Stray {
	now := v.Time()
	n, _ := v.storeNumbersAt(l.Store, now)
	b, _ := v.blob(l.Store, d)
	return Stray{Digest: d, Store: l.Store, Size: b.Size, Expired: !l.exists(n, now)}
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
