package replicated_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/memory"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

func TestANodeFetchesABlob(t *testing.T) {
	t.Parallel()
	for size, p := range map[string][]byte{"empty": nil, "small": storetest.Bytes(1, small), "large": storetest.Bytes(2, large)} {
		for name, c := range map[string]struct{ asked, to, holder int }{
			"another for a third": {0, 1, 2},
			"another from here":   {0, 1, 0},
			"this one":            {0, 0, 2},
		} {
			t.Run(name+"/"+size, func(t *testing.T) {
				t.Parallel()
				n := start(t, options{count: 3, replicas: 3, need: 2, timing: calm()})
				b := n.onNodes(t, p, c.holder)
				s, to := n.all[c.asked].store, n.all[c.to].member.Incarnation
				id, err := s.Fetch(t.Context(), to, b)
				must(t, err)
				u, err := n.all[c.to].local.Upload(t.Context(), id)
				if err != nil || !u.Finished || u.Active != 7 {
					t.Errorf("upload is %+v, %v", u, err)
				}
				at, err := s.PublishAt(t.Context(), to, id)
				must(t, err)
				b.Locations = append(b.Locations, at)
				if on, want := n.holders(t, b), []int{min(c.to, c.holder), max(c.to, c.holder)}; !slices.Equal(on, want) || at.Incarnation != to {
					t.Errorf("copies on %v, want %v; the new one %v", on, want, at)
				}
				if _, err := s.PublishAt(t.Context(), to, id); !errors.Is(err, blobstore.ErrUploadUnknown) {
					t.Errorf("published again: %v", err)
				}
				n.nothingLeft(t)
			})
		}
	}
}

func TestAFetchThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(t *testing.T, n *nodes, b *blobstore.Blob)
		want  error
	}{
		"no copy": {func(_ *testing.T, _ *nodes, b *blobstore.Blob) { b.Locations = nil }, blobstore.ErrCopyUnknown},
		"its own copy is none to read": {func(_ *testing.T, n *nodes, b *blobstore.Blob) {
			b.Locations[0].Incarnation = n.all[1].member.Incarnation
		}, blobstore.ErrCopyUnknown},
		"damaged": {func(t *testing.T, n *nodes, b *blobstore.Blob) {
			must(t, n.all[2].local.(*memory.Store).Damage(b.Locations[0].Copy, 5))
		}, blobstore.ErrCopyDamaged},
		"wrong bytes":    {func(_ *testing.T, n *nodes, _ *blobstore.Blob) { n.all[2].lying(5) }, blobstore.ErrDigestMismatch},
		"holder is dead": {func(_ *testing.T, n *nodes, _ *blobstore.Blob) { n.all[2].cut() }, blobstore.ErrUnreachable},
		"no room": {func(_ *testing.T, n *nodes, _ *blobstore.Blob) {
			n.all[1].local.(*memory.Store).SetCapacity(1)
		}, blobstore.ErrNoSpace},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t, options{count: 3, replicas: 3, need: 2, timing: calm()})
			b := n.onNodes(t, storetest.Bytes(1, small), 2)
			c.spoil(t, n, &b)
			if _, err := n.all[0].store.Fetch(t.Context(), n.all[1].member.Incarnation, b); !errors.Is(err, c.want) {
				t.Errorf("error is %v, want %v", err, c.want)
			}
			n.nothingLeft(t)
		})
	}
}

func TestAFetchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	n := start(t, options{count: 3, replicas: 3, need: 2, timing: calm()})
	b := n.onNodes(t, storetest.Bytes(1, large), 2)
	entered := make(chan struct{})
	n.all[2].after(1<<20, func() { n.all[2].freeze(); close(entered) })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	if _, err := n.all[0].store.Fetch(ctx, n.all[1].member.Incarnation, b); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	n.nothingLeft(t)
}

func TestANodeThatIsGoneFetchesNothing(t *testing.T) {
	t.Parallel()
	n := start(t, options{count: 3, replicas: 3, need: 2, timing: calm()})
	b := n.onNodes(t, storetest.Bytes(1, small), 2)
	n.all[1].cut()
	if _, err := n.all[0].store.Fetch(t.Context(), n.all[1].member.Incarnation, b); err == nil {
		t.Error("a dead node fetched a blob")
	}
	if _, err := n.all[0].store.PublishAt(t.Context(), n.all[1].member.Incarnation, blobstore.UploadID{1}); err == nil {
		t.Error("a dead node published a blob")
	}
}

func TestAnUploadIsFoundWhereItIs(t *testing.T) {
	t.Parallel()
	timing := calm()
	timing.Find = 3 * time.Second // in which all but one answer
	n := start(t, options{count: 4, replicas: 3, need: 2, timing: timing})
	s, id := n.all[0].store, storetest.ID("u")
	if _, _, err := s.FindUpload(t.Context(), id); !errors.Is(err, blobstore.ErrUploadUnknown) {
		t.Errorf("nobody has it: %v", err)
	}
	must(t, n.all[1].store.EndUpload(t.Context(), id, 1))
	if _, _, err := s.FindUpload(t.Context(), id); !errors.Is(err, blobstore.ErrUploadEnded) {
		t.Errorf("it has ended: %v", err)
	}
	n.all[3].freeze()
	for i, size := range map[int]int{2: 10, 3: 20} {
		must(t, n.all[i].local.CreateUpload(t.Context(), id, "", 3))
		if _, err := n.all[i].local.Append(t.Context(), id, 0, bytes.NewReader(make([]byte, size)), 3); err != nil {
			t.Fatal(err)
		}
	}
	want := blobstore.Upload{ID: id, Offset: 10, Active: 3}
	if at, u, err := s.FindUpload(t.Context(), id); err != nil || at != n.all[2].member.Incarnation || u != want {
		t.Errorf("it is on a node that answers: %v %+v %v", at, u, err)
	}
	n.all[3].thaw()
	want.Offset = 20
	eventually(t, "the longer one is found", func() bool {
		at, u, err := s.FindUpload(t.Context(), id)
		return err == nil && at == n.all[3].member.Incarnation && u == want
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.FindUpload(ctx, id); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits: %v", err)
	}
}
