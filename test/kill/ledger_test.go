package kill_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
)

// ledger is what the registry has promised: blobs that it acknowledged, by repository. None of them may be
// missing any more: nothing collects a blob as long as a run takes. One that is to be deleted is forgotten
// first. Its methods may be called concurrently.
type ledger struct {
	mu     sync.Mutex
	blobs  map[string]map[digest.Digest]*content
	bodies map[digest.Digest]bool // of large manifests
}

func newLedger() *ledger {
	return &ledger{blobs: map[string]map[digest.Digest]*content{}, bodies: map[digest.Digest]bool{}}
}

func (l *ledger) acknowledged(repo string, c *content) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.blobs[repo] == nil {
		l.blobs[repo] = map[digest.Digest]*content{}
	}
	l.blobs[repo][c.digest] = c
}

// forget takes a promise back: the blob is to be deleted.
func (l *ledger) forget(repo string, c *content) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.blobs[repo], c.digest)
}

// put notes a manifest that was acknowledged: the body of a large one is promised as a blob is.
func (l *ledger) put(img *image) {
	if !img.isLarge() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bodies[img.digest] = true
}

// promised is all that must be recorded with its copies.
func (l *ledger) promised() []digest.Digest {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := maps.Clone(l.bodies)
	for _, blobs := range l.blobs {
		for d := range blobs {
			all[d] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func (l *ledger) has(repo string, c *content) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.blobs[repo][c.digest] != nil
}

// source is another repository that has a blob; "" if none has.
func (l *ledger) source(rng *rand.Rand, repo string, c *content) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for _, other := range repositories() {
		if other != repo && l.blobs[other][c.digest] != nil {
			found = append(found, other)
		}
	}
	if len(found) == 0 {
		return ""
	}
	return found[rng.IntN(len(found))]
}

// of is what a repository must have.
func (l *ledger) of(repo string) []*content {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(maps.Values(l.blobs[repo]), func(a, b *content) int { return strings.Compare(a.digest.String(), b.digest.String()) })
}
