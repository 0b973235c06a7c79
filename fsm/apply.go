package fsm

import (
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// Apply executes committed entries in one durable transaction and returns a result for each, in
// order. Entries at or below the applied index change nothing (invariant 8).
//
// It panics if it cannot: a storage error, a damaged record, or a committed command that this binary
// does not know. The node must stop then; nothing of the batch has been made durable.
func (s *State) Apply(entries []entry.Entry) []entry.Result {
	results := make([]entry.Result, len(entries))
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.change(func(b *batch) {
		for i := range entries {
			results[i] = b.apply(&entries[i])
		}
	})
	if err != nil {
		panic(fmt.Errorf("apply entries %d to %d: %w", entries[0].Index, entries[len(entries)-1].Index, err))
	}
	return results
}

// batch is one transaction in which entries are applied one after the other.
type batch struct {
	state    *State
	tx       tx
	position entry.Position
	fenced   string
}

func (s *State) openBatch(bolt *bbolt.Tx) *batch {
	b := &batch{state: s, tx: tx{reader: reader{bolt}, sums: map[bucket]*sum{}, highest: s.highest, recount: s.recount, changed: s.changes}}
	b.position = b.tx.position()
	b.tx.now = b.position.Time // or the first entry of a batch would be judged by another tick than the rest
	b.fenced = string(b.tx.get(local, keyFenced))
	for _, name := range replicated() {
		v := b.tx.runningSum(name)
		b.tx.sums[name] = &v
	}
	return b
}

// close writes what belongs to the whole batch and returns what the State keeps in memory of it.
func (b *batch) close() memory {
	for name, v := range b.tx.sums {
		b.tx.put(local, sumKey(name), v.bytes())
	}
	b.tx.savePosition(b.position)
	return memory{position: b.position, level: b.tx.level(), tick: b.tx.tick(), fenced: b.fenced}
}

func (b *batch) apply(e *entry.Entry) entry.Result {
	if e.Index <= b.position.Index {
		return entry.Result{}
	}
	b.position.Index, b.position.Term = e.Index, e.Term
	if e.Kind == entry.Configuration {
		b.position.Configuration, b.position.ConfigurationIndex = e.Payload, e.Index
		return entry.Result{Outcome: entry.Applied}
	}
	if e.Envelope.Term != e.Term {
		return entry.Result{Outcome: entry.WrongTerm} // GC T1; before the clock, which it must not move
	}
	b.tx.now = advance(b.position.Time, e.Envelope.Time, b.tx.tick())
	b.tx.date, b.tx.index, b.tx.term = e.Envelope.Date, e.Index, e.Term
	b.position.Time = b.tx.now
	return b.command(e)
}

// advance is the state time of an entry: never less than before, and two ticks more at most, so that
// a leader that was paused for an hour cannot end every lease with one entry.
func advance(before, wanted entry.Time, tick entry.Time) entry.Time {
	return max(before, min(wanted, before+2*tick))
}

func (b *batch) command(e *entry.Entry) entry.Result {
	sp, body, err := b.state.parse(e.Payload)
	if err != nil {
		panic(fmt.Errorf("entry %d of term %d cannot be applied: %w; install the version that the other nodes run", e.Index, e.Term, err))
	}
	run, err := sp.decode(body)
	if err != nil {
		panic(fmt.Errorf("entry %d of term %d cannot be applied: %s: %w", e.Index, e.Term, sp.kind, err))
	}
	b.tx.forget()
	horizon := b.tx.horizon(run.command)
	if result, known := b.tx.remembered(e.Envelope.Request, horizon); known {
		return result
	}
	if b.tx.barred(run.command) {
		return refused(ErrRestoring) // it was not judged, so nothing is kept: the same request may come again
	}
	result := b.run(sp, run)
	b.tx.remember(e.Envelope.Request, result, horizon)
	return result
}

func (b *batch) run(sp spec, r runner) entry.Result {
	if check, ok := r.command.(HashCheck); ok {
		b.compare(check)
	}
	bytes, err := b.execute(sp, r)
	var refusal *Refusal
	switch {
	case err == nil:
		return entry.Result{Outcome: entry.Applied, Bytes: bytes}
	case errors.As(err, &refusal):
		return refused(refusal)
	default:
		panic(fmt.Errorf("%s ended with an error that is no refusal: %w", r.command.wire(), err))
	}
}

// execute lets a command judge and change the state.
func (b *batch) execute(sp spec, r runner) ([]byte, error) {
	if sp.content {
		if err := b.tx.writable(); err != nil {
			return nil, err
		}
	}
	bytes, err := r.run(&b.tx)
	b.tx.countGrown()
	return bytes, err
}

func refused(r *Refusal) entry.Result {
	return entry.Result{Outcome: entry.Refused, Bytes: encode(r)}
}

// fence notes why this node must neither serve nor vote; the first reason stays.
func (b *batch) fence(reason string) {
	if b.fenced == "" {
		b.fenced = reason
		b.tx.put(local, keyFenced, []byte(reason))
	}
}
