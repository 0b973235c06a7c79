package main

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/timing"
)

// settled is a Consistency whose rounds are over.
type settled struct{}

func (settled) Read(context.Context) (bool, error) { return false, nil }
func (settled) ReadIndex(context.Context) error    { return nil }
func (settled) NoQuorum() bool                     { return false }

// BenchmarkUnknownAPIKeys compares API keys that are there, of another than who asks, with those that nobody has: what whoever
// has neither can see. A key is not guessed for all that: it has 128 random bits, and is looked for by its hash.
func BenchmarkUnknownAPIKeys(b *testing.B) {
	state, err := fsm.Open(fsm.Config{Dir: b.TempDir(), Incarnation: entry.Incarnation{1}, NoSync: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = state.Close() })
	one := &alone{State: state}
	known, err := newPeople(state, settled{}, one, false)
	if err != nil {
		b.Fatal(err)
	}
	var secrets, others []string
	for n := range 1000 {
		secrets, others = append(secrets, auth.NewKey()), append(others, auth.NewKey())
		id := fsm.KeyID{byte(n), byte(n >> 8)}
		if _, err := fsm.Do(b.Context(), one, fsm.CreateAPIKey{Hash: fsm.HashAPIKey(secrets[n]), ID: id, Owner: fmt.Sprint("user", n%10)}); err != nil {
			b.Fatal(err)
		}
	}
	g := auth.New(auth.Config{Keys: known})
	try := func(secret string) {
		r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "/v2/", http.NoBody)
		if err != nil {
			b.Fatal(err)
		}
		r.SetBasicAuth("eve", secret)
		if _, err := g.Identify(r); err == nil {
			b.Fatal("eve is in")
		}
	}
	asked := 0
	timing.Compare(b, "known", "unknown", [2]func(){
		func() { asked++; try(secrets[asked%len(secrets)]) },
		func() { asked++; try(others[asked%len(others)]) },
	})
}
