package s3

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
)

// What may be wrong with whose store a prefix is.
var (
	ErrForeign  = errors.New("prefix of the bucket has another marker")
	ErrNotEmpty = errors.New("prefix of the bucket holds copies but no marker")
)

// marker tells a bucket that is empty from one that is not ours (GC R13): with another bucket of the same name
// behind another endpoint every copy would look gone.
type marker struct {
	bucket *bucket
	keys   keys
	trust  time.Duration

	mu   sync.Mutex
	seen time.Time // when it was there last
}

func (m *marker) content() string {
	return "blob store of a registry's cluster, do not remove: " + m.keys.prefix + "\n"
}

// check returns nil if the marker is there and ours, and else blobstore.ErrOffline.
func (m *marker) check(ctx context.Context) error {
	asked := time.Now()
	b, _, err := m.bucket.read(ctx, m.keys.marker(), 1<<10)
	if errors.Is(err, errNoObject) {
		return fmt.Errorf("%w: %w", blobstore.ErrOffline, err)
	}
	if err != nil {
		return err
	}
	if string(b) != m.content() {
		return fmt.Errorf("%w: %w: %q", blobstore.ErrOffline, ErrForeign, b)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = asked
	return nil
}

// lately is check, unless that has succeeded a moment ago.
func (m *marker) lately(ctx context.Context) error {
	m.mu.Lock()
	fresh := time.Since(m.seen) < m.trust
	m.mu.Unlock()
	if fresh {
		return nil
	}
	return m.check(ctx)
}

// make puts the marker into a prefix that holds no copies. Two nodes that do it at once write the same.
func (m *marker) make(ctx context.Context) error {
	for key, err := range m.bucket.list(ctx, m.keys.prefix, "") {
		if err != nil {
			return err
		}
		if _, ours := m.keys.copyOf(key); ours {
			return fmt.Errorf("%w: %s", ErrNotEmpty, key)
		}
	}
	text := m.content()
	return m.bucket.put(ctx, m.keys.marker(), strings.NewReader(text), int64(len(text)), false)
}
