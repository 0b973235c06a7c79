package fsm_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/crash/crashfs"
	"github.com/seed-16d79997/zot/test/crash/disk"
)

// crashSeeds is with how many seeds each step is crashed. What two seeds of a step leave differs in how
// much of each file is there.
var crashSeeds = flag.Int("crash-seeds", 3, "power cuts for each step of a write") //nolint:gochecknoglobals // a flag of the test binary

// seam is Files that a test exchanges once a state is open.
type seam struct{ fsm.Files }

// slim is Files under which a state's file is as short as it can be.
type slim struct{ fsm.Files }

// Sync makes a file shorter before it syncs it.
func (s slim) Sync(name string) error {
	return errors.Join(crashfs.Trim(name), s.Files.Sync(name))
}

// stopped runs work as a process that may die in it: by an error, or by the panic of a state that must
// not go on. It returns nil if work ended.
func stopped(work func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return work()
}

// copyFile is for a template that many tests of one test begin with.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestCrashWhileInstalling cuts the power at every step of Stage and Install. What a restart finds is the
// old state or the new one, whole; the new one for certain once Install has returned.
func TestCrashWhileInstalling(t *testing.T) {
	a := filled(t, 20)
	stream, stamp := snapshotOf(t, a), stampOf(a.Position())
	template := t.TempDir()
	b := openReplica(t, template, node(2))
	do(b, store("old", time.Hour))
	old := b.Position()
	if err := errors.Join(b.Close(), crashfs.Trim(filepath.Join(template, fsm.FileName))); err != nil {
		t.Fatal(err)
	}
	i := installing{t: t, template: template, old: old.Index, stream: stream, stamp: stamp, found: map[string]int{}}
	steps := i.crash(crashfs.Plan{}, disk.LoseAll)
	for at := 1; at <= steps; at++ {
		for seed := range int64(*crashSeeds) {
			i.crash(crashfs.Plan{CrashAt: at, Torn: true, Seed: seed}, disk.Arbitrary)
		}
	}
	if i.found["old"] == 0 || i.found["new"] < 2 {
		t.Errorf("%v: one of the two was never found", i.found)
	}
	t.Logf("%d crash points, at %d steps; found afterwards: %v", i.found["old"]+i.found["new"], steps, i.found)
}

// installing is a snapshot on its way into a node's state.
type installing struct {
	t        *testing.T
	template string // has a state's file
	old      uint64 // the log index that it has come to
	stream   []byte
	stamp    entry.Stamp
	found    map[string]int // how often which state was found
}

// crash takes the snapshot in on a copy of the template, cuts the power, and looks.
func (i installing) crash(plan crashfs.Plan, policy disk.Policy) (steps int) {
	t := i.t
	t.Helper()
	dir, s, power := underPower(t, i.template, node(2), plan)
	died := stopped(func() error { return errors.Join(s.Stage(bytes.NewReader(i.stream)), s.Install(i.stamp)) })
	if (died != nil) != (plan.CrashAt > 0) {
		t.Fatalf("%+v: %v", plan, died)
	}
	steps = power.Steps()
	if err := errors.Join(s.Close(), power.Recover(policy, plan.Seed)); err != nil {
		t.Fatal(err)
	}
	what := whichState(t, dir, i.old, i.stamp)
	if died == nil && what != "new" {
		t.Errorf("the state is %s after an Install that returned", what)
	}
	i.found[what]++
	return steps
}

// underPower opens a copy of the state that a directory has, of a node, so that its power is cut as planned.
func underPower(t *testing.T, template string, i entry.Incarnation, plan crashfs.Plan) (dir string, s *fsm.State, power *crashfs.FS) {
	t.Helper()
	dir = crashfs.TempDir(t)
	path := filepath.Join(dir, fsm.FileName)
	copyFile(t, filepath.Join(template, fsm.FileName), path)
	files := &seam{fsm.SystemFiles()}
	s, err := fsm.Open(fsm.Config{Dir: dir, Incarnation: i, Files: files, NoSync: true})
	if err = errors.Join(err, crashfs.Trim(path)); err != nil {
		t.Fatal(err)
	}
	if power, err = crashfs.New(dir, plan); err != nil {
		t.Fatal(err)
	}
	files.Files = slim{power}
	return dir, s, power
}

