package replicated_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/memory"
	"github.com/seed-16d79997/zot/blobstore/replicated"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

// Where all nodes have the same store, nothing is sent to others, however many copies there should be, and what one
// has made the others read; uploads are each node's own, and found.
func TestASharedStore(t *testing.T) {
	t.Parallel()
	timing := calm()
	timing.Find = 10 * time.Second // all of them answer
	c := start(t, options{count: 3, replicas: 3, need: 2, timing: timing, idle: true})
	shared, err := memory.New(memory.DefaultConfig())
	must(t, err)
	for _, n := range c.all {
		own, err := memory.New(memory.DefaultConfig())
		must(t, err)
		n.local = pool{own, shared}
		n.store, err = replicated.New(replicated.Config{Name: storeName, Local: n.local, Shared: true, Members: n, Transport: c.transport, Timing: timing})
		must(t, err)
		n.mu.Lock()
		n.handler = replicated.Handler(n.store)
		n.mu.Unlock()
		run(t, n.store)
	}
	p := storetest.Bytes(1, 3<<20)
	for i, n := range c.all {
		next := c.all[(i+1)%3].store
		id := storetest.ID("mine")
		must(t, n.store.CreateUpload(t.Context(), id, "", 1))
		_, err = n.store.Append(t.Context(), id, 0, bytesReader(p), 1)
		must(t, err)
		who, _, err := next.FindUpload(t.Context(), id)
		if err != nil || who != n.member.Incarnation {
			t.Fatalf("the upload of %s is found at %s, %v", n.member.Incarnation, who, err)
		}
		size, err := n.store.Finish(t.Context(), id, digest.FromBytes(p))
		must(t, err)
		at, err := n.store.Publish(t.Context(), id)
		if err != nil || len(at) != 1 || at[0].Incarnation != (blobstore.Incarnation{}) {
			t.Fatalf("published at %v, %v", at, err)
		}
		must(t, n.store.RemoveUpload(t.Context(), id))
		if _, _, err := next.FindUpload(t.Context(), id); !errors.Is(err, blobstore.ErrUploadUnknown) {
			t.Fatalf("an upload that is gone: %v", err)
		}
		r, err := next.Open(t.Context(), blobstore.Blob{Digest: digest.FromBytes(p), Size: size, Locations: at}, 0, -1)
		must(t, err)
		must(t, r.Close())
		for _, m := range c.all {
			for u, err := range m.local.Uploads(t.Context(), blobstore.UploadID{}) {
				t.Errorf("%s has upload %v, %v", m.member.Incarnation, u, err)
			}
		}
	}
}

// pool has uploads of its own, and copies that others have too.
type pool struct {
	*memory.Store

	copies *memory.Store
}

// Publish makes a copy in the pool.
func (p pool) Publish(ctx context.Context, id blobstore.UploadID) ([]blobstore.Location, error) {
	if _, err := p.Store.Publish(ctx, id); err != nil {
		return nil, err
	}
	r, err := p.OpenUpload(ctx, id)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.NewSectionReader(r, 0, 1<<30))
	if err != nil {
		return nil, err
	}
	if err := p.copies.CreateUpload(ctx, id, "", 1); err != nil {
		return nil, err
	}
	if _, err := p.copies.Append(ctx, id, 0, bytesReader(b), 1); err != nil {
		return nil, err
	}
	if _, err := p.copies.Finish(ctx, id, digest.FromBytes(b)); err != nil {
		return nil, err
	}
	at, err := p.copies.Publish(ctx, id)
	return at, errors.Join(err, p.copies.RemoveUpload(ctx, id))
}

// Open opens a copy of the pool's.
func (p pool) Open(ctx context.Context, b blobstore.Blob, offset, length int64) (blobstore.Reader, error) {
	return p.copies.Open(ctx, b, offset, length)
}
