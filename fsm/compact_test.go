package fsm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/crash/crashfs"
	"github.com/seed-16d79997/zot/test/crash/disk"
)

// emptied is a replica of whose records most were removed: of n of so many bytes, one in eight is left.
func emptied(t testing.TB, n, size int) *replica {
	t.Helper()
	r := newReplica(t)
	for _, left := range []func(int) bool{func(int) bool { return true }, func(i int) bool { return i%8 == 0 }} {
		var all []fsm.SetProgress
		for i := range n {
			if !left(i) {
				all = append(all, progress(i, 0))
			} else if all = append(all, progress(i, size)); len(all) >= 100 {
				doAll(r, all)
				all = nil
			}
		}
		doAll(r, all)
	}
	r.wait(20 * time.Minute) // forgets results
	r.CompactInSteps(16 << 10)
	return r
}

// dump is all that a replica holds.
func (r *replica) dump() (all []string) {
	r.t.Helper()
	r.view(func(v fsm.View) { all = v.Dump() })
	return all
}

// same fails the test unless two replicas hold the same.
func same(t *testing.T, a, b *replica) {
	t.Helper()
	one, two := a.dump(), b.dump()
	for i := range max(len(one), len(two)) {
		if i >= len(one) || i >= len(two) || one[i] != two[i] {
			t.Fatalf("line %d of %d and %d: %.300q and %.300q", i, len(one), len(two), one[min(i, len(one)-1)], two[min(i, len(two)-1)])
		}
	}
}

func (r *replica) fileSize() int64 {
	r.t.Helper()
	info, err := os.Stat(filepath.Join(r.dir, fsm.FileName))
	if err != nil {
		r.t.Fatal(err)
	}
	return info.Size()
}

// alone fails the test unless a directory holds the state's file and nothing else.
func alone(t *testing.T, dir string) {
	t.Helper()
	if names, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(names) != 1 || filepath.Base(names[0]) != fsm.FileName {
		t.Errorf("%v is left, %v", names, err)
	}
}

func TestCompactedFileIsSmallAndHoldsTheSame(t *testing.T) {
	r := emptied(t, 800, 40<<10)
	for user := range 100 {
		var logins []fsm.PutSession
		for i := range 50 {
			logins = append(logins, r.login(fmt.Sprint("cookie", user, "/", i), fmt.Sprint("user", user), time.Hour))
		}
		doAll(r, logins)
	}
	for user := range 100 {
		do(r, fsm.DeleteSessions{Subject: fmt.Sprint("user", user)})
	}
	r.wait(20 * time.Minute)
	first := r.command(fsm.DeleteSessions{Subject: "user0"})
	result := r.apply(first)[0]
	noted := r.hash()
	at, before, was := r.index, r.dump(), r.Position()
	size, free, err := r.Space()
	if err != nil || size != r.fileSize() || free < size/2 {
		t.Fatalf("%d bytes of %d are free, %v", free, size, err)
	}

	if err := r.Compact(t.Context(), unpaced); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.dump(), before) {
		t.Error("it holds something else than before")
	}
	nowSize, nowFree, err := r.Space()
	if err != nil || nowSize != r.fileSize() || nowSize > size-free || nowFree > 1<<20 {
		t.Errorf("%d bytes, %d of them free, of %d bytes with %d free, %v", nowSize, nowFree, size, free, err)
	}
	if now := r.Position(); fmt.Sprint(now) != fmt.Sprint(was) {
		t.Errorf("position %+v, was %+v", now, was)
	}
	alone(t, r.dir)
	if h, ok := r.Hash(at); !ok || fmt.Sprintf("%x", h) != noted {
		t.Errorf("the noted hash is %x, %t", h, ok)
	}
	if have := r.apply(r.again(first))[0]; have.Outcome != result.Outcome || !bytes.Equal(have.Bytes, result.Bytes) {
		t.Errorf("a retry gets %+v, the first try got %+v", have, result)
	}
	r.sound()
	if err := r.Recount(t.Context(), unpaced); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	again := openReplica(t, r.dir, node(1))
	do(again, progress(3, 100))
	again.sound()
}

// A state is compacted again and again, and what is left of the files before is nothing.
func TestCompactTwice(t *testing.T) {
	r := emptied(t, 100, 4<<10)
	for range 3 {
		if err := r.Compact(t.Context(), unpaced); err != nil {
			t.Fatal(err)
		}
		alone(t, r.dir)
		do(r, progress(5, 100))
	}
}

