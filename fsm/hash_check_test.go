package fsm_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

func TestHashCheckEncoding(t *testing.T) {
	golden(t, fsm.HashCheck{Index: 1000, Sum: bytes.Repeat([]byte{0xab}, 32)})
	for _, bad := range []fsm.HashCheck{{Index: 1}, {Sum: make([]byte, 32)}, {Index: 1, Sum: make([]byte, 33)}} {
		if _, err := fsm.Encode(bad); err == nil {
			t.Errorf("%+v was encoded", bad)
		}
	}
}

func TestHashCheckFencesWhoeverDiffers(t *testing.T) {
	r := filled(t, 2)
	do(r, fsm.HashCheck{})
	first := r.index
	own, ok := r.Hash(first)
	if !ok || len(own) != 32 {
		t.Fatalf("hash %x, %t", own, ok)
	}
	do(r, fsm.HashCheck{Index: first, Sum: own})
	do(r, fsm.HashCheck{Index: 999_999, Sum: own}) // of an index that this node has noted nothing at
	if why := r.Fenced(); why != "" {
		t.Fatalf("fenced for an equal hash: %s", why)
	}
	other := bytes.Clone(own)
	other[31] ^= 1
	do(r, fsm.HashCheck{Index: first, Sum: other})
	if r.Fenced() == "" {
		t.Error("not fenced for another hash")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if again := openReplica(t, r.dir, node(1)); again.Fenced() == "" {
		t.Error("not fenced after a restart")
	}
}

func TestHashChangesWithTheState(t *testing.T) {
	r := newReplica(t)
	seen := map[string]string{}
	for _, step := range []struct {
		name   string
		change func()
	}{
		{"empty", func() {}},
		{"a store", func() { do(r, store("a", time.Hour)) }},
		{"another number", func() { do(r, store("a", 2*time.Hour)) }},
		{"time", func() { r.wait(time.Minute) }},
	} {
		step.change()
		h := r.hash()
		if before, twice := seen[h]; twice {
			t.Errorf("%q has the hash of %q", step.name, before)
		}
		seen[h] = step.name
	}
}

func TestOnlyTheNewestHashesAreKept(t *testing.T) {
	r := newReplica(t)
	for range 40 {
		do(r, fsm.HashCheck{})
	}
	for i := uint64(1); i <= 40; i++ {
		if _, ok := r.Hash(i); ok != (i > 8) {
			t.Errorf("hash of entry %d kept: %t", i, ok)
		}
	}
}
