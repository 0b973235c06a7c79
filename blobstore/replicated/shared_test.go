package replicated_test

import (
	"context"
	"errors"
	"testing"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/memory"
	"github.com/seed-16d79997/zot/blobstore/replicated"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

// Where all nodes have the same store, nothing is sent to others, however many copies there should be, and what one
// has made the others read; uploads are each node's own, and found.
func TestASharedStore(t *testing.T) {
	t.Parallel()
	c := start(t, options{count: 3, replicas: 1, need: 1, timing: quick(), idle: true})
	shared, err := memory.New(memory.DefaultConfig())
	must(t, err)
	for _, n := range c.all {
		own, err := memory.New(memory.DefaultConfig())
		must(t, err)
		n.local = pool{own, shared}
		n.store, err = replicated.New(replicated.Config{Local: n.local, Shared: true, Members: n, Transport: c.transport, Timing: quick()})
		must(t, err)
		n.mu.Lock()
		n.handler = n.store.Handler()
		n.mu.Unlock()
		run(t, n.store)
	}
	p := storetest.Bytes(1, 3<<20)
	b := storetest.Store(t, shared, "u", p)
	for i, n := range c.all {
		r, err := n.store.Open(t.Context(), b, 0, -1)
		must(t, err)
		must(t, r.Close())
		must(t, n.store.CreateUpload(t.Context(), storetest.ID("mine"), "", 1))
		_, err = n.store.Append(t.Context(), storetest.ID("mine"), 0, bytesReader(p), 1)
		must(t, err)
		who, _, err := c.all[(i+1)%3].store.FindUpload(t.Context(), storetest.ID("mine"))
		if err != nil || who != n.member.Incarnation {
			t.Fatalf("the upload of %s is found at %s, %v", n.member.Incarnation, who, err)
		}
		must(t, n.store.RemoveUpload(t.Context(), storetest.ID("mine")))
		_, _, err = c.all[(i+1)%3].store.FindUpload(t.Context(), storetest.ID("mine"))
		if !errors.Is(err, blobstore.ErrUploadUnknown) {
			t.Fatalf("an upload that is gone: %v", err)
		}
		for id, err := range n.local.Uploads(t.Context(), blobstore.UploadID{}) {
			t.Errorf("%s has upload %v, %v", n.member.Incarnation, id, err)
		}
	}
}

// pool has uploads of its own, and copies that others have too.
type pool struct {
	*memory.Store

	copies *memory.Store
}

// Open opens a copy of the pool's.
func (p pool) Open(ctx context.Context, b blobstore.Blob, offset, length int64) (blobstore.Reader, error) {
	return p.copies.Open(ctx, b, offset, length)
}
