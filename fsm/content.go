package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/seed-16d79997/zot/fsm/oci"
)

// restoredBucket is one bucket of those that the restore of a backup fills, and how its records are made of those of the
// backup.
type restoredBucket struct {
	bucket bucket
	from   bucket // of the backup; its records are walked through in order
	// make returns the record for one of from, and false if there is none. Nil takes it as it is.
	make func(r reader, key, value []byte) (k, v []byte, ok bool)
}

// contents lists what a backup restores, in the order in which it comes: what refers to something after that, and
// repositories last, without which nothing of the rest is visible.
//
// All else is the body of a cluster and not what it holds: its identity, nodes, stores, kept results, jobs, logins and
// spent tokens are those of the cluster into which it is restored. Where copies lay means nothing there: every blob
// comes without one, damaged, so that a push heals it. A lease is over: what no manifest names is left out. And a log
// index is of another log: what came before all entries of this one has 0, or, where the order matters, its rank.
func contents() []restoredBucket {
	return []restoredBucket{
		{blobs, blobs, restoredBlob},
		{damaged, blobs, restoredDamage},
		{copies, blobs, restoredCopies},
		{links, links, restoredLink},
		{linked, linked, restoredLinked},
		{bodies, bodies, nil},
		{references, references, nil},
		{namedBy, namedBy, nil},
		{loose, loose, nil},
		{referrers, referrers, nil},
		{manifests, manifests, restoredManifest},
		{pulls, pulls, restoredPulls},
		{tags, tags, restoredTag},
		{tagged, tagged, nil},
		{history, history, restoredHistory},
		{untagged, untagged, restoredUntagged},
		{apiKeys, apiKeys, nil},
		{apiKeysOf, apiKeysOf, nil},
		{apiKeysUntil, apiKeysUntil, nil},
		{preferences, preferences, nil},
		{starred, starred, nil},
		{trusted, trusted, nil},
		{below, below, restoredBelow},
		{repositories, repositories, restoredRepository},
		{moving, repositories, restoredMoving},
		{catalog, catalog, nil},
		{vacant, repositories, restoredVacancy},
	}
}

// notRestored lists the replicated buckets that a restore leaves alone: the body of the cluster, and indexes that are
// empty while no copy is recorded and no lease runs.
func notRestored() []bucket {
	return []bucket{
		meta, nodes, stores, requests, expiries, sessions, sessionsOf, sessionsUntil, jobs, spentTokens, quotas,
		idle, unlinked, recorded, on, sole, doomed, held,
	}
}

// restorable finds the place of a bucket among the contents, -1 for one that is not restored.
func restorable(b bucket) int {
	return slices.IndexFunc(contents(), func(c restoredBucket) bool { return c.bucket == b })
}

// of makes the record that a restore puts in the place of one of a backup.
func (c restoredBucket) of(r reader, key, value []byte) (k, v []byte, ok bool) {
	if c.make == nil {
		return key, value, true
	}
	return c.make(r, key, value)
}

// needed counts the links of a blob by which a manifest needs it, and returns the repository of the first.
func (r reader) needed(store string, d Digest) (n uint64, repository string) {
	prefix := within(store, string(d))
	for key := range r.scan(linked, prefix, nil) {
		name := string(key[len(prefix):])
		if l, _ := r.link(name, d); l.Count > 0 {
			if n++; n == 1 {
				repository = name
			}
		}
	}
	return n, repository
}

func restoredBlob(r reader, key, value []byte) (k, v []byte, ok bool) {
	store, d := splitStoreKey(key)
	n, _ := r.needed(store, d)
	return key, encode(blobRecord{Size: mustDecode[blobRecord](value).Size, Damaged: true, Links: n}), n > 0
}

func restoredDamage(r reader, key, _ []byte) (k, v []byte, ok bool) {
	n, _ := r.needed(splitStoreKey(key))
	return key, nil, n > 0
}

func restoredCopies(r reader, key, _ []byte) (k, v []byte, ok bool) {
	store, d := splitStoreKey(key)
	n, _ := r.needed(store, d)
	return copiesKey(store, 0, d), nil, n > 0
}

func restoredLink(_ reader, key, value []byte) (k, v []byte, ok bool) {
	return key, value, mustDecode[linkRecord](value).Count > 0
}

