package fsm

import (
	"bytes"
	"encoding/binary"
	"iter"
	"slices"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// within is the key of something in a repository or store: the name, a zero byte, then the parts. The
// zero byte keeps names that are prefixes of each other apart, and in order.
func within(name string, parts ...string) []byte {
	size := len(name) + 1
	for _, p := range parts {
		size += len(p)
	}
	key := append(make([]byte, 0, size), name...)
	key = append(key, 0)
	for _, p := range parts {
		key = append(key, p...)
	}
	return key
}

// cutName splits a key that within made.
func cutName(key []byte) (name string, rest []byte) {
	before, after, _ := bytes.Cut(key, []byte{0})
	return string(before), after
}

// splitStoreKey splits <store> 0 <digest>.
func splitStoreKey(key []byte) (store string, d Digest) {
	store, rest := cutName(key)
	return store, Digest(rest)
}

// onNode is the key of something in a store of a node.
func onNode(i entry.Incarnation, store, rest string) []byte {
	return append(i[:len(i):len(i)], within(store, rest)...)
}

// number is n in as many bytes as keep the order of integers.
func number(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, n)) }

// indexKey is one record of an index.
type indexKey struct {
	bucket bucket
	key    string
	value  string // mostly nothing
}

// reindex replaces the index keys of a record that changes: before and after are what they are for the
// old record and the new one.
func (t *tx) reindex(before, after []indexKey) {
	for _, k := range before {
		if !slices.Contains(after, k) {
			t.del(k.bucket, []byte(k.key))
		}
	}
	for _, k := range after {
		if !slices.Contains(before, k) {
			t.put(k.bucket, []byte(k.key), []byte(k.value))
		}
	}
}

// past is the first key after all that begin with prefix.
func past(prefix []byte) []byte {
	next := bytes.Clone(prefix)
	for i := len(next) - 1; i >= 0; i-- {
		if next[i]++; next[i] != 0 {
			return next[:i+1]
		}
	}
	return nil
}

// beyond is the first key greater than key.
func beyond(key []byte) []byte { return append(bytes.Clone(key), 0) }

// incarnationsOf yields each incarnation that keys of b begin with, at the cost of one look for each.
func (r reader) incarnationsOf(b bucket) iter.Seq[entry.Incarnation] {
	return func(yield func(entry.Incarnation) bool) {
		var from []byte
		for {
			found := false
			var i entry.Incarnation
			for key := range r.scan(b, nil, from) {
				found = copy(i[:], key) == len(i)
				break
			}
			if !found || !yield(i) {
				return
			}
			if from = past(i[:]); from == nil {
				return
			}
		}
	}
}