// TestCompactWhileApplying makes, changes and removes records before, at and behind the place that a compaction
// has come to, before each of its steps, and compares with a replica that was never compacted.
func TestCompactWhileApplying(t *testing.T) {
	r, twin := emptied(t, 250, 4<<10), emptied(t, 250, 4<<10)
	for _, r := range []*replica{r, twin} {
		do(r, progress(1, 1)) // its result is copied before it is forgotten
	}
	same(t, r, twin)
	steps := 0
	err := r.Compact(t.Context(), func(context.Context, int) error {
		steps++
		for _, r := range []*replica{r, twin} {
			var changes []fsm.SetProgress
			for n := steps % 7; n < 300; n += 7 {
				changes = append(changes, progress(n, (n+steps)%3*2000)) // a third of them removes
			}
			doAll(r, changes)
			doAll(r, []fsm.HashCheck{{}})
			if steps > 5 {
				r.wait(2 * time.Minute)
			}
			if err := r.Advance(r.index+3, r.term); err != nil { // no entry of ours
				t.Error(err)
			}
			r.index += 3
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if steps < 40 {
		t.Errorf("it took %d steps", steps)
	}
	same(t, r, twin)
	r.sound()
	if err := errors.Join(r.Recount(t.Context(), unpaced), r.Close()); err != nil {
		t.Fatal(err)
	}
	again := openReplica(t, r.dir, node(1))
	same(t, again, twin)
	again.random, again.sequence, again.date = r.random, r.sequence, r.date
	r = again
	if a, b := r.hash(), twin.hash(); a != b {
		t.Errorf("hashes %s and %s", a, b)
	}
}

// TestCompactAmongWriters has entries applied, and views open, as fast as they come.
func TestCompactAmongWriters(t *testing.T) {
	r, twin := emptied(t, 250, 4<<10), emptied(t, 250, 4<<10)
	over, written := make(chan struct{}), make(chan struct{})
	var log []entry.Entry
	go func() { // waited for below
		defer close(written)
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			default:
			}
			var batch []entry.Entry
			for n := range 16 {
				batch = append(batch, r.command(progress((i*5+n)%300, (i+n)%3*2000)))
			}
			r.apply(batch...)
			log = append(log, batch...)
			r.view(func(v fsm.View) {
				if v.Position().Index != r.index {
					t.Errorf("a view has come to %d, and %d is applied", v.Position().Index, r.index)
				}
			})
		}
	}()
	for range 5 {
		if err := r.Compact(t.Context(), unpaced); err != nil {
			t.Error(err)
		}
	}
	close(over)
	<-written
	twin.Apply(log)
	same(t, r, twin)
	if err := r.Recount(t.Context(), unpaced); err != nil {
		t.Error(err)
	}
	t.Logf("%d entries were applied", len(log))
}

// TestViewsOutliveACompaction reads from the old file while and after the new one takes its place.
func TestViewsOutliveACompaction(t *testing.T) {
	r := emptied(t, 100, 4<<10)
	do(r, store("old", time.Hour))
	snapshot, err := r.OpenSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	r.view(func(v fsm.View) {
		before := v.Dump()
		if err := r.Compact(t.Context(), unpaced); err != nil {
			t.Fatal(err)
		}
		do(r, store("new", time.Hour))
		if _, known := v.Store("new"); known || !slices.Equal(v.Dump(), before) {
			t.Error("an open view changed")
		}
	})
	r.view(func(v fsm.View) {
		if _, known := v.Store("new"); !known {
			t.Error("a new view sees the old state")
		}
	})
	stream, err := io.ReadAll(snapshot)
	if err != nil {
		t.Fatal(err)
	}
	position := snapshot.Position()
	if err := snapshot.Close(); err != nil {
		t.Fatal(err)
	}
	other := openReplica(t, t.TempDir(), node(2))
	install(t, other, stream, stampOf(position))
	other.view(func(v fsm.View) {
		_, old := v.Store("old")
		_, young := v.Store("new")
		if !old || young {
			t.Errorf("a snapshot that was open meanwhile has the old store: %t, the new one: %t", old, young)
		}
	})
}

// TestCompactGivesWayToASnapshot has one arrive before each step in turn.
func TestCompactGivesWayToASnapshot(t *testing.T) {
	a := filled(t, 20)
	stream, stamp := snapshotOf(t, a), stampOf(a.Position())
	for at := range 12 {
		r := openReplica(t, t.TempDir(), node(2))
		for n := range 60 {
			do(r, progress(n, 4<<10))
		}
		r.CompactInSteps(16 << 10)
		arrived := make(chan error, 1)
		step := 0
		err := r.Compact(t.Context(), func(ctx context.Context, _ int) error {
			if step++; step <= 4*at {
				return nil
			}
			go func() { arrived <- r.Stage(bytes.NewReader(stream)) }() // waited for below
			<-ctx.Done()                                                // as a pace that waits for its turn
			return ctx.Err()
		})
		if !errors.Is(err, fsm.ErrBusy) {
			t.Errorf("compaction: %v", err)
		}
		if err := errors.Join(<-arrived, r.Install(stamp)); err != nil {
			t.Fatal(err)
		}
		alone(t, r.dir)
		if err := r.Compact(t.Context(), unpaced); err != nil {
			t.Errorf("the next one: %v", err)
		}
		r.view(func(v fsm.View) {
			if n := len(v.Stores()); n != 20 {
				t.Errorf("%d stores", n)
			}
		})
	}
}

// reading is a reader that does something before it reads.
type reading struct {
	io.Reader
	first func()
}

func (r *reading) Read(p []byte) (int, error) {
	if r.first != nil {
		r.first()
		r.first = nil
	}
	return r.Reader.Read(p)
}

func TestCompactDoesNotBegin(t *testing.T) {
	a := filled(t, 3)
	r := openReplica(t, t.TempDir(), node(2))
	stream := &reading{bytes.NewReader(snapshotOf(t, a)), func() {
		if err := r.Compact(t.Context(), unpaced); !errors.Is(err, fsm.ErrBusy) {
			t.Errorf("while a snapshot arrives: %v", err)
		}
	}}
	if err := errors.Join(r.Stage(stream), r.Install(stampOf(a.Position()))); err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	err := r.Compact(t.Context(), func(ctx context.Context, _ int) error {
		if err := r.Compact(ctx, unpaced); !errors.Is(err, fsm.ErrBusy) {
			t.Errorf("a second one at once: %v", err)
		}
		return enough
	})
	if !errors.Is(err, enough) {
		t.Errorf("with a pace that fails: %v", err)
	}
	alone(t, r.dir)
	closed := make(chan error, 1)
	err = r.Compact(t.Context(), func(ctx context.Context, _ int) error {
		go func() { closed <- r.Close() }() // waited for below
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, fsm.ErrClosed) {
		t.Errorf("of a state that is closed: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := r.Compact(t.Context(), unpaced); !errors.Is(err, fsm.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, _, err := r.Space(); !errors.Is(err, fsm.ErrClosed) {
		t.Errorf("space after Close: %v", err)
	}
	alone(t, r.dir)
}

// TestCompactDuringARecount compacts before each step of a recount in turn, with changes on both sides.
func TestCompactDuringARecount(t *testing.T) {
	r := large(t)
	r.CompactInSteps(64 << 10)
	for at := 1; at <= 45; at += 4 {
		step := 0
		err := r.Recount(t.Context(), func(ctx context.Context, _ int) error {
			if step++; step == at {
				return r.Compact(ctx, func(context.Context, int) error {
					doAll(r, []fsm.SetProgress{progress(at, 1000), progress(200+at, 1000)})
					return nil
				})
			}
			doAll(r, []fsm.SetProgress{progress(step, 2000)})
			return nil
		})
		if err != nil || r.Fenced() != "" {
			t.Fatalf("compaction before step %d: %v, fenced %q", at, err, r.Fenced())
		}
	}
}

// cramped is Files of a disk that has so much room, and after a number of questions none.
type cramped struct {
	fsm.Files
	room  int64
	asked *int
	until int
}

func (c cramped) Room(string) (int64, error) {
	if *c.asked++; *c.asked > c.until {
		return fsm.CompactReserve - 1, nil
	}
	return c.room, nil
}

func TestCompactNeedsRoom(t *testing.T) {
	files := &seam{fsm.SystemFiles()}
	s, err := fsm.Open(fsm.Config{Dir: t.TempDir(), Incarnation: node(1), Files: files, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &replica{State: s, t: t, term: 1}
	for n := range 250 {
		do(r, progress(n, 4<<10))
	}
	s.CompactInSteps(1 << 10) // looks for room after every 64 KiB
	size, free, err := s.Space()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		room  int64
		until int
		want  error
	}{
		"just enough":       {size - free + fsm.CompactReserve, 1_000_000, nil},
		"not enough":        {size - free + fsm.CompactReserve - 1<<20, 1_000_000, fsm.ErrNoRoom},
		"others fill it up": {1 << 40, 3, fsm.ErrNoRoom},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			files.Files = cramped{fsm.SystemFiles(), test.room, &asked, test.until}
			before := s.Position().Index
			if err := s.Compact(t.Context(), unpaced); !errors.Is(err, test.want) {
				t.Errorf("%v after %d questions, want %v", err, asked, test.want)
			}
			do(r, progress(1, 100))
			if s.Position().Index != before+1 {
				t.Error("nothing is applied")
			}
		})
	}
}

// roomy says of a full disk that it has room.
type roomy struct{ fsm.Files }

func (roomy) Room(string) (int64, error) { return 1 << 40, nil }

// TestCompactOnAFullDisk meets the end of a real disk: the copy is removed, and the state goes on.
func TestCompactOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=48m"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("this test mounts a file system, which takes root: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	s, err := fsm.Open(fsm.Config{Dir: dir, Incarnation: node(1), Files: roomy{fsm.SystemFiles()}, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &replica{State: s, t: t, dir: dir, term: 1}
	for range 5 {
		for n := range 250 {
			do(r, progress(n, 40<<10)) // 10 MB, and as much that is free
		}
	}
	filler, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	var full error
	for full == nil {
		_, full = filler.Write(make([]byte, 1<<20))
	}
	info, err := filler.Stat()
	if err = errors.Join(err, filler.Truncate(info.Size()-4<<20), filler.Close()); err != nil || !errors.Is(full, unix.ENOSPC) {
		t.Fatal(err, full)
	}
	before := r.dump()
	if err := s.Compact(t.Context(), unpaced); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("compaction: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, fsm.FileName+".compact")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy is left: %v", err)
	}
	if !slices.Equal(before, r.dump()) {
		t.Error("the state is another")
	}
	do(r, progress(1, 100))
	if err := os.Remove(filler.Name()); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(t.Context(), unpaced); err != nil {
		t.Errorf("with room again: %v", err)
	}
	do(r, progress(2, 100))
	r.sound()
}

// A damaged record is found while it is copied, and has the usual consequence.
func TestDamageIsFoundByACompaction(t *testing.T) {
	for name, rot := range map[string]func([]byte, int){"one bit": flipBit, "a page": breakPage} {
		t.Run(name, func(t *testing.T) {
			r := damaged(t, rot)
			if err := r.Compact(t.Context(), unpaced); !errors.Is(err, fsm.ErrDamaged) || r.Fenced() == "" {
				t.Errorf("%v, fenced %q", err, r.Fenced())
			}
			alone(t, r.dir)
		})
	}
}

// A record that is missing in the old file leaves no trace but in the sums: the new file is not made current.
func TestCompactMissesARecord(t *testing.T) {
	r := filled(t, 50)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(filepath.Join(r.dir, fsm.FileName), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("stores")).Delete([]byte("store-017")) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	r = openReplica(t, r.dir, node(1))
	before, err := os.Stat(filepath.Join(r.dir, fsm.FileName))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Compact(t.Context(), unpaced); !errors.Is(err, fsm.ErrDamaged) {
		t.Errorf("%v", err)
	}
	after, err := os.Stat(filepath.Join(r.dir, fsm.FileName))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the file is another, %v", err)
	}
	alone(t, r.dir)
}

// A fence that comes while a file is copied is in the new one too.
func TestFenceDuringACompaction(t *testing.T) {
	r := emptied(t, 50, 4<<10)
	step := 0
	err := r.Compact(t.Context(), func(context.Context, int) error {
		if step++; step == 30 {
			doAll(r, []fsm.HashCheck{{}})
			doAll(r, []fsm.HashCheck{{Index: r.index, Sum: bytes.Repeat([]byte{1}, 32)}})
		}
		return nil
	})
	if err != nil || r.Fenced() == "" {
		t.Fatalf("%v, fenced %q", err, r.Fenced())
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if openReplica(t, r.dir, node(1)).Fenced() == "" {
		t.Error("not fenced after a restart")
	}
}

// TestCrashWhileCompacting cuts the power at every step of a compaction. What a restart finds is the old file or
// the new one, whole. Nothing is applied meanwhile: test/crash has nodes that compact while they do.
func TestCrashWhileCompacting(t *testing.T) {
	r := emptied(t, 60, 4<<10)
	at := r.index
	if err := errors.Join(r.Close(), crashfs.Trim(filepath.Join(r.dir, fsm.FileName))); err != nil {
		t.Fatal(err)
	}
	c := crashing{t: t, template: r.dir, old: at, size: r.fileSize(), found: map[string]int{}}
	steps := c.crash(crashfs.Plan{}, disk.LoseAll)
	for at := 1; at <= steps; at++ {
		for seed := range int64(*crashSeeds) {
			c.crash(crashfs.Plan{CrashAt: at, Torn: true, Seed: seed}, disk.Arbitrary)
		}
	}
	if c.found["old"] == 0 || c.found["new"] < 2 {
		t.Errorf("%v: one of the two was never found", c.found)
	}
	t.Logf("%d crash points, at %d steps; found afterwards: %v", c.found["old"]+c.found["new"], steps, c.found)
}

// crashing is a compaction of a node's state, in which the power is cut.
type crashing struct {
	t        *testing.T
	template string
	old      uint64 // the log index that it has come to
	size     int64  // of its file
	found    map[string]int
}

// crash compacts a copy of the template, cuts the power, and looks.
func (c crashing) crash(plan crashfs.Plan, policy disk.Policy) (steps int) {
	t := c.t
	t.Helper()
	dir, s, power := underPower(t, c.template, node(1), plan)
	s.CompactInSteps(16 << 10)
	died := stopped(func() error { return s.Compact(t.Context(), unpaced) })
	if (died != nil) != (plan.CrashAt > 0) {
		t.Fatalf("%+v: %v", plan, died)
	}
	steps = power.Steps()
	if err := s.Close(); err != nil && !errors.Is(err, fsm.ErrDamaged) { // which is when it must not go on
		t.Fatal(err)
	}
	if err := power.Recover(policy, plan.Seed); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, fsm.FileName))
	if err != nil {
		t.Fatal(err)
	}
	what := "old"
	if info.Size() < c.size/2 {
		what = "new"
	}
	if died == nil && what != "new" {
		t.Error("the old file is found after a compaction that returned")
	}
	c.found[what]++
	after := openReplica(t, dir, node(1))
	alone(t, dir)
	if after.index != c.old {
		t.Errorf("%+v: the %s file ends with entry %d, not %d", plan, what, after.index, c.old)
	}
	after.sound()
	if err := errors.Join(after.Recount(t.Context(), unpaced), after.Close()); err != nil {
		t.Errorf("%+v: %v", plan, err)
	}
	return steps
}