// whichState opens what a power cut left, and fails the test unless it is one whole state of the two.
func whichState(t *testing.T, dir string, old uint64, stamp entry.Stamp) string {
	t.Helper()
	s, err := fsm.Open(fsm.Config{Dir: dir, Incarnation: node(2), NoSync: true})
	if err != nil {
		t.Fatalf("nothing opens after the crash: %v", err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	var stores int
	err = s.View(func(v fsm.View) error {
		stores = len(v.Stores())
		for _, finding := range v.Check() {
			t.Error(finding)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	p := s.Position()
	if names, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(names) != 1 {
		t.Errorf("%v is left, %v", names, err)
	}
	switch {
	case stores == 1 && p.Index == old:
		return "old"
	case stores == 20 && p.Index == stamp.Index && p.Term == stamp.Term && bytes.Equal(p.Configuration, stamp.Configuration):
		return "new"
	default:
		t.Errorf("%d stores at %+v is neither state", stores, p)
		return "neither"
	}
}

// TestCrashWhileTheFirstFileIsMade cuts the power at every step of the first Open. The next one makes
// the state, or finds it.
func TestCrashWhileTheFirstFileIsMade(t *testing.T) {
	points := 0
	crash := func(plan crashfs.Plan, seed int64) (steps int) {
		dir := crashfs.TempDir(t)
		power, err := crashfs.New(dir, plan)
		if err != nil {
			t.Fatal(err)
		}
		died := stopped(func() error {
			s, err := fsm.Open(fsm.Config{Dir: dir, Incarnation: node(2), Files: slim{power}, NoSync: true})
			if err != nil {
				return err
			}
			return s.Close()
		})
		if plan.CrashAt == 0 {
			if died != nil {
				t.Fatal(died)
			}
			return power.Steps() // bbolt writes the file itself from now on
		}
		if !power.Crashed() || died == nil {
			t.Fatalf("%+v: %v", plan, died)
		}
		if err := power.Recover(disk.Arbitrary, seed); err != nil {
			t.Fatal(err)
		}
		s, err := fsm.Open(fsm.Config{Dir: dir, Incarnation: node(2), NoSync: true})
		if err != nil {
			t.Fatalf("%+v, seed %d: nothing opens after the crash: %v", plan, seed, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return power.Steps()
	}
	steps := crash(crashfs.Plan{}, 0)
	for at := 1; at <= steps; at++ {
		for seed := range int64(2 * *crashSeeds) {
			crash(crashfs.Plan{CrashAt: at, Torn: true, Seed: seed}, seed)
			points++
		}
	}
	t.Logf("%d crash points, at %d steps", points, steps)
}

// failing is Files of which one kind of step fails, without any crash.
type failing struct {
	fsm.Files
	what string
}

var errDisk = errors.New("disk failed")

func (f failing) Sync(name string) error {
	if f.what == "sync" {
		return errDisk
	}
	return f.Files.Sync(name)
}

func (f failing) Rename(oldname, newname string) error {
	if f.what == "rename" {
		return errDisk
	}
	return f.Files.Rename(oldname, newname)
}

func (f failing) SyncDir(dir string) error {
	if f.what == "sync directory" {
		return errDisk
	}
	return f.Files.SyncDir(dir)
}

// TestDiskFailsWhileInstalling goes on after a failure before the rename, and does not after one behind it.
func TestDiskFailsWhileInstalling(t *testing.T) {
	a := filled(t, 20)
	stream, stamp := snapshotOf(t, a), stampOf(a.Position())
	for what, stops := range map[string]bool{"sync": false, "rename": false, "sync directory": true} {
		t.Run(what, func(t *testing.T) {
			files := &seam{fsm.SystemFiles()}
			s, err := fsm.Open(fsm.Config{Dir: t.TempDir(), Incarnation: node(2), Files: files, NoSync: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			if err := s.Stage(bytes.NewReader(stream)); err != nil {
				t.Fatal(err)
			}
			files.Files = failing{fsm.SystemFiles(), what}
			panicked := true
			died := stopped(func() error { err := s.Install(stamp); panicked = false; return err })
			if died == nil || panicked != stops {
				t.Fatalf("install: %v", died)
			}
			if stops {
				return
			}
			files.Files = fsm.SystemFiles()
			if p := s.Position(); p.Index != 0 {
				t.Errorf("position %+v", p)
			}
			if err := errors.Join(s.Stage(bytes.NewReader(stream)), s.Install(stamp)); err != nil {
				t.Errorf("the next install: %v", err)
			}
		})
	}
}
