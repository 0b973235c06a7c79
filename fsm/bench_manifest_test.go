package fsm_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// BenchmarkLargestManifest puts and deletes a manifest with as many references as one may have: the
// slowest entries that there are, for all others wait behind them.
func BenchmarkLargestManifest(b *testing.B) {
	r := newCluster(b, 3)
	do(r, store("default", 24*time.Hour)) // each entry is a second later
	c := put("a", "largest")
	var batch []entry.Entry
	for i := range 4096 {
		text := fmt.Sprint("layer ", i)
		id := fsm.CopyID{1, byte(i), byte(i >> 8)}
		batch = append(batch, r.command(r.upload("a", text,
			fsm.Location{Incarnation: node(1), Copy: id}, fsm.Location{Incarnation: node(2), Copy: id})))
		c.Blobs = append(c.Blobs, dig(text))
	}
	for i, result := range r.apply(batch...) {
		if result.Outcome != entry.Applied {
			b.Fatalf("upload %d: %v", i, r.Explain(result))
		}
	}
	remove := fsm.DeleteManifest{Repository: "a", Digest: c.Digest}
	b.Run("put", func(b *testing.B) {
		for range b.N {
			do(r, c)
			b.StopTimer()
			do(r, remove)
			b.StartTimer()
		}
	})
	b.Run("delete", func(b *testing.B) {
		for range b.N {
			b.StopTimer()
			do(r, c)
			b.StartTimer()
			do(r, remove)
		}
	})
}

// BenchmarkPush applies what a push of an image of four layers needs, each command an entry of its own,
// in batches of 60 entries. One operation is one push. With quotas each of the prefixes above has one.
func BenchmarkPush(b *testing.B) {
	b.Run("plain", func(b *testing.B) { benchmarkPush(b, "") })
	b.Run("quotas", func(b *testing.B) { benchmarkPush(b, "company/team/", "", "company", "company/team") })
}

func benchmarkPush(b *testing.B, names string, quotas ...string) {
	r := newCluster(b, 3)
	var limits fsm.SetLimits
	for _, prefix := range quotas {
		limits.Quotas = append(limits.Quotas, fsm.Quota{Prefix: prefix, Bytes: 1 << 50})
	}
	do(r, limits)
	var batch []entry.Entry
	for i := range b.N {
		c := tagged(put(fmt.Sprint(names, "r", i%1000), fmt.Sprint("manifest ", i)), "latest")
		for layer := range 5 {
			text := fmt.Sprint("layer ", i, layer)
			id := fsm.CopyID{byte(layer), byte(i), byte(i >> 8), byte(i >> 16)}
			batch = append(batch, r.command(r.upload(c.Repository, text,
				fsm.Location{Incarnation: node(1), Copy: id}, fsm.Location{Incarnation: node(2), Copy: id})))
			c.Blobs = append(c.Blobs, dig(text))
		}
		batch = append(batch, r.command(c))
		if len(batch) == 60 || i == b.N-1 {
			for _, result := range r.apply(batch...) {
				if result.Outcome != entry.Applied {
					b.Fatal(r.Explain(result))
				}
			}
			batch = batch[:0]
		}
	}
}
