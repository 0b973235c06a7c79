package cluster_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/crash/crashfs"
	"github.com/seed-16d79997/zot/test/crash/disk"
	"github.com/seed-16d79997/zot/test/sim"
)

// crashSeeds is with how many seeds each step is crashed. What two seeds of a step leave differs in how
// much of each file is there.
var crashSeeds = flag.Int("crash-seeds", 3, "power cuts for each step of a write") //nolint:gochecknoglobals // a flag of the test binary

// slim is Files under which a state's file is as short as it can be.
type slim struct{ fsm.Files }

// Sync makes a file shorter before it syncs it.
func (s slim) Sync(name string) error {
	return errors.Join(crashfs.Trim(name), s.Files.Sync(name))
}

// start does what a node does with its directory before it runs, and returns who it is and whether it is
// new; a panic ends it, as it does a process. It calls settled for a file that bbolt has synced by itself,
// which a double of Files cannot see.
func start(dir string, files fsm.Files, settled func(name string) error) (i entry.Incarnation, made bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	d, err := cluster.OpenDirectory(dir, files)
	if err != nil {
		return i, false, err
	}
	state, err := fsm.Open(fsm.Config{Dir: dir, Incarnation: d.Incarnation, Files: files, NoSync: true})
	if err != nil {
		return i, false, err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	if err := settled(filepath.Join(dir, fsm.FileName)); err != nil {
		return i, false, err
	}
	node, err := cluster.New(cluster.Config{
		Dir: dir, Incarnation: d.Incarnation, Cluster: "crash", Node: "n1", Timing: cluster.DefaultTiming(),
		State: sim.Machine{State: state}, Roster: state, Files: files, NoSync: true,
	})
	if err != nil {
		return i, false, err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	if err := settled(filepath.Join(dir, cluster.LogName)); err != nil {
		return i, false, err
	}
	made = d.New
	return d.Incarnation, made, d.Seal()
}

// machine is one whose power is cut while a node starts on it again and again.
type machine struct {
	t       *testing.T
	disk    string // what lasts; the node's directory is made in it
	counted *entry.Incarnation
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	return &machine{t: t, disk: crashfs.TempDir(t)}
}

// cut starts the node and cuts the power at a step, or afterwards if there are fewer. It returns the steps
// that were made, without those that only stand for what bbolt does to the state's file: it has an order
// of its own there, so a crash at those is none that can happen.
func (m *machine) cut(plan crashfs.Plan, policy disk.Policy) (steps []int) {
	m.t.Helper()
	power, err := crashfs.New(m.disk, plan)
	if err != nil {
		m.t.Fatal(err)
	}
	unreal := 0
	i, made, err := start(filepath.Join(m.disk, "node"), slim{power}, func(name string) error {
		if filepath.Base(name) == fsm.FileName {
			unreal = power.Steps() + 1
		}
		return slim{power}.Sync(name)
	})
	if err != nil && !power.Crashed() {
		m.t.Fatalf("%+v: the node does not start: %v", plan, err)
	}
	if err == nil {
		m.count(i, made)
	}
	for at := 1; at <= power.Steps(); at++ {
		if at != unreal {
			steps = append(steps, at)
		}
	}
	if err := power.Recover(policy, plan.Seed); err != nil {
		m.t.Fatal(err)
	}
	return steps
}

// count notes an identity that counts from now on: the node goes on to vote and to acknowledge by it.
func (m *machine) count(i entry.Incarnation, made bool) {
	m.t.Helper()
	if m.counted != nil && (*m.counted != i || made) {
		m.t.Fatalf("%s counts (new: %t), and %s counted before", i.Short(), made, m.counted.Short())
	}
	m.counted = &i
}

// found starts the node once more, on a disk that works.
func (m *machine) found(what string) {
	m.t.Helper()
	i, made, err := start(filepath.Join(m.disk, "node"), fsm.SystemFiles(), func(string) error { return nil })
	if err != nil {
		m.t.Fatalf("%s: the node does not start afterwards: %v", what, err)
	}
	m.count(i, made)
}

// TestCrashWhileADirectoryIsMade cuts the power at every step of a node's first start. The next one goes
// on or begins anew; once the first was ready to run, the node is the same for ever.
func TestCrashWhileADirectoryIsMade(t *testing.T) {
	points := 0
	steps := newMachine(t).cut(crashfs.Plan{}, disk.LoseAll)
	for _, at := range append(steps, len(steps)+10) { // the last one is after the start
		for _, policy := range []disk.Policy{disk.Arbitrary, disk.LoseAll, disk.KeepAll} {
			for seed := range int64(*crashSeeds) {
				m := newMachine(t)
				m.cut(crashfs.Plan{CrashAt: at, Torn: true, Seed: seed}, policy)
				m.found(fmt.Sprintf("crash at step %d of %d, seed %d, policy %d", at, len(steps), seed, policy))
				points++
			}
		}
	}
	t.Logf("%d crash points, at %d steps", points, len(steps))
}

// TestCrashesInARow cuts the power in one start after the other, until the directory is whole: from then
// on only bbolt writes to it.
func TestCrashesInARow(t *testing.T) {
	const most = 8
	points, longest := 0, 0
	steps := newMachine(t).cut(crashfs.Plan{}, disk.LoseAll)
	for run := range int64(10 * *crashSeeds) {
		m, row := newMachine(t), 0
		for ; row < most && !m.whole(); row++ {
			seed := most*run + int64(row)
			m.cut(crashfs.Plan{CrashAt: steps[seed*7919%int64(len(steps))], Torn: true, Seed: seed}, disk.Arbitrary)
		}
		m.found(fmt.Sprintf("run %d", run))
		points, longest = points+row, max(longest, row)
	}
	t.Logf("%d crash points, in rows of up to %d", points, longest)
}

// whole says whether the node's directory has an identity that counts.
func (m *machine) whole() bool {
	_, err := os.Stat(filepath.Join(m.disk, "node", "incarnation"))
	return err == nil
}

// change is something that happens to a directory.
type change func(dir string) error

func without(names ...string) change {
	return func(dir string) error {
		var err error
		for _, name := range names {
			err = errors.Join(err, os.Remove(filepath.Join(dir, name)))
		}
		return err
	}
}

func having(name, content string) change {
	return func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600) }
}

