package fsm

import (
	"encoding/binary"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// linkRecord says that a repository may see a blob of its store. The link exists while Count is more
// than 0 or its lease runs; a record whose link has expired is deleted by the collector.
type linkRecord struct {
	Count uint64     `cbor:"1,keyasint,omitempty"` // manifests of the repository that name the blob
	Since entry.Time `cbor:"2,keyasint,omitempty"` // start of the lease; 0 while Count is more than 0
}

func (r reader) link(repository string, d Digest) (linkRecord, bool) {
	return load[linkRecord](r, links, within(repository, string(d)))
}

// left is what is left of a link's lease at state time now; nothing of one that is referred to.
func (l linkRecord) left(n Numbers, now entry.Time) entry.Time {
	if l.Count > 0 {
		return 0
	}
	return max(0, l.Since.Add(n.Lease)-now)
}

// exists reports whether the link exists at state time now.
func (l linkRecord) exists(n Numbers, now entry.Time) bool { return l.Count > 0 || l.left(n, now) > 0 }

// indexes lists where a link stands beside its own record.
func (l linkRecord) indexes(store, repository string, d Digest) []indexKey {
	all := []indexKey{{bucket: linked, key: string(within(store, string(d), repository))}}
	if l.Count == 0 {
		all = append(all, indexKey{bucket: idle, key: string(idleKey(store, l.Since, repository, d))})
	}
	return all
}

func idleKey(store string, since entry.Time, repository string, d Digest) []byte {
	return within(store, string(timeKey(since)), string(within(repository, string(d))))
}

// cutIdleKey is the inverse of idleKey, without the store.
func cutIdleKey(key []byte) (since entry.Time, repository string, d Digest) {
	_, rest := cutName(key)
	if len(rest) < 8 {
		return 0, "", ""
	}
	repository, raw := cutName(rest[8:])
	return entry.Time(binary.BigEndian.Uint64(rest)), repository, Digest(raw) //nolint:gosec // written by timeKey
}

// visible returns the blob that a repository may see: the link exists now, or the refusal says why not.
func (t *tx) visible(repository string, d Digest) (store string, b blobRecord, err error) {
	repo, exists := t.repository(repository)
	if !exists {
		return "", blobRecord{}, ErrBlobUnknown.with("%s: repository %s does not exist", d, repository)
	}
	link, recorded := t.link(repository, d)
	if n, _ := t.storeNumbers(repo.Store); !recorded || !link.exists(n, t.now) {
		return "", blobRecord{}, ErrBlobUnknown.with("%s is not in repository %s", d, repository)
	}
	b, _ = t.blob(repo.Store, d)
	return repo.Store, b, nil
}

// usable is visible for those who want to rely on the blob: a damaged one is refused (GC R9).
func (t *tx) usable(repository string, d Digest) (store string, err error) {
	store, b, err := t.visible(repository, d)
	if err == nil && !b.usable(t.membership()) {
		err = ErrBlobDamaged.with("%s of repository %s has no good copy", d, repository)
	}
	return store, err
}

// startLease starts the lease of a link, which begins to exist if it does not; its blob has a record. A
// link that is referred to needs none: its lease starts when its count falls to zero.
func (t *tx) startLease(store, repository string, d Digest) {
	if link, _ := t.link(repository, d); link.Count == 0 {
		t.saveLink(store, repository, d, &linkRecord{Since: t.now})
	}
}

// judgeLink refuses a link record that is not there yet if the blob, of so many bytes, does not fit into what
// the repository may have.
func (r reader) judgeLink(repository string, d Digest, size int64) error {
	if _, recorded := r.link(repository, d); recorded {
		return nil
	}
	return r.judgeGrowth(repository, size)
}

// saveLink sets the record of a link, or removes it (nil), with its place in the index, in the counts of
// its blob and repository, and in what the repository has: the blob's size for each link record.
func (t *tx) saveLink(store, repository string, d Digest, l *linkRecord) {
	key := within(repository, string(d))
	old, had := t.link(repository, d)
	var before, after []indexKey
	if had {
		before = old.indexes(store, repository, d)
	}
	if l == nil {
		t.del(links, key)
	} else {
		t.save(links, key, *l)
		after = l.indexes(store, repository, d)
	}
	t.reindex(before, after)
	if had != (l != nil) {
		t.countLink(store, repository, d, l != nil)
	}
}

// countLink counts a link record that has come, or gone.
func (t *tx) countLink(store, repository string, d Digest, come bool) {
	one := uint64(1)
	if !come {
		one = ^uint64(0) // minus one
	}
	b, _ := t.blob(store, d)
	b.Links += one
	t.saveBlob(store, d, &b)
	size := b.Size
	if !come {
		size = -size
	}
	t.changeRepository(repository, store, func(r *repositoryRecord) {
		r.Links += one
		r.Bytes += size
	})
}

// countReference counts one manifest more, or fewer, that names the blob of a link.
func (t *tx) countReference(store, repository string, d Digest, more bool) {
	link, _ := t.link(repository, d)
	if more {
		t.saveLink(store, repository, d, &linkRecord{Count: link.Count + 1})
		return
	}
	if link.Count--; link.Count == 0 {
		link.Since = t.now // the lease starts anew (GC R8)
	}
	t.saveLink(store, repository, d, &link)
}