// TestDiskFailsWhileCompacting goes on after a failure before the rename; behind it nothing is applied any more.
func TestDiskFailsWhileCompacting(t *testing.T) {
	for what, stops := range map[string]bool{"sync": false, "rename": false, "sync directory": true} {
		t.Run(what, func(t *testing.T) {
			files := &seam{fsm.SystemFiles()}
			s, err := fsm.Open(fsm.Config{Dir: t.TempDir(), Incarnation: node(2), Files: files, NoSync: true})
			if err != nil {
				t.Fatal(err)
			}
			r := &replica{State: s, t: t, term: 1}
			do(r, progress(1, 100))
			files.Files = failing{fsm.SystemFiles(), what}
			if err := s.Compact(t.Context(), unpaced); !errors.Is(err, errDisk) {
				t.Fatalf("%v", err)
			}
			files.Files = fsm.SystemFiles()
			died := stopped(func() error { do(r, progress(2, 100)); return nil })
			if (died != nil) != stops {
				t.Errorf("the next entry: %v", died)
			}
			if err := s.Advance(100, 1); (err != nil) != stops {
				t.Errorf("advance: %v", err)
			}
			r.view(func(v fsm.View) {
				if _, known := v.Progress("job-001"); !known {
					t.Error("it cannot be read")
				}
			})
			if err := s.Close(); (err != nil) != stops {
				t.Errorf("close: %v", err)
			}
		})
	}
}