func unsealed(dir string) error {
	return os.Rename(filepath.Join(dir, "incarnation"), filepath.Join(dir, "incarnation.new"))
}

// TestOpenDirectory says what is made of each thing that can lie in a directory.
func TestOpenDirectory(t *testing.T) {
	const begun, sealed, trace, log, state = "incarnation.new", "incarnation", "trace", cluster.LogName, fsm.FileName
	const (
		fresh = iota // a new identity
		same         // the one of before
		lost         // cluster.ErrLostDisk
	)
	for name, test := range map[string]struct {
		empty   bool // before the changes; else whole
		changes []change
		want    int
	}{
		"empty":                         {true, nil, fresh},
		"whole":                         {false, nil, same},
		"whole, and a trace":            {false, []change{having(trace, "")}, same},
		"whole, and a torn beginning":   {false, []change{having(begun, "0123")}, same},
		"no incarnation":                {false, []change{without(sealed)}, lost},
		"no log":                        {false, []change{without(log)}, lost},
		"no state":                      {false, []change{without(state)}, lost},
		"only an incarnation":           {false, []change{without(log, state)}, lost},
		"only a log":                    {false, []change{without(sealed, state)}, lost},
		"only a state":                  {false, []change{without(sealed, log)}, lost},
		"only a trace":                  {true, []change{having(trace, "")}, lost},
		"a torn incarnation":            {false, []change{having(sealed, "0123")}, lost},
		"an empty incarnation":          {false, []change{having(sealed, "")}, lost},
		"emptied":                       {false, []change{without(sealed, log, state)}, fresh},
		"emptied, and a trace":          {false, []change{without(sealed, log, state), having(trace, "")}, lost},
		"a torn beginning":              {true, []change{having(begun, "0123")}, fresh},
		"a torn beginning, and a trace": {true, []change{having(begun, "0123"), having(trace, "")}, lost},
		"a torn beginning, and a log":   {true, []change{having(begun, "0123"), having(log, "")}, lost},
		"a beginning":                   {false, []change{unsealed}, same},
		"a beginning, and a trace":      {false, []change{unsealed, having(trace, "")}, same},
		"a beginning, and no log":       {false, []change{unsealed, without(log)}, same},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var before entry.Incarnation
			if !test.empty {
				before = wholeDirectory(t, dir)
			}
			for _, change := range test.changes {
				if err := change(dir); err != nil {
					t.Fatal(err)
				}
			}
			d, err := cluster.OpenDirectory(dir, fsm.SystemFiles(), filepath.Join(dir, trace))
			switch {
			case test.want == lost && !errors.Is(err, cluster.ErrLostDisk):
				t.Errorf("%v, want a lost disk", err)
			case test.want == lost:
			case err != nil:
				t.Error(err)
			case (d.Incarnation == before) != (test.want == same):
				t.Errorf("it is %s, and was %s", d.Incarnation.Short(), before.Short())
			}
		})
	}
}

