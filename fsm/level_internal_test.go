package fsm

import (
	"errors"
	"testing"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// TestRaisedLevel runs as a binary that knows level 3, since this one knows only that of every cluster.
func TestRaisedLevel(t *testing.T) {
	config := Config{Dir: t.TempDir(), Incarnation: entry.Incarnation{1}, NoSync: true}
	s, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	s.highest = 3
	s.commands[kind{"term-started", 1}] = spec{kind: kind{"term-started", 1}, level: 2, decode: s.commands[kind{"term-started", 1}].decode}
	newer, err := Encode(TermStarted{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Admit(newer); !errors.Is(err, ErrNotAdmitted) {
		t.Errorf("a command of level 2 at level 1: %v", err)
	}
	node := entry.Node{Incarnation: entry.Incarnation{1}, Name: "a", Level: 3}
	for i, cmd := range []Command{NodeStarted{Node: node}, RaiseLevel{Level: 3, Now: true}, RaiseLevel{Level: 2, Now: true}} {
		payload, err := Encode(cmd)
		if err != nil {
			t.Fatal(err)
		}
		r := s.Apply([]entry.Entry{{Index: uint64(i) + 1, Term: 1, Kind: entry.Command, Envelope: entry.Envelope{Term: 1}, Payload: payload}})
		if r[0].Outcome != entry.Applied {
			t.Fatalf("%T: %v", cmd, s.Explain(r[0]))
		}
	}
	if s.Level() != 3 {
		t.Errorf("level %d", s.Level())
	}
	if err := s.Admit(newer); err != nil {
		t.Errorf("a command of level 2 at level 3: %v", err)
	}
	snapshot, err := s.OpenSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	old, err := Open(Config{Dir: t.TempDir(), Incarnation: entry.Incarnation{2}, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Stage(snapshot); !errors.Is(err, ErrLevelUnknown) {
		t.Errorf("an older binary staged it: %v", err)
	}
	if err := errors.Join(snapshot.Close(), s.Close(), old.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(config); !errors.Is(err, ErrLevelUnknown) {
		t.Errorf("an older binary opened it: %v", err)
	}
}
