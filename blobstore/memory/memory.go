// Package memory keeps copies and uploads in memory, for tests of what uses a store, and as the plainest
// reading of the contract. It forgets all when the process ends, so nothing that it acknowledges is durable.
//
// Start reading at Store; uploads.go is the way in, copies.go the way out. One mutex guards everything, for
// nothing here waits: bytes are read from a caller before it is taken.
package memory

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/seed-16d79997/zot/blobstore"
)

// Config is whose copies a store makes, and how many bytes it may hold.
type Config struct {
	Incarnation blobstore.Incarnation
	Capacity    int64 // of uploads and copies together
}

// DefaultConfig has room for 1 GiB.
func DefaultConfig() Config { return Config{Capacity: 1 << 30} }

// Store is a blobstore.Store in memory.
type Store struct {
	incarnation blobstore.Incarnation

	mu       sync.Mutex
	capacity int64
	used     int64
	uploads  map[blobstore.UploadID]*upload
	copies   map[blobstore.CopyID][]byte // never changed, but by Damage
	closed   bool
}

var _ blobstore.Store = (*Store)(nil)

// New returns an empty store, or an error if it could hold nothing.
func New(c Config) (*Store, error) {
	if c.Capacity <= 0 {
		return nil, fmt.Errorf("memory store: a capacity of %d bytes holds nothing", c.Capacity)
	}
	return &Store{
		incarnation: c.Incarnation,
		capacity:    c.Capacity,
		uploads:     map[blobstore.UploadID]*upload{},
		copies:      map[blobstore.CopyID][]byte{},
	}, nil
}

// Incarnation is that of the configuration.
func (s *Store) Incarnation() blobstore.Incarnation { return s.incarnation }

// Check returns blobstore.ErrClosed after Close.
func (s *Store) Check(ctx context.Context) error {
	defer s.lock()()
	return s.ready(ctx)
}

// Usage counts uploads and copies. Bytes that they share count for each.
func (s *Store) Usage(ctx context.Context) (blobstore.Usage, error) {
	defer s.lock()()
	return blobstore.Usage{Total: s.capacity, Free: max(0, s.capacity-s.used)}, s.ready(ctx)
}

// Close lets go of everything.
func (s *Store) Close() error {
	defer s.lock()()
	s.closed = true
	s.uploads, s.copies = nil, nil
	return nil
}

// SetCapacity changes how many bytes fit: a disk that fills up, or is emptied by others.
func (s *Store) SetCapacity(n int64) {
	defer s.lock()()
	s.capacity = n
}

// Damage flips a bit of a copy: a disk that rots. It returns blobstore.ErrCopyUnknown, or blobstore.ErrRange
// if the copy has no such byte.
func (s *Store) Damage(id blobstore.CopyID, offset int64) error {
	defer s.lock()()
	old, ok := s.copies[id]
	if !ok {
		return blobstore.ErrCopyUnknown
	}
	if offset < 0 || offset >= int64(len(old)) {
		return blobstore.ErrRange
	}
	b := append([]byte(nil), old...) // streams that are open go on
	b[offset] ^= 1
	s.copies[id] = b
	return nil
}

// lock takes the mutex and returns what gives it back.
func (s *Store) lock() func() {
	s.mu.Lock()
	return s.mu.Unlock
}

// ready returns what keeps every call from being done. The caller holds the mutex.
func (s *Store) ready(ctx context.Context) error {
	if s.closed {
		return errors.Join(blobstore.ErrClosed, ctx.Err())
	}
	return ctx.Err()
}