// wholeDirectory makes a directory that a node may run in.
func wholeDirectory(t *testing.T, dir string) entry.Incarnation {
	t.Helper()
	i, _, err := start(dir, fsm.SystemFiles(), func(string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// TestCrashWhilePromising cuts the power at every step of the promise that a node makes at the first
// start. What is left is the old one or the new one, whole, and the new one once it was given.
func TestCrashWhilePromising(t *testing.T) {
	first, second := cluster.PlanOf(t, "n1", entry.Incarnation{1}), cluster.PlanOf(t, "n1", entry.Incarnation{2})
	points := 0
	for what, test := range map[string]struct{ before, plan []byte }{
		"the first":  {nil, first},
		"another":    {first, second},
		"once again": {second, second},
	} {
		steps := crashPromise(t, test.before, test.plan, crashfs.Plan{}, disk.LoseAll)
		if (steps == 0) != (what == "once again") {
			t.Errorf("%s: %d steps", what, steps)
		}
		for at := 1; at <= steps+1; at++ {
			for _, policy := range []disk.Policy{disk.Arbitrary, disk.LoseAll, disk.KeepAll} {
				for seed := range int64(*crashSeeds) {
					crashPromise(t, test.before, test.plan, crashfs.Plan{CrashAt: at, Torn: true, Seed: seed}, policy)
					points++
				}
			}
		}
	}
	t.Logf("%d crash points", points)
}

// crashPromise has a node that has promised before, if that is not nil, agree to a plan, and cuts the power.
func crashPromise(t *testing.T, before, planned []byte, plan crashfs.Plan, policy disk.Policy) (steps int) {
	t.Helper()
	dir := crashfs.TempDir(t)
	if before != nil {
		if err := cluster.Promise(dir, fsm.SystemFiles(), before); err != nil {
			t.Fatal(err)
		}
	}
	power, err := crashfs.New(dir, plan)
	if err != nil {
		t.Fatal(err)
	}
	died := cluster.Promise(dir, power, planned)
	if died != nil && !power.Crashed() {
		t.Fatal(died)
	}
	steps = power.Steps()
	if err := power.Recover(policy, plan.Seed); err != nil {
		t.Fatal(err)
	}
	found, err := os.ReadFile(filepath.Join(dir, "formation"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if string(found) != string(planned) && (died == nil || string(found) != string(before)) {
		t.Fatalf("%+v, policy %d, %v: %q is left", plan, policy, died, found)
	}
	keepsPromise(t, dir, planned)
	return steps
}

// keepsPromise asks a node after its restart for what it may agree to, and then for what it must not.
func keepsPromise(t *testing.T, dir string, planned []byte) {
	t.Helper()
	if err := cluster.Promise(dir, fsm.SystemFiles(), planned); err != nil {
		t.Fatalf("it does not agree any more: %v", err)
	}
	if err := cluster.Promise(dir, fsm.SystemFiles(), cluster.PlanOf(t, "n0", entry.Incarnation{9})); err == nil {
		t.Fatal("it agrees to help two nodes form a cluster")
	}
}

// TestCrashWithinTheFirstEntry cuts a node off before each write of its log while it becomes a cluster of
// one. Raft bootstraps by two of them, and takes the first one for state when it is to do so again.
func TestCrashWithinTheFirstEntry(t *testing.T) {
	alone := func(_ string, config *cluster.Config) { config.Peer = nil }
	images := t.TempDir()
	var done atomic.Bool
	ops := 0 // of the log; entry 1 is written by one goroutine after the other
	var c *sim.Cluster
	c = sim.New(t, 1, sim.Options{Config: func(name string, config *cluster.Config) {
		alone(name, config)
		config.BeforeWrite = func(op string) {
			if done.Load() {
				return
			}
			// Up to entry 1 nothing is applied, so the other files are at rest.
			if err := os.CopyFS(filepath.Join(images, strconv.Itoa(ops)), os.DirFS(c.Dir(name))); err != nil {
				t.Error(err)
			}
			ops++
			done.Store(op == "store logs")
		}
	}})
	c.Start("n1")
	c.Leader().Kill()
	entries, err := os.ReadDir(images)
	if err != nil || len(entries) < 3 {
		t.Fatalf("%d images, %v", len(entries), err)
	}
	t.Logf("%d crash points", len(entries))
	for _, image := range entries {
		t.Run("before write "+image.Name(), func(t *testing.T) {
			again := sim.New(t, 1, sim.Options{Config: alone})
			if err := os.CopyFS(again.Dir("n1"), os.DirFS(filepath.Join(images, image.Name()))); err != nil {
				t.Fatal(err)
			}
			again.Start("n1")
			again.Leader()
		})
	}
}
