package fsm_test

import (
	"slices"
	"strings"

	"github.com/seed-16d79997/zot/fsm"
)

func (m *model) putManifest(c fsm.PutManifest) (done fsm.ManifestPut, _ *fsm.Refusal) {
	blobs := map[fsm.Digest]bool{}
	for _, d := range c.Blobs {
		blobs[d] = true
	}
	if len(c.Body) == 0 {
		blobs[c.Digest] = true
	}
	for d := range blobs {
		if m.usable(c.Repository, d) != nil {
			return done, fsm.ErrManifestBlobUnknown
		}
	}
	r := m.repos[c.Repository]
	for _, d := range c.Manifests {
		if r == nil || r.manifests[d] == nil {
			return done, fsm.ErrManifestBlobUnknown
		}
	}
	for _, move := range c.Tags {
		if !r.allows(move.Tag, move.If, c.Digest) {
			return done, fsm.ErrTagCondition
		}
	}
	if r == nil || r.manifests[c.Digest] == nil {
		if refusal := m.fits(c.Repository, int64(len(c.Body))); refusal != nil {
			return done, refusal
		}
	}
	r = m.repo(c.Repository, c.Store)
	if r.manifests[c.Digest] == nil {
		for _, d := range c.Optional {
			if m.usable(c.Repository, d) == nil {
				blobs[d] = true
			}
		}
		r.manifests[c.Digest] = &modelManifest{put: c, blobs: blobs, pushed: m.date}
		done.Created = true
	}
	man := r.manifests[c.Digest]
	man.pushed, man.touched = max(man.pushed, m.date), m.index
	for _, move := range c.Tags {
		m.move(r, move.Tag, c.Digest)
	}
	return done, nil
}

// allows judges the condition of a tag that is to name wanted. r may be nil.
func (r *modelRepo) allows(tag string, c fsm.TagCondition, wanted fsm.Digest) bool {
	var now fsm.Digest
	if r != nil {
		now = r.tags[tag].digest
	}
	if c.Absent && now != "" && now != wanted {
		return false
	}
	return c.Is == "" || c.Is == now
}

// move makes a tag name a manifest, or nothing ("").
func (m *model) move(r *modelRepo, tag string, to fsm.Digest) {
	now := r.tags[tag]
	if now.digest == to {
		r.tags[tag] = modelTag{to, now.named, max(now.pushed, m.date), m.index}
		return
	}
	h := r.past[tag]
	if h == nil {
		h = &modelHistory{}
	}
	if now.digest != "" {
		h.entries = append(h.entries, fsm.TagHistoryEntry{Digest: now.digest, NamedAt: now.named, Until: m.date})
		if len(h.entries) > 16 {
			h.entries = h.entries[1:]
		}
		r.past[tag] = h
		if man := r.manifests[now.digest]; man != nil {
			man.untagged, man.touched = max(man.untagged, m.date), m.index
		}
	}
	if to == "" {
		delete(r.tags, tag)
		h.deleted = m.index
		return // there are too few names in the test for the oldest to be forgotten
	}
	h.deleted = 0
	r.tags[tag] = modelTag{to, m.date, m.date, m.index}
}

// tagsOf is the tags that name a manifest.
func (r *modelRepo) tagsOf(d fsm.Digest) []string {
	return slices.DeleteFunc(sorted(r.tags), func(tag string) bool { return r.tags[tag].digest != d })
}

// listedBy is the indexes that list a manifest.
func (r *modelRepo) listedBy(d fsm.Digest) []fsm.Digest {
	return slices.DeleteFunc(sorted(r.manifests), func(by fsm.Digest) bool {
		return !slices.Contains(r.manifests[by].put.Manifests, d)
	})
}

// loose is the manifests that no tag names and no index lists.
func (r *modelRepo) loose() []fsm.Digest {
	return slices.DeleteFunc(sorted(r.manifests), func(d fsm.Digest) bool {
		return len(r.tagsOf(d)) > 0 || len(r.listedBy(d)) > 0
	})
}

