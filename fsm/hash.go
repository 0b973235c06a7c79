package fsm

import (
	"crypto/sha256"
	"encoding/binary"
)

// notedHashes is how many of its own hashes a node keeps for a later comparison.
const notedHashes = 32

// hash is the hash of the whole replicated state: the sums of all buckets, in their order, and the
// state time. An empty bucket does not count, or a newer binary, which has more of them, would differ.
func (t *tx) hash() []byte {
	h := sha256.New()
	for _, b := range replicated() {
		if s := t.sums[b]; *s != (sum{}) {
			h.Write(append([]byte{byte(len(b))}, b...)) //nolint:gosec // a short name
			h.Write(s.bytes())
		}
	}
	h.Write(timeKey(t.now))
	return h.Sum(nil)
}

// note keeps the hash of the state as it is now under a log index, and forgets the oldest.
func (t *tx) note(index uint64) {
	t.put(local, notedKey(index), t.hash())
	var all [][]byte
	for k := range t.scan(local, notedPrefix, nil) {
		all = append(all, append([]byte(nil), k...))
	}
	for ; len(all) > notedHashes; all = all[1:] {
		t.del(local, all[0])
	}
}

// noted is the hash that this node noted at a log index, while it keeps it.
func (r reader) noted(index uint64) ([]byte, bool) {
	h := r.get(local, notedKey(index))
	return h, h != nil
}

func notedKey(index uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte(nil), notedPrefix...), index)
}

// Hash is the hash of the state that this node noted when it applied the HashCheck at a log index. Of
// these it keeps the newest 32.
func (s *State) Hash(index uint64) ([]byte, bool) {
	var hash []byte
	err := s.View(func(v View) error {
		if h, ok := v.noted(index); ok {
			hash = append(hash, h...)
		}
		return nil
	})
	return hash, err == nil && hash != nil
}
