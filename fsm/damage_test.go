package fsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// damaged is a replica with 250 nodes, of which number 150 was changed on the disk by rot, while this
// one was down. rot is called for each place in the file at which that record lies or lay.
func damaged(t *testing.T, rot func(file []byte, at int)) *replica {
	t.Helper()
	dir := t.TempDir()
	s, err := fsm.Open(fsm.Config{Dir: dir, Incarnation: node(1), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{State: s, t: t, term: 1}
	for i := range 250 {
		do(r, fsm.NodeStarted{Node: named(byte(i))})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	spoil(t, filepath.Join(dir, fsm.FileName), []byte(named(150).Name), rot)
	return openReplica(t, dir, node(1))
}

func named(n byte) entry.Node {
	return entry.Node{Incarnation: node(n + 1), Name: fmt.Sprintf("a-node-with-the-number-%d", n), Level: 1}
}

// spoil changes a file wherever needle stands in it.
func spoil(t *testing.T, name string, needle []byte, rot func(file []byte, at int)) {
	t.Helper()
	file, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(file, needle) {
		t.Fatal("the record is not in the file")
	}
	for at := 0; ; at += len(needle) {
		next := bytes.Index(file[at:], needle)
		if next < 0 {
			break
		}
		at += next
		rot(file, at)
	}
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
}

func flipBit(file []byte, at int) { file[at+2] ^= 0x10 }

// breakPage makes nonsense of the header of the page that a record lies on.
func breakPage(file []byte, at int) {
	page := file[at/os.Getpagesize()*os.Getpagesize():]
	copy(page[8:10], []byte{0xff, 0xff})
}

func TestDamageIsAnErrorOfViewAndAFence(t *testing.T) {
	for name, rot := range map[string]func([]byte, int){"one bit": flipBit, "a page": breakPage} {
		t.Run(name, func(t *testing.T) {
			r := damaged(t, rot)
			if why := r.Fenced(); why != "" {
				t.Fatalf("fenced before anything was read: %s", why)
			}
			err := r.View(func(v fsm.View) error { v.Node(node(151)); return nil })
			if !errors.Is(err, fsm.ErrDamaged) {
				t.Fatalf("read: %v", err)
			}
			if r.Fenced() == "" {
				t.Error("not fenced")
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			if again := openReplica(t, r.dir, node(1)); again.Fenced() == "" {
				t.Error("not fenced after a restart")
			}
		})
	}
}

func TestDamageIsFoundByRecount(t *testing.T) {
	for name, rot := range map[string]func([]byte, int){"one bit": flipBit, "a page": breakPage} {
		t.Run(name, func(t *testing.T) {
			r := damaged(t, rot)
			if err := r.Recount(t.Context(), unpaced); !errors.Is(err, fsm.ErrDamaged) {
				t.Errorf("recount: %v", err)
			}
			if r.Fenced() == "" {
				t.Error("not fenced")
			}
		})
	}
}

// TestDamageOfAKey finds a record that lies under another key than it was written to.
func TestDamageOfAKey(t *testing.T) {
	dir := t.TempDir()
	s, err := fsm.Open(fsm.Config{Dir: dir, Incarnation: node(1), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	do(&replica{State: s, t: t, term: 1}, fsm.SetProgress{Job: "a-job-of-this-name", Term: 1, Value: []byte("half")})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	spoil(t, filepath.Join(dir, fsm.FileName), []byte("a-job-of-this-name"), flipBit)
	r := openReplica(t, dir, node(1))
	err = r.View(func(v fsm.View) error { v.ProgressBelow(""); return nil })
	if !errors.Is(err, fsm.ErrDamaged) {
		t.Errorf("read: %v", err)
	}
}

func TestDamageStopsApply(t *testing.T) {
	r := damaged(t, flipBit)
	index := r.Position().Index
	defer func() {
		if err, ok := recover().(error); !ok || !errors.Is(err, fsm.ErrDamaged) {
			t.Errorf("apply ended with %v", err)
		}
		if r.Position().Index != index {
			t.Error("the applied index moved")
		}
	}()
	do(r, fsm.NodeStarted{Node: named(150)})
}

// TestFaultOfTheMap takes the file away under its map, as a disk that fails to read does. Nothing works
// after it, and nothing hangs.
func TestFaultOfTheMap(t *testing.T) {
	dir := t.TempDir()
	s, err := fsm.Open(fsm.Config{Dir: dir, Incarnation: node(1), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, fsm.FileName), int64(2*os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		err = s.View(func(v fsm.View) error { v.Stores(); return nil })
		if !errors.Is(err, fsm.ErrDamaged) || s.Fenced() == "" {
			t.Errorf("read: %v, fenced %q", err, s.Fenced())
		}
	}
	if err := s.Advance(9, 1); !errors.Is(err, fsm.ErrDamaged) {
		t.Errorf("advance: %v", err)
	}
	if err := s.Close(); !errors.Is(err, fsm.ErrDamaged) {
		t.Errorf("close: %v", err)
	}
}

func TestPanicOfAReaderIsItsOwn(t *testing.T) {
	r := filled(t, 1)
	defer func() {
		if p := recover(); p != "a mistake" {
			t.Errorf("the panic became %v", p)
		}
		if why := r.Fenced(); why != "" {
			t.Errorf("fenced for it: %s", why)
		}
		r.view(func(fsm.View) {}) // nothing is held
	}()
	_ = r.View(func(fsm.View) error { panic("a mistake") })
}

func TestAfterClose(t *testing.T) {
	s, err := fsm.Open(fsm.Config{Dir: t.TempDir(), Incarnation: node(1), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	_, snapshot := s.OpenSnapshot()
	for name, err := range map[string]error{
		"view": s.View(func(fsm.View) error { return nil }), "snapshot": snapshot,
		"recount": s.Recount(t.Context(), unpaced), "advance": s.Advance(1, 1),
	} {
		if !errors.Is(err, fsm.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
