package disk_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/test/crash/disk"
)

type (
	tree = disk.Tree[string]
	node = disk.Node[string]
)

// onDisk lists the paths on the disk, a file with its value, a directory with a slash.
func onDisk(t *testing.T, tr *tree) []string {
	t.Helper()
	var out []string
	err := tr.Walk(func(at string, n *node) error {
		if strings.Count(at, "/") > 200 {
			return fmt.Errorf("%s: a directory contains itself", at)
		}
		if n.IsDir() {
			out = append(out, at+"/")
		} else {
			out = append(out, at+"="+n.Value)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// seen lists what programs see, in the same form.
func seen(dir *node, prefix string) []string {
	var out []string
	for _, name := range dir.Names() {
		n, at := dir.Lookup(name), path.Join(prefix, name)
		if n.IsDir() {
			out = append(append(out, at+"/"), seen(n, at)...)
		} else {
			out = append(out, at+"="+n.Value)
		}
	}
	return out
}

// start returns a tree that has the directories a and b, and the file a/x, on the disk.
func start() (tr *tree, a, b *node) {
	tr = disk.New("root", nil)
	a, b = tr.NewDir("a"), tr.NewDir("b")
	tr.Load(tr.Root(), "a", a)
	tr.Load(tr.Root(), "b", b)
	tr.Load(a, "x", tr.NewFile("1"))
	return tr, a, b
}

func TestCut(t *testing.T) {
	tests := []struct {
		name string
		do   func(tr *tree, a, b *node)
		want []string // every outcome that is allowed, each of which must be seen
	}{
		{
			"nothing done",
			func(*tree, *node, *node) {},
			[]string{"a/ a/x=1 b/"},
		},
		{
			"a new file may be missing",
			func(tr *tree, _, b *node) { tr.Link(b, "y", tr.NewFile("2")) },
			[]string{"a/ a/x=1 b/", "a/ a/x=1 b/ b/y=2"},
		},
		{
			"a new file is there when its directory was synced",
			func(tr *tree, _, b *node) { tr.Link(b, "y", tr.NewFile("2")); tr.SyncDir(b) },
			[]string{"a/ a/x=1 b/ b/y=2"},
		},
		{
			"the wrong directory was synced",
			func(tr *tree, a, b *node) { tr.Link(b, "y", tr.NewFile("2")); tr.SyncDir(a); tr.SyncDir(tr.Root()) },
			[]string{"a/ a/x=1 b/", "a/ a/x=1 b/ b/y=2"},
		},
		{
			"a removed file may come back",
			func(tr *tree, a, _ *node) { tr.Unlink(a, "x") },
			[]string{"a/ b/", "a/ a/x=1 b/"},
		},
		{
			"a rename is one step",
			func(tr *tree, a, b *node) { tr.Rename(a, "x", b, "y") },
			[]string{"a/ a/x=1 b/", "a/ b/ b/y=1"},
		},
		{
			"a sync of either directory covers a rename",
			func(tr *tree, a, b *node) { tr.Rename(a, "x", b, "y"); tr.SyncDir(a) },
			[]string{"a/ b/ b/y=1"},
		},
		{
			"a replaced file is old or new, never gone",
			func(tr *tree, a, _ *node) { tr.Link(a, "t", tr.NewFile("2")); tr.Rename(a, "t", a, "x") },
			[]string{"a/ a/x=1 b/", "a/ a/t=2 a/x=1 b/", "a/ a/x=2 b/"},
		},
		{
			"names in one directory arrive in any order",
			func(tr *tree, _, b *node) { tr.Link(b, "1", tr.NewFile("1")); tr.Link(b, "2", tr.NewFile("2")) },
			[]string{"a/ a/x=1 b/", "a/ a/x=1 b/ b/1=1", "a/ a/x=1 b/ b/2=2", "a/ a/x=1 b/ b/1=1 b/2=2"},
		},
		{
			"a new directory whose parent was not synced takes its files along",
			func(tr *tree, _, b *node) {
				d := tr.NewDir("d")
				tr.Link(b, "d", d)
				tr.Link(d, "y", tr.NewFile("2"))
				tr.SyncDir(d)
			},
			[]string{"a/ a/x=1 b/", "a/ a/x=1 b/ b/d/ b/d/y=2"},
		},
		{
			"a file moved to a new directory whose parent was not synced is at its old place",
			func(tr *tree, a, b *node) {
				d := tr.NewDir("d")
				tr.Link(b, "d", d)
				tr.Rename(a, "x", d, "x")
				tr.SyncDir(d)
			},
			[]string{"a/ a/x=1 b/", "a/ b/ b/d/ b/d/x=1"},
		},
		{
			"a directory is not removed before what was moved out of it has arrived",
			func(tr *tree, a, b *node) {
				tr.Rename(a, "x", b, "x")
				tr.Unlink(tr.Root(), "a")
			},
			[]string{"a/ a/x=1 b/", "a/ b/ b/x=1", "b/ b/x=1"},
		},
		{
			"a synced removal of a directory takes its files along",
			func(tr *tree, a, _ *node) {
				tr.Unlink(a, "x")
				tr.Unlink(tr.Root(), "a")
				tr.SyncDir(tr.Root())
			},
			[]string{"b/"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := map[string]bool{}
			for seed := range int64(300) {
				tr, a, b := start()
				tt.do(tr, a, b)
				tr.Cut(disk.NewFate(disk.Arbitrary, seed))
				got[strings.Join(onDisk(t, tr), " ")] = true
			}
			want := slices.Sorted(slices.Values(tt.want))
			if have := slices.Sorted(maps.Keys(got)); !slices.Equal(have, want) {
				t.Errorf("outcomes\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// random makes changes that a program could make. Files that have a value of their own and were on the disk
// from the start are only moved.
type random struct {
	tr   *tree
	rng  *rand.Rand
	dirs []*node
	next int
}

func (r *random) dir() *node { return r.dirs[r.rng.IntN(len(r.dirs))] }

// pick returns a name in a directory, of a file or of a directory.
func (r *random) pick(dir *node, isDir bool) (string, bool) {
	names := slices.DeleteFunc(dir.Names(), func(name string) bool { return dir.Lookup(name).IsDir() != isDir })
	if len(names) == 0 {
		return "", false
	}
	return names[r.rng.IntN(len(names))], true
}

func (r *random) fresh() string { r.next++; return fmt.Sprintf("n%d", r.next) }

func (r *random) step() {
	dir, other := r.dir(), r.dir()
	switch r.rng.IntN(8) {
	case 0:
		d := r.tr.NewDir("")
		r.tr.Link(dir, r.fresh(), d)
		r.dirs = append(r.dirs, d)
	case 1:
		r.tr.Link(dir, r.fresh(), r.tr.NewFile("new"))
	case 2, 3:
		if name, ok := r.pick(dir, false); ok {
			r.tr.Rename(dir, name, other, r.fresh())
		}
	case 4, 5:
		if name, ok := r.pick(dir, true); ok && !below(dir.Lookup(name), other) {
			r.tr.Rename(dir, name, other, r.fresh())
		}
	case 6:
		if name, ok := r.pick(dir, false); ok && dir.Lookup(name).Value == "new" {
			r.tr.Unlink(dir, name)
		}
		if name, ok := r.pick(dir, true); ok && len(dir.Lookup(name).Names()) == 0 {
			gone := dir.Lookup(name)
			r.tr.Unlink(dir, name)
			r.dirs = slices.DeleteFunc(r.dirs, func(d *node) bool { return d == gone })
		}
	case 7:
		if r.rng.IntN(3) == 0 {
			r.tr.SyncDir(dir)
		}
	}
}

// below says whether n is dir or a directory in it.
func below(dir, n *node) bool {
	if dir == n {
		return true
	}
	for _, name := range dir.Names() {
		if child := dir.Lookup(name); child.IsDir() && below(child, n) {
			return true
		}
	}
	return false
}

func newRandom(seed int64) *random {
	tr, a, b := start()
	for i := range 5 {
		tr.Load(a, fmt.Sprintf("f%d", i), tr.NewFile(fmt.Sprintf("v%d", i)))
	}
	// a seed has to bring a failure back
	return &random{tr: tr, rng: rand.New(rand.NewPCG(uint64(seed), 1)), dirs: []*node{tr.Root(), a, b}}
}

func TestCutNeverLosesWhatWasOnlyMoved(t *testing.T) {
	for seed := range int64(3000) {
		r := newRandom(seed)
		for range 5 + r.rng.IntN(60) {
			r.step()
		}
		r.tr.Cut(disk.NewFate(disk.Arbitrary, seed))
		count := map[string]int{}
		for _, line := range onDisk(t, r.tr) {
			if _, value, ok := strings.Cut(line, "="); ok {
				count[value]++
			}
		}
		for _, value := range []string{"1", "v0", "v1", "v2", "v3", "v4"} {
			if count[value] != 1 {
				t.Fatalf("seed %d: the file %s is on the disk %d times", seed, value, count[value])
			}
		}
	}
}

func TestCutKeepsWhatWasSynced(t *testing.T) {
	for seed := range int64(500) {
		r := newRandom(seed)
		for range 40 {
			r.step()
		}
		for _, i := range r.rng.Perm(len(r.dirs)) {
			r.tr.SyncDir(r.dirs[i])
		}
		if n := r.tr.Pending(); n != 0 {
			t.Fatalf("seed %d: %d changes pending after a sync of every directory", seed, n)
		}
		want := seen(r.tr.Root(), "")
		for range 20 {
			r.tr.Link(r.dir(), r.fresh(), r.tr.NewFile("new"))
		}
		r.tr.Cut(disk.NewFate(disk.LoseAll, seed))
		if got := onDisk(t, r.tr); !slices.Equal(got, want) {
			t.Fatalf("seed %d: on the disk\n%q\nwant\n%q", seed, got, want)
		}
	}
}

func TestCutKeepAll(t *testing.T) {
	for seed := range int64(500) {
		r := newRandom(seed)
		for range 40 {
			r.step()
		}
		want := seen(r.tr.Root(), "")
		if lost := r.tr.Cut(disk.NewFate(disk.KeepAll, seed)); lost != 0 {
			t.Fatalf("seed %d: %d changes lost", seed, lost)
		}
		if got := onDisk(t, r.tr); !slices.Equal(got, want) {
			t.Fatalf("seed %d: on the disk\n%q\nwant\n%q", seed, got, want)
		}
	}
}

func TestFreed(t *testing.T) {
	var freed []string
	tr := disk.New("root", func(v string) { freed = append(freed, v) })
	n := tr.NewFile("f")
	tr.Hold(n)
	tr.Link(tr.Root(), "f", n)
	tr.SyncDir(tr.Root())
	tr.Unlink(tr.Root(), "f")
	tr.Drop(n)
	if len(freed) != 0 {
		t.Fatal("a file was freed that the disk still has")
	}
	tr.SyncDir(tr.Root())
	if !slices.Equal(freed, []string{"f"}) {
		t.Fatalf("freed %q, want the file", freed)
	}
}
