package fsm

import (
	"encoding/binary"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// linkRecord says that a repository may see a blob of a store. The link exists while Count is more
// than 0 or its lease runs; a record whose link has expired is deleted by the collector.
type linkRecord struct {
	Count uint64     `cbor:"1,keyasint,omitempty"` // manifests of the repository that name the blob
	Since entry.Time `cbor:"2,keyasint,omitempty"` // start of the lease; 0 while Count is more than 0
	Store string     `cbor:"3,keyasint"`           // where the blob is; that of the repository, unless it is moving
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
func (l linkRecord) indexes(repository string, d Digest) []indexKey {
	all := []indexKey{{bucket: linked, key: string(within(l.Store, string(d), repository))}}
	if l.Count == 0 {
		all = append(all, indexKey{bucket: idle, key: string(idleKey(l.Store, l.Since, repository, d))})
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

// seen returns a link that exists now, or the refusal says why not.
func (t *tx) seen(repository string, d Digest) (linkRecord, error) {
	if _, exists := t.repository(repository); !exists {
		return linkRecord{}, ErrBlobUnknown.with("%s: repository %s does not exist", d, repository)
	}
	link, recorded := t.link(repository, d)
	if n, _ := t.storeNumbers(link.Store); !recorded || !link.exists(n, t.now) {
		return linkRecord{}, ErrBlobUnknown.with("%s is not in repository %s", d, repository)
	}
	return link, nil
}

// usable is seen for those who want to rely on the blob: a damaged one is refused (GC R9).
func (t *tx) usable(repository string, d Digest) (linkRecord, error) {
	link, err := t.seen(repository, d)
	if err != nil {
		return linkRecord{}, err
	}
	if b, _ := t.blob(link.Store, d); !b.usable(t.membership()) {
		return linkRecord{}, ErrBlobDamaged.with("%s of repository %s has no good copy", d, repository)
	}
	return link, nil
}

// startLease starts the lease of a link to a blob of a store, which has a record. The link begins to exist if it
// does not, and comes over if it is one to the blob of another store. One that is referred to needs no lease: it
// starts when the count falls to zero.
func (t *tx) startLease(store, repository string, d Digest) {
	link, _ := t.link(repository, d)
	if link.Count == 0 {
		link.Since = t.now
	}
	t.moveLink(repository, d, link, store)
}

// moveLink saves a link as one to the blob of a store. If it was one to that of another until now, what was promised
// by the numbers of that store still holds (GC R16).
func (t *tx) moveLink(repository string, d Digest, link linkRecord, to string) {
	if old, had := t.link(repository, d); had && old.Store != to {
		if n, _ := t.storeNumbers(old.Store); old.exists(n, t.now) {
			t.stretchLeases(to, n.Lease)
		}
	}
	link.Store = to
	t.saveLink(repository, d, &link)
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
func (t *tx) saveLink(repository string, d Digest, l *linkRecord) {
	key := within(repository, string(d))
	old, had := t.link(repository, d)
	var before, after []indexKey
	var now linkRecord
	if had {
		before = old.indexes(repository, d)
	}
	if l == nil {
		t.del(links, key)
	} else {
		t.save(links, key, *l)
		now, after = *l, l.indexes(repository, d)
	}
	t.reindex(before, after)
	if old.Store == now.Store {
		return
	}
	if l != nil {
		t.countLink(now.Store, repository, d, 1) // first, or the repository would be vacant in between
	}
	if had {
		t.countLink(old.Store, repository, d, -1)
	}
}

// countLink counts a link record that has come to a store, or gone from it.
func (t *tx) countLink(store, repository string, d Digest, change int) {
	t.useStore(store)
	b, _ := t.blob(store, d)
	b.Links += uint64(change) //nolint:gosec // one more, or one less
	t.saveBlob(store, d, &b)
	size := b.Size * int64(change)
	t.changeRepository(repository, store, func(r *repositoryRecord) { r.countLink(store, change, size) })
}

// countReference counts one manifest more, or fewer, that names the blob of a link.
func (t *tx) countReference(repository string, d Digest, more bool) {
	link, _ := t.link(repository, d)
	if more {
		link.Count, link.Since = link.Count+1, 0
	} else if link.Count--; link.Count == 0 {
		link.Since = t.now // the lease starts anew (GC R8)
	}
	t.saveLink(repository, d, &link)
}
