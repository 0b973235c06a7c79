package disk_test

import (
	"bytes"
	"testing"

	"github.com/seed-16d79997/zot/test/crash/disk"
)

func TestContentPolicies(t *testing.T) {
	synced, seen := bytes.Repeat([]byte("o"), 1300), bytes.Repeat([]byte("n"), 3000)
	for name, c := range map[string]struct {
		policy       disk.Policy
		synced, seen []byte
		want         []byte
	}{
		"grown, lost":    {disk.LoseAll, synced, seen, synced},
		"grown, kept":    {disk.KeepAll, synced, seen, seen},
		"shrunk, lost":   {disk.LoseAll, seen, synced, seen},
		"shrunk, kept":   {disk.KeepAll, seen, synced, synced},
		"new file, lost": {disk.LoseAll, nil, seen, nil},
		"nothing to do":  {disk.Arbitrary, seen, seen, seen},
	} {
		t.Run(name, func(t *testing.T) {
			got := disk.NewFate(c.policy, 1).Content(c.synced, c.seen)
			if !bytes.Equal(got, c.want) {
				t.Errorf("%d bytes, want %d of the right version", len(got), len(c.want))
			}
		})
	}
}

// TestContentArbitrary counts the ways in which a file may be left, and wants to see each of them.
func TestContentArbitrary(t *testing.T) {
	synced, seen := bytes.Repeat([]byte("o"), 4096), bytes.Repeat([]byte("n"), 8192)
	found := map[string]int{}
	for seed := range int64(2000) {
		got := disk.NewFate(disk.Arbitrary, seed).Content(synced, seen)
		again := disk.NewFate(disk.Arbitrary, seed).Content(synced, seen)
		if !bytes.Equal(got, again) {
			t.Fatalf("seed %d gives two disks", seed)
		}
		classify(found, got, synced, seen)
		for at, b := range got {
			if b != 'o' && b != 'n' && b != 0 {
				t.Fatalf("seed %d: byte %d is %q, which nobody wrote", seed, at, b)
			}
		}
	}
	for _, way := range []string{"old", "new", "size between", "torn", "zeros", "old and new"} {
		if found[way] == 0 {
			t.Errorf("no disk of %d is %q", 2000, way)
		}
	}
}

func classify(found map[string]int, got, synced, seen []byte) {
	switch {
	case bytes.Equal(got, synced):
		found["old"]++
	case bytes.Equal(got, seen):
		found["new"]++
	}
	if len(got) > len(synced) && len(got) < len(seen) {
		found["size between"]++
	}
	whole := map[byte]bool{}
	for at := 0; at+disk.SectorSize <= min(len(got), len(synced)); at += disk.SectorSize {
		sector := got[at : at+disk.SectorSize]
		first := sector[:1]
		switch {
		case bytes.Count(sector, first) != disk.SectorSize:
			found["torn"]++
		case first[0] == 0:
			found["zeros"]++
		default:
			whole[first[0]] = true
		}
	}
	if len(whole) == 2 {
		found["old and new"]++
	}
}
