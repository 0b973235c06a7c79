package fsm_test

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// update makes golden write what it would compare with.
var update = flag.Bool("update", false, "rewrite golden files") //nolint:gochecknoglobals // a flag of the test binary

// replica is a state that is given a log by hand: each command is an entry of its own, one second of
// state time after the one before, unless a test moves the clock or the term itself.
type replica struct {
	*fsm.State
	t        testing.TB
	dir      string
	term     uint64
	index    uint64
	time     entry.Time
	date     time.Time
	random   uint64 // of this "process"
	sequence uint64
}

// newReplica opens an empty state that is closed when the test ends.
func newReplica(t testing.TB) *replica {
	t.Helper()
	return openReplica(t, t.TempDir(), node(1))
}

// openReplica opens the state in dir and goes on where it ended.
func openReplica(t testing.TB, dir string, i entry.Incarnation) *replica {
	t.Helper()
	s, err := fsm.Open(fsm.Config{Dir: dir, Incarnation: i, NoSync: true, Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, fsm.ErrDamaged) { // some tests see to that
			t.Error(err)
		}
	})
	p := s.Position()
	return &replica{
		State: s, t: t, dir: dir, term: max(1, p.Term), index: p.Index, time: p.Time,
		date: time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC), random: p.Index,
	}
}

// node is the n-th incarnation of a test.
func node(n byte) entry.Incarnation { return entry.Incarnation{0: n, 15: n} }

// next makes the entry of a payload: the next index, the clock one second on, a fresh request id.
func (r *replica) next(payload []byte) entry.Entry {
	r.index++
	r.sequence++
	first := r.time
	r.time = r.time.Add(time.Second)
	r.date = r.date.Add(time.Second)
	return entry.Entry{
		Index: r.index,
		Term:  r.term,
		Kind:  entry.Command,
		Envelope: entry.Envelope{
			Request: entry.RequestID{Incarnation: node(200), Random: r.random, Sequence: r.sequence, FirstTry: first},
			Term:    r.term,
			Time:    r.time,
			Date:    r.date.UnixMilli(),
		},
		Payload: payload,
	}
}

// apply applies entries and keeps the replica's clock with the state's, which one entry moves by two
// ticks at most.
func (r *replica) apply(entries ...entry.Entry) []entry.Result {
	results := r.Apply(entries)
	r.time = r.Position().Time
	return results
}

// wait lets state time pass, in as many entries as it takes.
func (r *replica) wait(d time.Duration) {
	r.t.Helper()
	for end := r.time.Add(d); r.time < end; {
		r.time = min(end, r.time.Add(2*r.Tick())) - entry.Time(time.Second)
		e := r.next(payloadOf(r.t, fsm.TermStarted{}))
		e.Envelope.Request = entry.RequestID{}
		r.apply(e)
	}
}

// Propose applies a payload as the next entry: the replica is the whole cluster.
func (r *replica) Propose(_ context.Context, payload []byte) (entry.Result, error) {
	if err := r.Admit(payload); err != nil {
		return entry.Result{}, err
	}
	return r.apply(r.next(payload))[0], nil
}

// do proposes a command that must be applied, and returns its result.
func do[R any](r *replica, cmd fsm.CommandOf[R]) R {
	r.t.Helper()
	result, err := fsm.Do(r.t.Context(), r, cmd)
	if err != nil {
		r.t.Fatalf("%T: %v", cmd, err)
	}
	return result
}

// doAll applies commands in one batch.
func doAll[C fsm.Command](r *replica, commands []C) {
	r.t.Helper()
	batch := make([]entry.Entry, len(commands))
	for i, cmd := range commands {
		batch[i] = r.next(payloadOf(r.t, cmd))
	}
	for i, result := range r.apply(batch...) {
		if err := r.Explain(result); err != nil {
			r.t.Fatalf("%+v: %v", commands[i], err)
		}
	}
}

// refused proposes a command that must be refused for the reason given.
func refused[R any](r *replica, reason error, cmd fsm.CommandOf[R]) {
	r.t.Helper()
	if _, err := fsm.Do(r.t.Context(), r, cmd); !errors.Is(err, reason) {
		r.t.Fatalf("%T: %v, want refusal %v", cmd, err, reason)
	}
}

// view reads from the state of a replica.
func (r *replica) view(read func(v fsm.View)) {
	r.t.Helper()
	if err := r.View(func(v fsm.View) error { read(v); return nil }); err != nil {
		r.t.Fatal(err)
	}
}

// hash is the state hash as of now. It takes an entry.
func (r *replica) hash() string {
	r.t.Helper()
	do(r, fsm.HashCheck{})
	h, ok := r.Hash(r.index)
	if !ok {
		r.t.Fatalf("no hash noted at index %d", r.index)
	}
	return hex.EncodeToString(h)
}

// payloadOf encodes a command that must pass its check.
func payloadOf(t testing.TB, cmd fsm.Command) []byte {
	t.Helper()
	b, err := fsm.Encode(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// golden compares the payload of a command with testdata/<name>-<version>.golden: a log or a backup
// that holds an old entry must be readable for ever, so an encoding, once released, stands.
func golden(t *testing.T, cmd fsm.Command) {
	t.Helper()
	payload := payloadOf(t, cmd)
	n := 1 + int(payload[0])
	name := filepath.Join("testdata", string(payload[1:n])+"-"+string('0'+payload[n])+".golden")
	text := hex.EncodeToString(payload) + "\n"
	if *update {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != text {
		t.Errorf("%T is encoded as\n%s, but stands in logs as\n%s", cmd, strings.TrimSpace(text), want)
	}
}