func restoredLinked(r reader, key, _ []byte) (k, v []byte, ok bool) {
	_, rest := cutName(key)
	_, name, err := oci.DecodeDigest(rest)
	if err != nil {
		panic(fmt.Errorf("%w: %w", ErrDamaged, err))
	}
	l, _ := r.link(string(name), Digest(rest[:len(rest)-len(name)]))
	return key, nil, l.Count > 0
}

// nobodySince is for the log index at which something was last used: that was before this log began.
const nobodySince = 0

func restoredManifest(_ reader, key, value []byte) (k, v []byte, ok bool) {
	m := mustDecode[manifestRecord](value)
	m.Touched = nobodySince
	return key, encode(m), true
}

func restoredPulls(_ reader, key, value []byte) (k, v []byte, ok bool) {
	p := mustDecode[pullsRecord](value)
	p.Last = nobodySince
	return key, encode(p), true
}

func restoredTag(_ reader, key, value []byte) (k, v []byte, ok bool) {
	t := mustDecode[tagRecord](value)
	t.Pushed = nobodySince
	return key, encode(t), true
}

func restoredHistory(r reader, key, value []byte) (k, v []byte, ok bool) {
	h := mustDecode[historyRecord](value)
	if h.Deleted != 0 {
		name, _ := cutName(key)
		h.Deleted = r.deletion(name, h.Deleted)
	}
	return key, encode(h), true
}

func restoredUntagged(r reader, key, _ []byte) (k, v []byte, ok bool) {
	name, rest := cutName(key)
	return within(name, number(r.deletion(name, binary.BigEndian.Uint64(rest))), string(rest[8:])), nil, true
}

// deletion is the place of a log index among those at which tags of a repository were deleted, from 1 on. There are
// maxUntagged at most.
func (r reader) deletion(repository string, index uint64) (rank uint64) {
	before := uint64(0)
	prefix := within(repository)
	for key := range r.scan(untagged, prefix, nil) {
		at := binary.BigEndian.Uint64(key[len(prefix):])
		if at > index {
			break
		}
		if at != before {
			rank, before = rank+1, at
		}
	}
	return rank
}

func restoredRepository(r reader, key, value []byte) (k, v []byte, ok bool) {
	return key, encode(r.restored(string(key), value)), true
}

// restored is the record of a repository of which only what a restore brings is counted.
func (r reader) restored(name string, value []byte) repositoryRecord {
	was := mustDecode[repositoryRecord](value)
	repo := repositoryRecord{Store: was.Store, Untagged: was.Untagged}
	for key, value := range r.scan(links, within(name), nil) {
		if l := mustDecode[linkRecord](value); l.Count > 0 {
			_, d := cutName(key)
			b, _ := r.blob(l.Store, Digest(d))
			repo.countLink(l.Store, 1, b.Size)
		}
	}
	for _, value := range r.scan(manifests, within(name), nil) {
		repo.countManifest(1, mustDecode[manifestRecord](value).inState())
	}
	return repo
}

func restoredMoving(r reader, key, value []byte) (k, v []byte, ok bool) {
	return key, nil, len(r.restored(string(key), value).Elsewhere) > 0
}

// restoredBelow counts anew what is below a prefix.
func restoredBelow(r reader, key, _ []byte) (k, v []byte, ok bool) {
	prefix, _ := cutName(key)
	from := prefix
	if prefix != "" {
		from += "/"
	}
	var used Used
	for name, value := range r.scan(repositories, []byte(from), nil) {
		used = used.plus(r.restored(string(name), value).used(true))
	}
	return key, encode(used), used != Used{}
}

func restoredVacancy(_ reader, key, value []byte) (k, v []byte, ok bool) {
	return key, nil, mustDecode[repositoryRecord](value).Manifests == 0 // and so no link is needed
}

// contentHash is the hash of all that a restore brings, made of the sums of its buckets.
func contentHash(sums func(b bucket) sum) []byte {
	h := sha256.New()
	for _, c := range contents() {
		s := sums(c.bucket)
		h.Write(append([]byte{byte(len(c.bucket))}, c.bucket...)) //nolint:gosec // a short name
		h.Write(s.bytes())
	}
	return h.Sum(nil)
}
