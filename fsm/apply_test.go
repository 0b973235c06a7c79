package fsm_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// command makes the next entry of a command.
func (r *replica) command(cmd fsm.Command) entry.Entry { return r.next(payloadOf(r.t, cmd)) }

func TestEntryOfAnotherTermIsRefused(t *testing.T) {
	r := newReplica(t)
	r.term = 5
	do(r, store("a", time.Hour))
	before := r.hash()
	old := r.command(store("b", time.Hour))
	old.Envelope.Term = 4
	old.Envelope.Time += entry.Time(time.Minute)
	if result := r.apply(old)[0]; result.Outcome != entry.WrongTerm {
		t.Fatalf("outcome %d", result.Outcome)
	}
	if p := r.Position(); p.Index != old.Index {
		t.Errorf("applied index %d, want %d", p.Index, old.Index)
	}
	r.view(func(v fsm.View) {
		if _, known := v.Store("b"); known {
			t.Error("it was applied")
		}
	})
	again := old // wrapped anew by the leader of the moment, under the same id
	again.Index, r.index = old.Index+1, old.Index+1
	again.Envelope.Term = 5
	if result := r.apply(again)[0]; result.Outcome != entry.Applied {
		t.Errorf("outcome %d of the second try: something of the first was kept", result.Outcome)
	}
	if r.hash() == before {
		t.Error("the second try changed nothing")
	}
}

// TestWrongTermMovesNoClock compares two states, one of which was given such an entry.
func TestWrongTermMovesNoClock(t *testing.T) {
	a, b := newReplica(t), newReplica(t)
	for _, r := range []*replica{a, b} {
		r.term = 5
		do(r, store("a", time.Hour))
	}
	e := a.command(fsm.TermStarted{})
	e.Envelope.Term = 4
	a.apply(e)
	if a.Position().Time != b.Position().Time {
		t.Errorf("state time %d, without it %d", a.Position().Time, b.Position().Time)
	}
}

func TestStateTime(t *testing.T) {
	const tick = entry.Time(time.Minute)
	tests := []struct {
		name           string
		envelope, want entry.Time
	}{
		{"begins", tick, tick},
		{"moves on", tick + 5, tick + 5},
		{"never falls", tick, tick + 5},
		{"two ticks", 3*tick + 5, 3*tick + 5},
		{"no more than two ticks", 1000 * tick, 5*tick + 5},
		{"a negative one", -7, 5*tick + 5},
	}
	r := newReplica(t)
	for _, test := range tests {
		e := r.command(fsm.TermStarted{})
		e.Envelope.Request = entry.RequestID{}
		e.Envelope.Time = test.envelope
		r.apply(e)
		if have := r.Position().Time; have != test.want {
			t.Errorf("%s: %d, want %d", test.name, have, test.want)
		}
	}
	do(r, store("quick", 16*time.Second)) // its tick is a second
	e := r.command(fsm.TermStarted{})
	e.Envelope.Time += 1000 * tick
	before := r.Position().Time
	r.apply(e)
	if moved := r.Position().Time.Sub(before); moved != 2*time.Second {
		t.Errorf("one entry moved it by %s, with a tick of a second", moved)
	}
}

func TestOldEntriesChangeNothing(t *testing.T) {
	r := newReplica(t)
	first, second := r.command(store("a", time.Hour)), r.command(store("b", time.Hour))
	r.apply(first, second)
	before := r.Position()
	first.Payload = payloadOf(t, store("c", time.Hour))
	first.Envelope.Request.Sequence += 100 // so that it is no retry
	if result := r.apply(first)[0]; result.Outcome != 0 {
		t.Errorf("an entry that was applied before has outcome %d", result.Outcome)
	}
	if p := r.Position(); p.Index != before.Index || p.Time != before.Time {
		t.Errorf("position %+v, before %+v", p, before)
	}
	r.view(func(v fsm.View) {
		if n := len(v.Stores()); n != 2 {
			t.Errorf("%d stores", n)
		}
	})
}

// TestUnknownCommandStopsTheNode applies committed entries that this binary cannot execute, in the middle
// of a batch: it must stop with a line that names the entry, and nothing of the batch may stay.
func TestUnknownCommandStopsTheNode(t *testing.T) {
	for name, payload := range map[string][]byte{
		"put-flag version 9": append([]byte("\x08put-flag\x09"), 0xa0),
		"set-store/1":        append(payloadOf(t, store("x", time.Hour)), 0),
		"no command name":    {},
	} {
		t.Run(strings.ReplaceAll(name, "/", "-"), func(t *testing.T) {
			r := newReplica(t)
			do(r, store("a", time.Hour))
			batch := []entry.Entry{r.command(store("b", time.Hour)), r.next(payload), r.command(store("c", time.Hour))}
			died := stopped(func() error { r.Apply(batch); return nil })
			if died == nil {
				t.Fatal("it was passed over")
			}
			words := fmt.Sprintf("entry %d of term 1 cannot be applied", batch[1].Index)
			what := strings.Replace(name, "put-flag version", `"put-flag" version`, 1)
			if !strings.Contains(died.Error(), words) || !strings.Contains(died.Error(), what) {
				t.Errorf("it says %q", died)
			}
			again := reopenCopy(t, r)
			if again.index != 1 {
				t.Errorf("applied index %d", again.index)
			}
			again.view(func(v fsm.View) {
				if n := len(v.Stores()); n != 1 {
					t.Errorf("%d stores", n)
				}
			})
		})
	}
}

