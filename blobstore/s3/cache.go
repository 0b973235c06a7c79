package s3

import (
	"sync"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// maxCached bounds the sums in memory: 16 MiB, which is those of a terabyte.
const maxCached = 4 << 20

// cache remembers the sums of copies that were read lately: they never change.
type cache struct {
	mu    sync.Mutex
	held  int // how many sums there are
	byID  map[blobstore.CopyID]sums.Copy
	order []blobstore.CopyID // as they came
}

func newCache() *cache { return &cache{byID: map[blobstore.CopyID]sums.Copy{}} }

func (c *cache) find(id blobstore.CopyID) (sums.Copy, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.byID[id]
	return s, ok
}

// add remembers sums, and forgets the oldest for them. Those of a copy that would fill it are not remembered.
func (c *cache) add(s sums.Copy) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.byID[s.Copy]; known || len(s.Sums) > maxCached/4 {
		return
	}
	c.byID[s.Copy], c.order = s, append(c.order, s.Copy)
	for c.held += len(s.Sums); c.held > maxCached; {
		oldest := c.order[0]
		c.order = c.order[1:]
		c.held -= len(c.byID[oldest].Sums)
		delete(c.byID, oldest)
	}
}

// forget is for sums that are to be read again.
func (c *cache) forget(id blobstore.CopyID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, known := c.byID[id]
	if !known {
		return
	}
	c.held -= len(s.Sums)
	delete(c.byID, id)
	for i := range c.order {
		if c.order[i] == id {
			c.order = append(c.order[:i:i], c.order[i+1:]...)
			return
		}
	}
}
