package api

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/singleflight"

	"github.com/seed-16d79997/zot/blobstore"
)

// maxBodies is how many bytes of large manifests a node keeps in memory (DESIGN 4).
const maxBodies = 64 << 20

// fetchTime bounds the fetch of a manifest's body, for which others may wait when the client that began it has gone.
const fetchTime = time.Minute

// bodies keeps the bodies of large manifests, which lie in blobs: those that were asked for last. They go by digest
// alone: that a repository has the manifest was asked of the state before. Nobody changes their bytes.
type bodies struct {
	limit   int64 // in bytes
	flights singleflight.Group

	mu    sync.Mutex
	size  int64
	at    map[digest.Digest]*list.Element
	order *list.List // of kept, what was asked for last at the front
}

type kept struct {
	digest digest.Digest
	body   []byte
}

func newBodies(limit int64) *bodies {
	return &bodies{limit: limit, at: map[digest.Digest]*list.Element{}, order: list.New()}
}

func (b *bodies) find(d digest.Digest) (body []byte, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.at[d]
	if !ok {
		return nil, false
	}
	b.order.MoveToFront(e)
	return e.Value.(kept).body, true
}

// keep keeps a body whose bytes were checked, and forgets others if they are too many.
func (b *bodies) keep(d digest.Digest, body []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.at[d]; ok {
		return
	}
	b.at[d] = b.order.PushFront(kept{d, body})
	b.size += int64(len(body))
	for b.size > b.limit {
		oldest := b.order.Remove(b.order.Back()).(kept)
		delete(b.at, oldest.digest)
		b.size -= int64(len(oldest.body))
	}
}

// sendManifest sends the body of a manifest. A large one that there is no memory for is sent as it is read.
func (g *Registry) sendManifest(w *answer, r *http.Request, repository string, f found) error {
	b, err := g.bodyOfManifest(r.Context(), repository, f)
	switch {
	case errors.Is(err, errBusy):
		stream, err := g.openBlob(r.Context(), repository, f.blob, span{0, f.Size})
		if err != nil {
			return err
		}
		defer func() { _ = stream.Close() }() // it was only read
		if err := w.send(http.StatusOK, stream); err != nil {
			return fmt.Errorf("send manifest %s: %w", f.Digest, err)
		}
		return nil
	case err != nil:
		return err
	}
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(b) // a client that has gone needs no answer
	return nil
}

// bodyOfManifest returns a manifest's bytes, from wherever they are. Those who want the same ones at the same time
// wait for one fetch: of one repository, as where the copies are is asked of its link.
//
// It fails with errBusy if there is no memory for it, or as openBlob.
func (g *Registry) bodyOfManifest(ctx context.Context, repository string, f found) ([]byte, error) {
	if f.Inline {
		return f.body, nil
	}
	if b, ok := g.bodies.find(f.blob.Digest); ok {
		return b, nil
	}
	fetched := g.bodies.flights.DoChan(repository+"@"+f.blob.Digest.String(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime) // others wait for it too
		defer cancel()
		return g.fetchBody(ctx, repository, f)
	})
	select {
	case one := <-fetched:
		b, _ := one.Val.([]byte)
		return b, one.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fetchBody reads a manifest's body, checks it, and keeps it.
func (g *Registry) fetchBody(ctx context.Context, repository string, f found) (b []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = blobstore.Panicked(p) // nothing else would catch it
		}
	}()
	if b, ok := g.bodies.find(f.blob.Digest); ok {
		return b, nil // by a fetch that has just ended
	}
	leave, err := enter(g.limits.manifests, f.blob.Size)
	if err != nil {
		return nil, err
	}
	defer leave()
	stream, err := g.openBlob(ctx, repository, f.blob, span{0, f.blob.Size})
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close() }() // it was only read
	b = make([]byte, f.blob.Size)
	if _, err := io.ReadFull(stream, b); err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", f.Digest, err)
	}
	if have := f.blob.Digest.Algorithm().FromBytes(b); have != f.blob.Digest {
		return nil, fmt.Errorf("read manifest %s: %w: it has %s", f.Digest, blobstore.ErrCopyDamaged, have)
	}
	g.bodies.keep(f.blob.Digest, b)
	return b, nil
}
