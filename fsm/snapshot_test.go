package fsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// snapshotOf is the stream of a replica's state.
func snapshotOf(t testing.TB, r *replica) []byte {
	t.Helper()
	s, err := r.OpenSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := s.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if s.Size() != int64(b.Len()) {
		t.Fatalf("a snapshot said that it has %d bytes, and has %d", s.Size(), b.Len())
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// install makes a stream the state of a replica.
func install(t testing.TB, r *replica, stream []byte, stamp entry.Stamp) {
	t.Helper()
	if err := r.Stage(bytes.NewReader(stream)); err != nil {
		t.Fatal(err)
	}
	if err := r.Install(stamp); err != nil {
		t.Fatal(err)
	}
	p := r.Position()
	r.index, r.term, r.time = p.Index, p.Term, p.Time
}

// stampOf is what Raft gives with a snapshot of this position.
func stampOf(p entry.Position) entry.Stamp {
	return entry.Stamp{Index: p.Index, Term: p.Term, Configuration: p.Configuration, ConfigurationIndex: p.ConfigurationIndex}
}

// filled is a replica with some state.
func filled(t testing.TB, stores int) *replica {
	t.Helper()
	r := newReplica(t)
	r.term = 3
	r.index++
	r.apply(entry.Entry{Index: r.index, Term: r.term, Kind: entry.Configuration, Payload: []byte("three nodes")})
	for i := range stores {
		do(r, store(fmt.Sprintf("store-%03d", i), time.Hour))
	}
	return r
}

func TestSnapshotMakesAnEqualState(t *testing.T) {
	a := filled(t, 40)
	a.hash() // notes one
	stream := snapshotOf(t, a)
	b := openReplica(t, t.TempDir(), node(2))
	do(b, store("of the old state", time.Hour))
	install(t, b, stream, stampOf(a.Position()))

	p := b.Position()
	if p.Index != a.index || p.Term != 3 || p.Time != a.time || string(p.Configuration) != "three nodes" || p.ConfigurationIndex != 1 {
		t.Errorf("position %+v after the install", p)
	}
	if _, ok := b.Hash(a.index); ok {
		t.Error("the hash that the sender noted for itself came along")
	}
	b.random, b.sequence, b.date = a.random, a.sequence, a.date // the next entries of both are the same
	for _, r := range []*replica{a, b} {
		do(r, store("one more", time.Minute))
		r.wait(time.Hour)
	}
	if ha, hb := a.hash(), b.hash(); ha != hb {
		t.Errorf("after the same entries one has %s, the other %s", ha, hb)
	}
}

func TestInstallSurvivesARestart(t *testing.T) {
	a := filled(t, 3)
	dir := t.TempDir()
	s, err := fsm.Open(fsm.Config{Dir: dir, Incarnation: node(2)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stage(bytes.NewReader(snapshotOf(t, a))); err != nil {
		t.Fatal(err)
	}
	if err := s.Install(stampOf(a.Position())); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := fsm.Open(fsm.Config{Dir: dir, Incarnation: node(1)}); err == nil {
		t.Error("the sender's incarnation opened it")
	}
	b := openReplica(t, dir, node(2))
	if b.index != a.index {
		t.Errorf("applied index %d after a restart, want %d", b.index, a.index)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 1 {
		t.Errorf("%v is left, %v", names, err)
	}
}

// TestViewsOutliveAnInstall reads from the old state while and after another takes its place.
func TestViewsOutliveAnInstall(t *testing.T) {
	a, b := filled(t, 3), openReplica(t, t.TempDir(), node(2))
	do(b, store("old", time.Hour))
	old, err := b.OpenSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	b.view(func(v fsm.View) {
		install(t, b, snapshotOf(t, a), stampOf(a.Position()))
		if _, known := v.Store("old"); !known {
			t.Error("an open view changed")
		}
	})
	b.view(func(v fsm.View) {
		if _, known := v.Store("old"); known {
			t.Error("a new view sees the old state")
		}
	})
	var stream bytes.Buffer
	if _, err := io.Copy(&stream, old); err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	c := openReplica(t, t.TempDir(), node(3))
	install(t, c, stream.Bytes(), stampOf(old.Position()))
	c.view(func(v fsm.View) {
		if _, known := v.Store("old"); !known {
			t.Error("a snapshot that was open meanwhile is of another state")
		}
	})
}

// TestSnapshotWhileApplying takes a snapshot, changes everything, and reads the snapshot then.
func TestSnapshotWhileApplying(t *testing.T) {
	a := filled(t, 100)
	s, err := a.OpenSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for i := range 100 {
			do(a, store(fmt.Sprintf("store-%03d", i), 3*time.Hour))
		}
	}
	stream, err := io.ReadAll(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b := openReplica(t, t.TempDir(), node(2))
	install(t, b, stream, stampOf(s.Position()))
	b.view(func(v fsm.View) {
		for _, s := range v.Stores() {
			if s.GCDelay != time.Hour {
				t.Fatalf("store %s has gcDelay %s", s.Name, s.GCDelay)
			}
		}
	})
	if err := b.Recount(t.Context(), unpaced); err != nil {
		t.Error(err)
	}
}

func TestInstallIsRefused(t *testing.T) {
	a, b := filled(t, 3), openReplica(t, t.TempDir(), node(2))
	do(b, store("old", time.Hour))
	if err := b.Install(entry.Stamp{Index: 100}); !errors.Is(err, fsm.ErrNotStaged) {
		t.Errorf("install of nothing: %v", err)
	}
	if err := b.Stage(bytes.NewReader(snapshotOf(t, a))); err != nil {
		t.Fatal(err)
	}
	if err := b.Install(entry.Stamp{Index: a.index - 1}); err == nil {
		t.Error("a stamp before the snapshot's last entry was taken: it would be applied again")
	}
	if err := b.Install(stampOf(a.Position())); !errors.Is(err, fsm.ErrNotStaged) {
		t.Errorf("a snapshot could be installed after a failure: %v", err)
	}
	b.view(func(v fsm.View) {
		if _, known := v.Store("old"); !known {
			t.Error("the old state is gone")
		}
	})
}

func TestStageRefuses(t *testing.T) {
	a := filled(t, 3)
	whole := snapshotOf(t, a)
	change := func(at int, b byte) []byte {
		s := bytes.Clone(whole)
		s[at] ^= b
		return s
	}
	tests := map[string][]byte{
		"nothing":        {},
		"half a header":  whole[:10],
		"another file":   bytes.Repeat([]byte("not a snapshot"), 100),
		"newer format":   change(11, 2),
		"another length": change(18, 1),
		"negative":       change(12, 0x80),
		"one bit":        change(len(whole)/2, 4),
		"in the sum":     change(len(whole)-1, 1),
		"cut short":      whole[:len(whole)-1],
		"too long":       append(bytes.Clone(whole), 0),
	}
	for name, stream := range tests {
		t.Run(name, func(t *testing.T) {
			b := openReplica(t, t.TempDir(), node(2))
			if err := b.Stage(bytes.NewReader(stream)); !errors.Is(err, fsm.ErrSnapshotInvalid) {
				t.Errorf("staged: %v", err)
			}
			if err := b.Install(stampOf(a.Position())); !errors.Is(err, fsm.ErrNotStaged) {
				t.Errorf("installed: %v", err)
			}
			if _, err := os.Stat(filepath.Join(b.dir, fsm.FileName+".new")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it is left: %v", err)
			}
		})
	}
}

func TestAdvanceOnlyRaises(t *testing.T) {
	r := filled(t, 1)
	for _, step := range []struct{ index, term, wantIndex, wantTerm uint64 }{{1, 9, 2, 3}, {2, 9, 2, 3}, {7, 5, 7, 5}, {6, 6, 7, 5}} {
		if err := r.Advance(step.index, step.term); err != nil {
			t.Fatal(err)
		}
		if p := r.Position(); p.Index != step.wantIndex || p.Term != step.wantTerm {
			t.Errorf("after %+v: %d of term %d", step, p.Index, p.Term)
		}
	}
	s, err := r.OpenSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	if s.Position().Index != 7 {
		t.Errorf("a snapshot of it says %d", s.Position().Index)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestInstallEndsAFence gives a node that differs from the majority a state of that majority, and
// another one that of a fenced node.
func TestInstallEndsAFence(t *testing.T) {
	sound, fenced := filled(t, 3), openReplica(t, t.TempDir(), node(2))
	do(fenced, fsm.HashCheck{})
	do(fenced, fsm.HashCheck{Index: fenced.index, Sum: bytes.Repeat([]byte{1}, 32)})
	if fenced.Fenced() == "" {
		t.Fatal("not fenced")
	}
	other := openReplica(t, t.TempDir(), node(3))
	install(t, other, snapshotOf(t, fenced), stampOf(fenced.Position()))
	install(t, fenced, snapshotOf(t, sound), stampOf(sound.Position()))
	for _, r := range []*replica{other, fenced} {
		if why := r.Fenced(); why != "" {
			t.Errorf("fenced: %s", why)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if why := openReplica(t, fenced.dir, node(2)).Fenced(); why != "" {
		t.Errorf("fenced after a restart: %s", why)
	}
}

// TestInstallUnderOtherNumbers gives a snapshot's bytes the numbers of another one.
func TestInstallUnderOtherNumbers(t *testing.T) {
	a := filled(t, 1)
	stream, right := snapshotOf(t, a), stampOf(a.Position())
	for name, wrong := range map[string]func(*entry.Stamp){
		"an earlier index": func(s *entry.Stamp) { s.Index-- },
		"a later index":    func(s *entry.Stamp) { s.Index++ },
		"an earlier term":  func(s *entry.Stamp) { s.Term-- },
		"a later term":     func(s *entry.Stamp) { s.Term++ },
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t)
			before, stamp := r.Position(), right
			wrong(&stamp)
			if err := r.Stage(bytes.NewReader(stream)); err != nil {
				t.Fatal(err)
			}
			if err := r.Install(stamp); err == nil {
				t.Error("installed")
			}
			if after := r.Position(); after.Index != before.Index || after.Term != before.Term {
				t.Errorf("the state is at %d of term %d, and was at %d of term %d", after.Index, after.Term, before.Index, before.Term)
			}
			if err := r.Install(right); !errors.Is(err, fsm.ErrNotStaged) {
				t.Errorf("what was refused is staged still: %v", err)
			}
			install(t, r, stream, right)
		})
	}
}
