package replicated_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/blobstore/memory"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

func bytesReader(p []byte) io.Reader { return bytes.NewReader(p) }

// remembering is a store that remembers which copies it has made together.
type remembering struct {
	blobstore.Store
	mu   sync.Mutex
	sets [][]blobstore.Location
}

// Publish publishes.
func (r *remembering) Publish(ctx context.Context, id blobstore.UploadID) ([]blobstore.Location, error) {
	at, err := r.Store.Publish(ctx, id)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sets = append(r.sets, at)
	return at, err
}

// together returns the copies that were made together with one.
func (r *remembering) together(id blobstore.CopyID) []blobstore.Location {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.sets, func(at []blobstore.Location) bool {
		return slices.ContainsFunc(at, func(l blobstore.Location) bool { return l.Copy == id })
	})
	return r.sets[i]
}

func TestStoreInMemory(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		c := start(t, options{count: 3, replicas: 3, need: 2, timing: calm()})
		s := &remembering{Store: c.all[0].store}
		return storetest.Subject{
			Store: s,
			Damage: func(t *testing.T, id blobstore.CopyID, offset int64) {
				for _, l := range s.together(id) {
					must(t, c.all[l.Incarnation[0]-1].local.(*memory.Store).Damage(l.Copy, offset))
				}
			},
			Full: func(_ *testing.T, full bool) {
				c.all[0].local.(*memory.Store).SetCapacity(map[bool]int64{true: 1, false: 1 << 30}[full])
			},
		}
	})
}

func TestStoreOnDisk(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		o := options{count: 3, replicas: 3, need: 2, timing: calm(), onDisk: true}
		c := start(t, o)
		s := &remembering{Store: c.all[0].store}
		return storetest.Subject{
			Store: s,
			Reopen: func(t *testing.T) blobstore.Store {
				c.all[0].local = openDisk(t, c.all[0])
				c.all[0].open(t, o)
				return c.all[0].store
			},
			Damage: func(t *testing.T, id blobstore.CopyID, offset int64) {
				for _, l := range s.together(id) {
					flip(t, c.all[l.Incarnation[0]-1].copyPath(l.Copy), offset)
				}
			},
			Lose: func(t *testing.T) { must(t, os.Remove(disk.MarkerPath(c.all[0].dir))) },
		}
	})
}

// A cluster of one runs nothing, and needs nobody to run it.
func TestStoreAlone(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		c := start(t, options{count: 1, replicas: 3, need: 1, idle: true})
		return storetest.Subject{Store: c.all[0].store}
	})
}

func (n *node) copyPath(id blobstore.CopyID) string {
	return filepath.Join(n.dir, "copies", id.String()[:2], id.String())
}

// flip flips a bit of a file.
func flip(t testing.TB, path string, offset int64) {
	t.Helper()
	must(t, os.Chmod(path, 0o600))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	var b [1]byte
	_, err = f.ReadAt(b[:], offset)
	must(t, err)
	b[0] ^= 1
	_, err = f.WriteAt(b[:], offset)
	must(t, err)
	must(t, f.Close())
}
