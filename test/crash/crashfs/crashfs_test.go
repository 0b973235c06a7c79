package crashfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/test/crash/crashfs"
	"github.com/seed-16d79997/zot/test/crash/disk"
)

// files is the interface that the product's packages declare.
type files interface {
	Create(name string) (io.WriteCloser, error)
	Sync(name string) error
	Rename(oldname, newname string) error
	Remove(name string) error
	SyncDir(dir string) error
	Room(dir string) (int64, error)
}

var _ files = (*crashfs.FS)(nil)

func open(t *testing.T, dir string, plan crashfs.Plan) *crashfs.FS {
	t.Helper()
	f, err := crashfs.New(dir, plan)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func write(f files, name, content string) error {
	w, err := f.Create(name)
	if err != nil {
		return err
	}
	for part := range strings.SplitSeq(content, ",") {
		if _, err := io.WriteString(w, part); err != nil {
			return errors.Join(err, w.Close())
		}
	}
	return w.Close()
}

// read returns what is there, or "-" if nothing is.
func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "-"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestStepsAndCrash(t *testing.T) {
	work := func(f files, dir string) []error {
		return []error{
			write(f, filepath.Join(dir, "a"), "one,two"), // create, write, write
			f.Sync(filepath.Join(dir, "a")),
			f.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "b")),
			f.SyncDir(dir),
			f.Remove(filepath.Join(dir, "b")),
		}
	}
	dir := crashfs.TempDir(t)
	f := open(t, dir, crashfs.Plan{})
	must(t, work(f, dir)...)
	if got := f.Steps(); got != 7 {
		t.Fatalf("%d steps, want 7", got)
	}
	firstFailure := []int{0, 0, 0, 0, 1, 2, 3, 4} // index into work's errors, by step
	for at := 1; at <= 7; at++ {
		dir := crashfs.TempDir(t)
		f := open(t, dir, crashfs.Plan{CrashAt: at})
		for i, err := range work(f, dir) {
			if failed := errors.Is(err, crashfs.ErrCrashed); failed != (i >= firstFailure[at]) {
				t.Errorf("crash at step %d: call %d: %v", at, i, err)
			}
		}
		if f.Steps() != at || !f.Crashed() {
			t.Errorf("crash at step %d: %d steps, crashed %t", at, f.Steps(), f.Crashed())
		}
	}
}

// TestOutcomes wants to see each of the given states, and no other, over many seeds.
func TestOutcomes(t *testing.T) {
	old := strings.Repeat("o", 700)
	tests := []struct {
		name  string
		do    func(f files, dir string) error
		want  []string // old:new, of files that are whole
		other bool     // others as well: torn, short, zeros
	}{
		{"untouched", func(files, string) error { return nil }, []string{old + ":-"}, false},
		{"created, nothing synced", func(f files, dir string) error {
			return write(f, dir+"/new", "n")
		}, []string{old + ":-", old + ":", old + ":n"}, true},
		{"content synced, name not", func(f files, dir string) error {
			return errors.Join(write(f, dir+"/new", "n"), f.Sync(dir+"/new"))
		}, []string{old + ":-", old + ":n"}, false},
		{"name synced, content not", func(f files, dir string) error {
			return errors.Join(write(f, dir+"/new", "n"), f.SyncDir(dir))
		}, []string{old + ":", old + ":n"}, true},
		{"both synced", func(f files, dir string) error {
			return errors.Join(write(f, dir+"/new", "n"), f.Sync(dir+"/new"), f.SyncDir(dir))
		}, []string{old + ":n"}, false},
		{"renamed over", func(f files, dir string) error {
			return errors.Join(write(f, dir+"/new", "n"), f.Sync(dir+"/new"), f.SyncDir(dir), f.Rename(dir+"/new", dir+"/old"))
		}, []string{old + ":n", "n:-"}, false},
		{"renamed over, synced", func(f files, dir string) error {
			return errors.Join(write(f, dir+"/new", "n"), f.Sync(dir+"/new"), f.Rename(dir+"/new", dir+"/old"), f.SyncDir(dir))
		}, []string{"n:-"}, false},
		{"removed", func(f files, dir string) error { return f.Remove(dir + "/old") }, []string{old + ":-", "-:-"}, false},
		{"removed, synced", func(f files, dir string) error {
			return errors.Join(f.Remove(dir+"/old"), f.SyncDir(dir))
		}, []string{"-:-"}, false},
		{"rewritten in place", func(f files, dir string) error {
			return write(f, dir+"/old", strings.Repeat("n", 700))
		}, []string{old + ":-", strings.Repeat("n", 700) + ":-"}, true},
		{"written by others", func(f files, dir string) error {
			return errors.Join(os.WriteFile(dir+"/new", []byte("n"), 0o600), f.Sync(dir+"/new"), f.SyncDir(dir))
		}, []string{old + ":n"}, false},
		{"written by others, not synced", func(_ files, dir string) error {
			return os.WriteFile(dir+"/new", []byte("n"), 0o600)
		}, []string{old + ":-", old + ":", old + ":n"}, true},
		{"removed by others", func(_ files, dir string) error {
			return os.Remove(dir + "/old")
		}, []string{old + ":-", "-:-"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := map[string]int{}
			for seed := range int64(150) {
				dir := crashfs.TempDir(t)
				must(t, os.WriteFile(dir+"/old", []byte(old), 0o600))
				f := open(t, dir, crashfs.Plan{})
				must(t, tt.do(f, dir), f.Recover(disk.Arbitrary, seed))
				got[read(t, dir+"/old")+":"+read(t, dir+"/new")]++
			}
			for _, want := range tt.want {
				if got[want] == 0 {
					t.Errorf("%.20q was never found", want)
				}
				delete(got, want)
			}
			if len(got) > 0 && !tt.other {
				t.Errorf("also found %d others, one is %.40q", len(got), fmt.Sprint(got))
			}
		})
	}
}