// reopenCopy opens what is in the file of a replica, as a process that starts after this one was killed.
func reopenCopy(t *testing.T, r *replica) *replica {
	t.Helper()
	dir := t.TempDir()
	copyFile(t, filepath.Join(r.dir, fsm.FileName), filepath.Join(dir, fsm.FileName))
	return openReplica(t, dir, node(1))
}

// TestIndexAndDataChangeTogether looks at the file after every batch.
func TestIndexAndDataChangeTogether(t *testing.T) {
	r := newReplica(t)
	for range 8 {
		r.apply(r.command(store(fmt.Sprint(r.index), time.Hour)), r.command(store(fmt.Sprint(r.index), time.Hour)))
		again := reopenCopy(t, r)
		if again.index != r.index || again.time != r.time {
			t.Errorf("the file is at %d, the state at %d", again.index, r.index)
		}
		again.view(func(v fsm.View) {
			if n := uint64(len(v.Stores())); n != r.index {
				t.Errorf("%d stores at index %d", n, r.index)
			}
		})
		again.sound()
	}
}

func TestConfigurationIsPartOfThePosition(t *testing.T) {
	r := newReplica(t)
	do(r, store("a", time.Hour))
	r.index++
	result := r.apply(entry.Entry{Index: r.index, Term: 1, Kind: entry.Configuration, Payload: []byte("two nodes")})
	if result[0].Outcome != entry.Applied {
		t.Errorf("outcome %d", result[0].Outcome)
	}
	do(r, store("b", time.Hour))
	for _, s := range []*replica{r, reopenCopy(t, r)} {
		if p := s.Position(); p.Index != 3 || p.ConfigurationIndex != 2 || string(p.Configuration) != "two nodes" {
			t.Errorf("position %+v", p)
		}
	}
}

// TestBatchesDoNotMatter gives the same entries to states that cut them into batches differently, one of
// which restarts after each.
func TestBatchesDoNotMatter(t *testing.T) {
	source := newReplica(t)
	var log []entry.Entry
	add := func(e entry.Entry) { log = append(log, e); source.apply(e) }
	for i := range 400 {
		e := source.command(store(fmt.Sprint(i%7), time.Duration(1+i%5)*time.Hour/8))
		switch i % 11 {
		case 3:
			e = source.command(fsm.HashCheck{})
		case 5:
			e.Envelope.Time += entry.Time(i) * entry.Time(time.Second)
		case 7:
			e.Envelope.Request = log[i-2].Envelope.Request
		case 9:
			e.Envelope.Term = 0
		}
		add(e)
	}
	for i := range 7 { // the shortest lease, and so the tick, is another once this change is over
		add(source.command(store(fmt.Sprint(i), 2*time.Hour)))
	}
	for range 200 {
		e := source.command(fsm.TermStarted{})
		e.Envelope.Time += entry.Time(time.Hour)
		add(e)
	}
	want := source.hash()
	for _, size := range []int{len(log), 64, 7, 3} {
		r := newReplica(t)
		for rest := log; len(rest) > 0; {
			n := min(size, len(rest))
			r.Apply(rest[:n])
			rest = rest[n:]
			if size == 7 {
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
				r = openReplica(t, r.dir, node(1))
			}
		}
		r.random, r.sequence, r.index, r.time, r.date = source.random, source.sequence-1, source.index-1, r.Position().Time, source.date.Add(-time.Second)
		if have := r.hash(); have != want {
			t.Errorf("in batches of %d: hash %s, want %s", size, have, want)
		}
		if r.Tick() != source.Tick() {
			t.Errorf("in batches of %d: tick %s, want %s", size, r.Tick(), source.Tick())
		}
		r.sound()
	}
}

func TestOpenRefuses(t *testing.T) {
	r := newReplica(t)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := fsm.Open(fsm.Config{Dir: r.dir, Incarnation: node(2), NoSync: true})
	if err == nil || !strings.Contains(err.Error(), node(1).String()) {
		t.Errorf("the file of another incarnation: %v", err)
	}
	if _, err := fsm.Open(fsm.Config{Dir: filepath.Join(r.dir, "none"), Incarnation: node(1)}); err == nil {
		t.Error("a directory that is not there was opened")
	}
	for name, change := range map[string]func(file []byte) []byte{
		"noise":     func([]byte) []byte { return []byte(strings.Repeat("noise", 10_000)) },
		"cut short": func(file []byte) []byte { return file[:5000] },
		"no pages":  func(file []byte) []byte { clear(file[2*os.Getpagesize():]); return file },
	} {
		dir := t.TempDir()
		file, err := os.ReadFile(filepath.Join(r.dir, fsm.FileName))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fsm.FileName), change(file), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := fsm.Open(fsm.Config{Dir: dir, Incarnation: node(1), NoSync: true}); err == nil {
			t.Errorf("%s was opened", name)
		}
	}
}

func TestClosedStateStopsApply(t *testing.T) {
	r := newReplica(t)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	died := stopped(func() error { r.Apply([]entry.Entry{r.command(fsm.TermStarted{})}); return nil })
	if died == nil || !strings.Contains(died.Error(), fsm.ErrClosed.Error()) {
		t.Errorf("apply ended with %v", died)
	}
	if errors.Is(died, fsm.ErrDamaged) {
		t.Error("it says that the file is damaged")
	}
}
