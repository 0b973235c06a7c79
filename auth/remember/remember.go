// Package remember keeps for a minute which passwords were right, for methods that are slow to tell. It has nothing
// that says anything about a password without a key that this process alone has, and that ends with it.
package remember

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

const (
	kept = time.Minute
	most = 10_000 // entries
)

// Key stands for what was asked.
type Key [sha256.Size]byte

// Keys makes keys. Those of another Keys differ.
type Keys struct{ secret [32]byte }

// NewKeys draws the secret.
func NewKeys() *Keys {
	k := &Keys{}
	_, _ = rand.Read(k.secret[:]) // never fails: it ends the process instead
	return k
}

// Of is the key of some texts in this order.
func (k *Keys) Of(parts ...string) (key Key) {
	mac := hmac.New(sha256.New, k.secret[:])
	for _, part := range parts {
		var length [8]byte // "ab", "c" is not "a", "bc"
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		mac.Write(length[:])
		mac.Write([]byte(part))
	}
	mac.Sum(key[:0])
	return key
}

// Memory is what was right, with what is known of whom. Its methods may be called concurrently.
type Memory[V any] struct {
	*Keys

	mu    sync.Mutex
	right map[Key]entry[V]
}

type entry[V any] struct {
	value V
	until time.Time
}

// New returns one with nothing in it.
func New[V any]() *Memory[V] { return &Memory[V]{Keys: NewKeys(), right: map[Key]entry[V]{}} }

// Find returns what was kept within the last minute.
func (m *Memory[V]) Find(key Key) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.right[key]
	if !ok || !time.Now().Before(e.until) {
		var none V
		return none, false
	}
	return e.value, true
}

// Keep keeps something for a minute. The value is shared by all who find it.
func (m *Memory[V]) Keep(key Key, value V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.right) >= most {
		clear(m.right) // rare, and costs each of those who come again no more than to be asked once
	}
	m.right[key] = entry[V]{value, time.Now().Add(kept)}
}

// Forget has nothing kept any more.
func (m *Memory[V]) Forget(key Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.right, key)
}