func TestPolicies(t *testing.T) {
	for policy, want := range map[disk.Policy]string{disk.LoseAll: "synced", disk.KeepAll: "seen"} {
		dir := crashfs.TempDir(t)
		f := open(t, dir, crashfs.Plan{})
		must(t, write(f, "a", "synced"), f.Sync("a"), f.SyncDir("."), write(f, "a", "seen"), f.Recover(policy, 1))
		if got := read(t, filepath.Join(dir, "a")); got != want {
			t.Errorf("policy %d leaves %q, want %q", policy, got, want)
		}
	}
}

func TestTornStep(t *testing.T) {
	got := map[string]int{}
	for seed := range int64(100) {
		dir := crashfs.TempDir(t)
		f := open(t, dir, crashfs.Plan{CrashAt: 2, Torn: true, Seed: seed})
		if err := write(f, "a", "12345678"); !errors.Is(err, crashfs.ErrCrashed) {
			t.Fatalf("the write at which the power is cut returns %v", err)
		}
		must(t, f.Recover(disk.KeepAll, seed))
		got[read(t, filepath.Join(dir, "a"))]++
		if !strings.HasPrefix("12345678", read(t, filepath.Join(dir, "a"))) {
			t.Fatalf("seed %d: %q is no head of what was written", seed, read(t, filepath.Join(dir, "a")))
		}
	}
	if len(got) < 5 {
		t.Errorf("only %d ways to tear eight bytes: %v", len(got), got)
	}
	renamed := 0
	for seed := range int64(50) {
		dir := crashfs.TempDir(t)
		must(t, os.WriteFile(dir+"/a", nil, 0o600))
		f := open(t, dir, crashfs.Plan{CrashAt: 1, Torn: true, Seed: seed})
		if err := f.Rename("a", "b"); !errors.Is(err, crashfs.ErrCrashed) {
			t.Fatal(err)
		}
		must(t, f.Recover(disk.KeepAll, seed))
		if read(t, dir+"/b") == "" {
			renamed++
		}
	}
	if renamed == 0 || renamed == 50 {
		t.Errorf("a rename at which the power is cut had its effect %d of 50 times", renamed)
	}
}

func TestNamesOutsideAndMissing(t *testing.T) {
	f := open(t, crashfs.TempDir(t), crashfs.Plan{})
	if err := f.Sync("../x"); err == nil {
		t.Error("a name outside of the directory was taken")
	}
	for name, err := range map[string]error{"sync": f.Sync("x"), "remove": f.Remove("x"), "rename": f.Rename("x", "y"), "sync directory": f.SyncDir("x")} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of what is not there: %v", name, err)
		}
	}
	must(t, write(f, "file", "x"))
	if err := f.SyncDir("file"); err == nil {
		t.Error("a file was synced as a directory")
	}
}

