package fsm_test

import (
	"fmt"
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