func (m *model) deleteManifest(c fsm.DeleteManifest) (fsm.None, *fsm.Refusal) {
	r := m.repos[c.Repository]
	if r == nil || r.manifests[c.Digest] == nil {
		return fsm.None{}, fsm.ErrManifestUnknown
	}
	if len(r.listedBy(c.Digest)) > 0 {
		return fsm.None{}, fsm.ErrManifestReferenced
	}
	tags := r.tagsOf(c.Digest)
	if c.UnneededAt != 0 && (len(tags) > 0 || r.wanted(c.Digest, c.UnneededAt)) {
		return fsm.None{}, fsm.ErrNeeded
	}
	if c.AtMostOneTag && len(tags) > 1 {
		return fsm.None{}, fsm.ErrManyTags
	}
	for _, tag := range tags {
		m.move(r, tag, "")
	}
	blobs := r.manifests[c.Digest].blobs
	delete(r.manifests, c.Digest)
	delete(r.pulls, c.Digest)
	for d := range blobs {
		if r.referencesTo(d) == 0 {
			r.links[d] = modelLink{r.links[d].store, m.now}
		}
	}
	return fsm.None{}, nil
}

// wanted says of a manifest that has no tag whether its subject is there, or anybody came for it after an entry.
func (r *modelRepo) wanted(d fsm.Digest, index uint64) bool {
	man := r.manifests[d]
	return r.manifests[man.put.Subject] != nil || max(man.touched, r.pulls[d].by) > index
}

func (m *model) deleteTag(c fsm.DeleteTag) (fsm.None, *fsm.Refusal) {
	r := m.repos[c.Repository]
	if r == nil || r.tags[c.Tag].digest == "" {
		return fsm.None{}, fsm.ErrTagUnknown
	}
	if c.If.Absent || c.If.Is != "" && c.If.Is != r.tags[c.Tag].digest {
		return fsm.None{}, fsm.ErrTagCondition
	}
	if now := r.tags[c.Tag]; c.UnneededAt != 0 && (max(now.by, r.pulls[now.digest].by) > c.UnneededAt || r.hasLike(c.Subject)) {
		return fsm.None{}, fsm.ErrNeeded
	}
	m.move(r, c.Tag, "")
	return fsm.None{}, nil
}

// hasLike says whether a manifest has a digest that begins with some bytes, if there are any.
func (r *modelRepo) hasLike(beginning []byte) bool {
	return len(beginning) > 0 && slices.ContainsFunc(sorted(r.manifests), func(d fsm.Digest) bool {
		return strings.HasPrefix(string(d), string(beginning))
	})
}

func (m *model) restoreTag(c fsm.RestoreTag) (fsm.None, *fsm.Refusal) {
	r := m.repos[c.Repository]
	if r == nil || r.past[c.Tag] == nil {
		return fsm.None{}, fsm.ErrTagUnknown
	}
	was := slices.ContainsFunc(r.past[c.Tag].entries, func(e fsm.TagHistoryEntry) bool { return e.Digest == c.Digest })
	switch {
	case !was:
		return fsm.None{}, fsm.ErrTagUnknown
	case r.manifests[c.Digest] == nil:
		return fsm.None{}, fsm.ErrManifestUnknown
	case !r.allows(c.Tag, c.If, c.Digest):
		return fsm.None{}, fsm.ErrTagCondition
	}
	m.move(r, c.Tag, c.Digest)
	return fsm.None{}, nil
}

func (m *model) recordPulls(c fsm.RecordPulls) (fsm.None, *fsm.Refusal) {
	for _, p := range c.Pulls {
		if r := m.repos[p.Repository]; r != nil && r.manifests[p.Digest] != nil {
			old := r.pulls[p.Digest]
			r.pulls[p.Digest] = modelPulls{old.count + p.Count, max(old.newest, m.date), m.index}
		}
	}
	return fsm.None{}, nil
}

func (m *model) collectRepositories(c fsm.CollectRepositories) (done fsm.RepositoriesCollected, _ *fsm.Refusal) {
	for _, name := range c.Repositories {
		if r := m.repos[name]; r != nil && len(r.manifests) == 0 && len(r.links) == 0 {
			delete(m.repos, name)
			done.Repositories++
		}
	}
	return done, nil
}
