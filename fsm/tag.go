package fsm

// The bounds of what is remembered of tags.
const (
	maxHistory  = 16  // earlier manifests of one tag
	maxUntagged = 200 // deleted tags of one repository; those deleted longest ago are forgotten
)

// tagRecord is a tag that exists.
type tagRecord struct {
	Digest   Digest `cbor:"1,keyasint"`
	NamedAt  int64  `cbor:"2,keyasint,omitempty"` // Unix milliseconds, when it came to name this manifest
	PushedAt int64  `cbor:"3,keyasint,omitempty"` // Unix milliseconds, when it was last said to name it
	Pushed   uint64 `cbor:"4,keyasint,omitempty"` // log index of that
}

// historyRecord is what a tag named before. It outlives the tag.
type historyRecord struct {
	Entries []historyEntry `cbor:"1,keyasint,omitempty"` // oldest first
	Deleted uint64         `cbor:"2,keyasint,omitempty"` // log index at which the tag was deleted; 0: it exists
}

// historyEntry is one manifest, and from when to when the tag named it, in Unix milliseconds.
type historyEntry struct {
	Digest  Digest `cbor:"1,keyasint"`
	NamedAt int64  `cbor:"2,keyasint,omitempty"`
	Until   int64  `cbor:"3,keyasint,omitempty"`
}

func (r reader) tag(repository, tag string) (tagRecord, bool) {
	return load[tagRecord](r, tags, within(repository, tag))
}

func (r reader) tagHistory(repository, tag string) historyRecord {
	h, _ := load[historyRecord](r, history, within(repository, tag))
	return h
}

// tagsOf returns the tags that name a manifest, most at most.
func (r reader) tagsOf(repository string, d Digest, most int) []string {
	prefix := within(repository, string(d))
	var names []string
	for key := range r.scan(tagged, prefix, nil) {
		if len(names) == most {
			break
		}
		names = append(names, string(key[len(prefix):]))
	}
	return names
}

// judgeTag refuses if a tag is not as the condition says; wanted is what it is to name, if anything.
func (r reader) judgeTag(repository, tag string, c TagCondition, wanted Digest) error {
	now, exists := r.tag(repository, tag)
	switch {
	case c.Absent && exists && now.Digest != wanted:
		return ErrTagCondition.with("tag %s exists and is %s", tag, now.Digest)
	case c.Is != "" && !exists:
		return ErrTagCondition.with("tag %s does not exist, wanted %s", tag, c.Is)
	case c.Is != "" && now.Digest != c.Is:
		return ErrTagCondition.with("tag %s is %s, wanted %s", tag, now.Digest, c.Is)
	}
	return nil
}

// setTag makes a tag name a manifest. One that does already gets a newer date: whoever pushes a tag relies
// on it as on a new one. The caller settles the manifest.
func (t *tx) setTag(repository, tag string, d Digest) {
	was, existed := t.tag(repository, tag)
	now := tagRecord{Digest: d, NamedAt: t.date, PushedAt: t.date, Pushed: t.index}
	switch {
	case existed && was.Digest == d:
		now.NamedAt, now.PushedAt = was.NamedAt, max(was.PushedAt, t.date)
	case existed:
		t.leaveTag(repository, tag, was, 0)
	default:
		t.untag(repository, tag, 0)
	}
	t.save(tags, within(repository, tag), now)
	t.put(tagged, within(repository, string(d), tag), nil)
}

// removeTag deletes a tag, keeping its history.
func (t *tx) removeTag(repository, tag string) {
	now, exists := t.tag(repository, tag)
	if !exists {
		return
	}
	t.leaveTag(repository, tag, now, t.index)
	t.del(tags, within(repository, tag))
}

// leaveTag puts what a tag named into its history; deleted is the log index if the tag goes.
func (t *tx) leaveTag(repository, tag string, now tagRecord, deleted uint64) {
	h := t.tagHistory(repository, tag)
	h.Entries = append(h.Entries, historyEntry{Digest: now.Digest, NamedAt: now.NamedAt, Until: t.date})
	h.Entries = h.Entries[max(0, len(h.Entries)-maxHistory):]
	t.save(history, within(repository, tag), h)
	t.del(tagged, within(repository, string(now.Digest), tag))
	t.settle(repository, now.Digest)
	t.touch(repository, now.Digest, func(m *manifestRecord) { m.UntaggedAt = max(m.UntaggedAt, t.date) })
	if deleted != 0 {
		t.untag(repository, tag, deleted)
	}
}

// untag puts a tag among the deleted ones (index 0: takes it out), and forgets the history of the one
// that was deleted longest ago if there are too many. Tags that come and go for ever would fill the state.
func (t *tx) untag(repository, tag string, index uint64) {
	h := t.tagHistory(repository, tag)
	if h.Deleted == index {
		return
	}
	change := uint64(1)
	if index == 0 {
		t.del(untagged, within(repository, number(h.Deleted), tag))
		change = ^uint64(0) // minus one
	} else {
		t.put(untagged, within(repository, number(index), tag), nil)
	}
	h.Deleted = index
	t.save(history, within(repository, tag), h)
	t.changeRepository(repository, "", func(r *repositoryRecord) { r.Untagged += change })
	if r, _ := t.repository(repository); r.Untagged > maxUntagged {
		t.forgetUntagged(repository, 1)
	}
}

// forgetUntagged forgets the history of the tags that were deleted longest ago, most at most.
func (t *tx) forgetUntagged(repository string, most int) {
	keys := t.first(untagged, within(repository), most)
	for _, key := range keys {
		t.del(untagged, key)
		t.del(history, within(repository, string(key[len(repository)+1+8:])))
	}
	t.changeRepository(repository, "", func(r *repositoryRecord) { r.Untagged -= uint64(len(keys)) })
}
