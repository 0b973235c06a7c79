package replicated_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

// BenchmarkPush is a push of a blob to three nodes in one process, which share its processors, and to one.
func BenchmarkPush(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 20} {
		for name, count := range map[string]int{"one node": 1, "three nodes": 3} {
			b.Run(fmt.Sprintf("%d bytes/%s", size, name), func(b *testing.B) {
				n := start(b, options{count: count, replicas: 3, need: min(2, count), timing: calm(), onDisk: true})
				p := storetest.Bytes(1, size)
				d := digest.FromBytes(p)
				b.SetBytes(int64(size))
				for i := 0; b.Loop(); i++ {
					push(b, n, storetest.ID(fmt.Sprint(i)), p, d)
				}
			})
		}
	}
}

func push(b *testing.B, n *nodes, id blobstore.UploadID, p []byte, d digest.Digest) {
	b.Helper()
	s := n.all[0].store
	must(b, s.CreateUpload(b.Context(), id, "", 1))
	if _, err := s.Append(b.Context(), id, 0, bytes.NewReader(p), 1); err != nil {
		b.Fatal(err)
	}
	if _, err := s.Finish(b.Context(), id, d); err != nil {
		b.Fatal(err)
	}
	at, err := s.Publish(b.Context(), id)
	must(b, err)
	must(b, s.EndUpload(b.Context(), id, 1))
	b.StopTimer()
	for _, l := range at {
		must(b, n.all[l.Incarnation[0]-1].local.RemoveCopies(b.Context(), l.Copy))
	}
	b.StartTimer()
}

// BenchmarkRead is a pull of a blob of another node.
func BenchmarkRead(b *testing.B) {
	const size = 64 << 20
	for name, on := range map[string]int{"own": 0, "elsewhere": 1} {
		b.Run(name, func(b *testing.B) {
			n := start(b, options{count: 2, replicas: 1, need: 1, timing: calm(), onDisk: true})
			blob := n.onNodes(b, storetest.Bytes(1, size), on)
			b.SetBytes(size)
			for b.Loop() {
				r, err := n.all[0].store.Open(b.Context(), blob, 0, -1)
				must(b, err)
				if _, err := r.WriteTo(writerFunc(func(p []byte) (int, error) { return len(p), nil })); err != nil {
					b.Fatal(err)
				}
				must(b, r.Close())
			}
		})
	}
}