func TestDirectories(t *testing.T) {
	dir := crashfs.TempDir(t)
	must(t, os.MkdirAll(dir+"/old", 0o700))
	f := open(t, dir, crashfs.Plan{})
	must(t,
		os.MkdirAll(dir+"/new/sub", 0o700), // by others, never synced
		write(f, "new/sub/a", "a"), f.Sync("new/sub/a"), f.SyncDir("new/sub"),
		write(f, "old/b", "b"), f.Sync("old/b"), f.SyncDir("old"),
		f.Recover(disk.LoseAll, 1))
	if got := read(t, dir+"/old/b"); got != "b" {
		t.Errorf("a file of an old directory: %q", got)
	}
	if _, err := os.Stat(dir + "/new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory whose name was never synced: %v", err)
	}
}

// replace is how a file is replaced safely; each test of it below leaves one step out.
func replace(f files, content string, skip string) error {
	steps := []struct {
		name string
		do   func() error
	}{
		{"write", func() error { return write(f, "t", content) }},
		{"sync", func() error { return f.Sync("t") }},
		{"rename", func() error { return f.Rename("t", "current") }},
		{"sync directory", func() error { return f.SyncDir(".") }},
	}
	for _, s := range steps {
		if s.name == skip {
			continue
		}
		if err := s.do(); err != nil {
			return err
		}
	}
	return nil
}

// crashReplacing replaces a file twice, crashes at every step, and returns what was found wrong.
func crashReplacing(t *testing.T, skip string) (wrong []string) {
	t.Helper()
	versions := []string{strings.Repeat("a", 1500), strings.Repeat("b", 600) + "," + strings.Repeat("b", 1300)}
	for at := 1; at <= 9; at++ {
		for seed := range int64(60) {
			dir := crashfs.TempDir(t)
			f := open(t, dir, crashfs.Plan{CrashAt: at, Torn: true, Seed: seed})
			acknowledged := -1
			for i, v := range versions {
				if replace(f, v, skip) != nil {
					break
				}
				acknowledged = i
			}
			must(t, f.Recover(disk.Arbitrary, seed))
			found, got := -2, read(t, dir+"/current")
			for i, v := range versions {
				if got == strings.ReplaceAll(v, ",", "") {
					found = i
				}
			}
			if got == "-" {
				found = -1
			}
			if found < acknowledged {
				wrong = append(wrong, fmt.Sprintf("step %d seed %d: version %d, acknowledged %d", at, seed, found, acknowledged))
			}
		}
	}
	return wrong
}

func TestReplacing(t *testing.T) {
	if wrong := crashReplacing(t, ""); len(wrong) > 0 {
		t.Errorf("the safe way lost a file: %s", wrong[0])
	}
	for _, skip := range []string{"sync", "sync directory"} {
		if wrong := crashReplacing(t, skip); len(wrong) == 0 {
			t.Errorf("nobody noticed that %q was left out", skip)
		}
	}
}

func TestRecoverIsReproducible(t *testing.T) {
	state := func() string {
		dir := crashfs.TempDir(t)
		f := open(t, dir, crashfs.Plan{CrashAt: 9, Torn: true, Seed: 4})
		for i := range 5 {
			_ = write(f, fmt.Sprint(i), strings.Repeat("x", 5000)) // fails from the crash on
		}
		must(t, f.Recover(disk.Arbitrary, 4))
		var all bytes.Buffer
		must(t, filepath.WalkDir(dir, func(at string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				fmt.Fprintf(&all, "%s %q\n", filepath.Base(at), read(t, at))
			}
			return err
		}))
		return all.String()
	}
	first, second := state(), state()
	if first != second {
		t.Error("one seed gave two disks")
	}
}

func BenchmarkCrashPoint(b *testing.B) {
	dir := crashfs.TempDir(b)
	for i := 0; b.Loop(); i++ {
		f, err := crashfs.New(dir, crashfs.Plan{CrashAt: 5, Torn: true, Seed: int64(i)})
		if err != nil {
			b.Fatal(err)
		}
		for range 3 {
			_ = replace(f, strings.Repeat("a", 20000), "") // fails from the crash on
		}
		if err := f.Recover(disk.Arbitrary, int64(i)); err != nil {
			b.Fatal(err)
		}
	}
}
