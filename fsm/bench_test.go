package fsm_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// BenchmarkApply applies batches of 64 logins, each a request that is kept for its retries. One operation
// is one entry.
func BenchmarkApply(b *testing.B) {
	for name, noSync := range map[string]bool{"fsync": false, "no-fsync": true} {
		b.Run(name, func(b *testing.B) {
			s, err := fsm.Open(fsm.Config{Dir: b.TempDir(), Incarnation: node(1), NoSync: noSync})
			if err != nil {
				b.Fatal(err)
			}
			r := &replica{State: s, t: b, term: 1, date: time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)}
			b.ReportAllocs()
			batch := make([]entry.Entry, 0, 64)
			for i := range b.N {
				user := fmt.Sprint(i % 10_000)
				batch = append(batch, r.command(r.login(fmt.Sprint(i), user, time.Hour)))
				if len(batch) == cap(batch) || i == b.N-1 {
					r.apply(batch...)
					batch = batch[:0]
				}
			}
			b.StopTimer()
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkCompact compacts a state of 200 MB of which half is free, while batches of 64 are applied as fast as
// they can be, and says for how long the slowest of them took; and the slowest without a compaction.
func BenchmarkCompact(b *testing.B) {
	for range b.N {
		s, err := fsm.Open(fsm.Config{Dir: b.TempDir(), Incarnation: node(1)})
		if err != nil {
			b.Fatal(err)
		}
		r := &replica{State: s, t: b, term: 1, date: time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)}
		for from := 0; from < 100_000; from += 500 {
			batch := make([]fsm.PutSession, 500)
			for i := range batch {
				batch[i] = r.login(fmt.Sprint(from+i), fmt.Sprint("user", (from+i)/50), time.Hour)
				batch[i].Groups = []string{strings.Repeat(fmt.Sprint(i%10), 900)}
			}
			doAll(r, batch)
		}
		for user := range 1200 {
			do(r, fsm.DeleteSessions{Subject: fmt.Sprint("user", user)})
		}
		r.wait(20 * time.Minute)
		size, free, err := s.Space()
		if err != nil {
			b.Fatal(err)
		}
		slowest := func(until func(batches int) bool) (longest time.Duration) {
			for i := 0; !until(i); i++ {
				var batch []entry.Entry
				for n := range 64 {
					batch = append(batch, r.command(r.login(fmt.Sprint("new", i, n), fmt.Sprint("late", n), time.Hour)))
				}
				began := b.Elapsed()
				r.apply(batch...)
				longest = max(longest, b.Elapsed()-began)
			}
			return longest
		}
		alone := slowest(func(batches int) bool { return batches == 500 })
		var over atomic.Bool
		during := make(chan time.Duration)
		go func() { during <- slowest(func(int) bool { return over.Load() }) }() // waited for below
		began := b.Elapsed()
		if err := s.Compact(b.Context(), unpaced); err != nil {
			b.Fatal(err)
		}
		took := b.Elapsed() - began
		over.Store(true)
		b.ReportMetric(float64((<-during).Milliseconds()), "ms-slowest")
		b.ReportMetric(float64(alone.Milliseconds()), "ms-slowest-without")
		now, _, err := s.Space()
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(size>>20), "MiB-before")
		b.ReportMetric(float64(free>>20), "MiB-free")
		b.ReportMetric(float64(now>>20), "MiB-after")
		b.ReportMetric(took.Seconds(), "s")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkView reads one record by its key, a view for each, as a request does.
func BenchmarkView(b *testing.B) {
	const keys = 20_000
	r := newReplica(b)
	for i := range keys {
		do(r, r.apiKey(fmt.Sprint(i), fmt.Sprint("user", i%100), 0))
	}
	hashes := make([]fsm.SecretHash, keys)
	for i := range hashes {
		hashes[i] = fsm.HashSecret(fmt.Sprint(i))
	}
	read := func(b *testing.B, i int) {
		err := r.View(func(v fsm.View) error {
			if _, known := v.APIKey(hashes[i%keys]); !known {
				b.Error("a key is missing")
			}
			return nil
		})
		if err != nil {
			b.Error(err)
		}
	}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			read(b, i)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i += 7 {
				read(b, i)
			}
		})
	})
}
