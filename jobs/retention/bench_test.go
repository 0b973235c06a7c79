package retention_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs/retention"
)

// BenchmarkRepository reads and judges one repository with so many tags, and as many manifests again that no
// tag names: what a walk costs.
func BenchmarkRepository(b *testing.B) {
	for _, size := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			state, err := fsm.Open(fsm.Config{Dir: b.TempDir(), Incarnation: self(), NoSync: true})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = state.Close() })
			fill(b, state, size)
			p := newest(10)
			p.DeleteUntagged, p.DeleteReferrers = true, true
			p.KeepTags = append(p.KeepTags, retention.KeepTags{Patterns: []string{`^v\d+\.\d+$`, "-prod"}})
			policies, err := retention.Compile(retention.Config{Delay: delay, Policies: []retention.Policy{p}})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				page, _, err := policies.Previews(b.Context(), state, fsm.DefaultStore, "", time.Now(), false)
				if err != nil || page[0].GoingTags != size-10 || page[0].GoingManifests != size {
					b.Fatal(page, err)
				}
			}
		})
	}
}

// fill puts manifests into repository "a", half of them with a tag, a thousand in a batch.
func fill(b *testing.B, state *fsm.State, size int) {
	b.Helper()
	var batch []entry.Entry
	for n := range 2 * size {
		cmd := manifest("a", fmt.Sprint(n))
		if cmd.Blobs = nil; n < size {
			cmd.Tags = []fsm.TagMove{{Tag: numbered(n)}}
		}
		payload, err := fsm.Encode(cmd)
		if err != nil {
			b.Fatal(err)
		}
		at := state.Position()
		batch = append(batch, entry.Entry{
			Index: at.Index + uint64(len(batch)) + 1, Term: 1, Kind: entry.Command, Payload: payload,
			Envelope: entry.Envelope{Term: 1, Time: at.Time, Date: int64(n) + 1},
		})
		if len(batch) == 1000 || n == 2*size-1 {
			state.Apply(batch)
			batch = nil
		}
	}
}
