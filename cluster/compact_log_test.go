package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/crash/crashfs"
	"github.com/seed-16d79997/zot/test/crash/disk"
)

// unpaced lets a compaction run as fast as it can.
func unpaced(ctx context.Context, _ int) error { return ctx.Err() }

// numbered is the entry with an index, of some length.
func numbered(index uint64) *raft.Log {
	return &raft.Log{Index: index, Term: 1 + index/1000, Type: raft.LogCommand, Data: bytes.Repeat([]byte{byte(index)}, 3000), Extensions: []byte{byte(index)}}
}

// cutLog is a log of which most is removed: entries 1501 to 2000 are left, with a vote of a candidate in term 7.
func cutLog(t testing.TB, path string, files Files, stop func(error)) *logStore {
	t.Helper()
	s, err := openLogStore(path, files, true, time.Minute, stop)
	if err != nil {
		t.Fatal(err)
	}
	s.append(t, 1, 2000)
	if err := errors.Join(s.claim(entry.Incarnation{3}), s.SetUint64([]byte(keyCurrentTerm), 7), s.vote(7, "n1"), s.DeleteRange(1, 1500)); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *logStore) append(t testing.TB, first, last uint64) {
	t.Helper()
	var logs []*raft.Log
	for i := first; i <= last; i++ {
		logs = append(logs, numbered(i))
		if i%100 == 0 || i == last {
			if err := s.StoreLogs(logs); err != nil {
				t.Fatal(err)
			}
			logs = nil
		}
	}
}

// vote votes as Raft does.
func (s *logStore) vote(term uint64, candidate string) error {
	return errors.Join(s.SetUint64([]byte(keyLastVoteTerm), term), s.Set([]byte(keyLastVoteCand), []byte(candidate)))
}

// expectLog fails the test unless a log has just the entries from 1501 to last, and this vote.
func (s *logStore) expectLog(t testing.TB, last, term uint64, candidate string) {
	t.Helper()
	const first = uint64(1501)
	one, err := s.FirstIndex()
	end, err2 := s.LastIndex()
	if one != first || end != last || err != nil || err2 != nil {
		t.Errorf("entries %d to %d, want %d to %d, %v, %v", one, end, first, last, err, err2)
	}
	for i := first; i <= last; i++ {
		var have raft.Log
		want := numbered(i)
		if err := s.GetLog(i, &have); err != nil || have.Term != want.Term || !bytes.Equal(have.Data, want.Data) || !bytes.Equal(have.Extensions, want.Extensions) {
			t.Fatalf("entry %d of term %d: %.20x, %v", i, have.Term, have.Data, err)
		}
	}
	votedIn, err := s.GetUint64([]byte(keyLastVoteTerm))
	voted, err2 := s.Get([]byte(keyLastVoteCand))
	if votedIn != term || string(voted) != candidate || err != nil || err2 != nil {
		t.Errorf("voted for %q in term %d, want %q in %d, %v, %v", voted, votedIn, candidate, term, err, err2)
	}
	if now, err := s.GetUint64([]byte(keyCurrentTerm)); now != 7 || err != nil {
		t.Errorf("term %d, %v", now, err)
	}
	if err := s.claim(entry.Incarnation{3}); err != nil {
		t.Error(err)
	}
}

// draftLeft reports whether the file of a compaction is there.
func draftLeft(path string) bool {
	_, err := os.Stat(path + ".new")
	return !errors.Is(err, os.ErrNotExist)
}

func TestCompactedLogIsSmallAndHoldsTheSame(t *testing.T) {
	path := filepath.Join(t.TempDir(), LogName)
	s := cutLog(t, path, fsm.SystemFiles(), func(err error) { t.Error(err) })
	size, free, err := s.space()
	if err != nil || free < size/2 {
		t.Fatalf("%d bytes of %d are free, %v", free, size, err)
	}
	for range 2 {
		if err := s.compact(t.Context(), unpaced); err != nil {
			t.Fatal(err)
		}
		if draftLeft(path) {
			t.Error("a second file is left")
		}
		s.expectLog(t, 2000, 7, "n1")
	}
	info, err := os.Stat(path)
	now, nowFree, err2 := s.space()
	if err := errors.Join(err, err2); err != nil || now != info.Size() || now > size/2 || nowFree > 1<<20 {
		t.Errorf("%d bytes, %d of them free, of %d bytes with %d free, %v", now, nowFree, size, free, err)
	}
	s.append(t, 2001, 2100)
	if err := errors.Join(s.vote(7, "n2"), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = newLog(t, path, func(err error) { t.Error(err) })
	s.expectLog(t, 2100, 7, "n2")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCompactAnEmptyLog(t *testing.T) {
	s := holding(t, 1, 0, 1)
	if err := s.compact(t.Context(), unpaced); err != nil {
		t.Fatal(err)
	}
	s.append(t, 1, 10)
	if last, err := s.LastIndex(); last != 10 || err != nil {
		t.Errorf("%d, %v", last, err)
	}
}

// TestCompactLogWhileItIsUsed votes and appends before each step of a compaction.
func TestCompactLogWhileItIsUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), LogName)
	s := cutLog(t, path, fsm.SystemFiles(), func(err error) { t.Error(err) })
	last, term := uint64(2000), uint64(7)
	if err := s.compact(t.Context(), func(context.Context, int) error {
		if last < 2500 {
			s.append(t, last+1, last+70)
			last += 70
		}
		term++
		return s.vote(term, fmt.Sprint("n", term))
	}); err != nil {
		t.Fatal(err)
	}
	if term < 10 {
		t.Errorf("it took %d steps", term-7)
	}
	s.expectLog(t, last, term, fmt.Sprint("n", term))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCompactLogAmongUsers has it appended to, read and voted in as fast as that goes.
func TestCompactLogAmongUsers(t *testing.T) {
	path := filepath.Join(t.TempDir(), LogName)
	s := cutLog(t, path, fsm.SystemFiles(), func(err error) { t.Error(err) })
	over := make(chan struct{})
	var using sync.WaitGroup
	until := func(do func()) {
		using.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					do()
				}
			}
		})
	}
	last, term := uint64(2000), uint64(7)
	until(func() { s.append(t, last+1, last+3); last += 3 })
	until(func() {
		term++
		if err := s.vote(term, fmt.Sprint("n", term)); err != nil {
			t.Error(err)
		}
		if now, err := s.GetUint64([]byte(keyLastVoteTerm)); now != term || err != nil {
			t.Errorf("a vote in term %d is read as one in %d, %v", term, now, err)
		}
	})
	until(func() {
		end, err := s.LastIndex()
		var log raft.Log
		if err := errors.Join(err, s.GetLog(end, &log), s.GetLog(1501, &log)); err != nil {
			t.Error(err)
		}
	})
	for range 5 {
		if err := s.compact(t.Context(), unpaced); err != nil {
			t.Error(err)
		}
	}
	close(over)
	using.Wait()
	s.expectLog(t, last, term, fmt.Sprint("n", term))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d entries were appended, %d votes cast", last-2000, term-7)
}

// A compaction of a log of which entries are removed, or replaced, meanwhile is given up, whenever that is.
func TestCompactLogThatMoves(t *testing.T) {
	for name, move := range map[string]func(s *logStore) error{
		"a snapshot was taken":     func(s *logStore) error { return s.DeleteRange(1501, 1600) },
		"another leader":           func(s *logStore) error { return s.DeleteRange(1900, 2000) },
		"a snapshot was installed": func(s *logStore) error { return s.DeleteRange(1501, 2000) },
		"an entry is replaced":     func(s *logStore) error { return s.StoreLog(&raft.Log{Index: 1501, Term: 9}) },
	} {
		for at := 1; at <= 2; at++ {
			t.Run(fmt.Sprint(name, " before step ", at), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), LogName)
				s := cutLog(t, path, fsm.SystemFiles(), func(err error) { t.Error(err) })
				step := 0
				err := s.compact(t.Context(), func(context.Context, int) error {
					if step++; step == at {
						return move(s)
					}
					return nil
				})
				if !errors.Is(err, ErrLogMoved) {
					t.Errorf("%v", err)
				}
				if draftLeft(path) {
					t.Error("a second file is left")
				}
				var log raft.Log
				if err := s.GetLog(1501, &log); name == "an entry is replaced" && (err != nil || log.Term != 9) {
					t.Errorf("it is of term %d, %v", log.Term, err)
				}
				if err := errors.Join(s.compact(t.Context(), unpaced), s.Close()); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestCompactLogEndsEarly(t *testing.T) {
	path := filepath.Join(t.TempDir(), LogName)
	s := cutLog(t, path, fsm.SystemFiles(), func(err error) { t.Error(err) })
	enough := errors.New("enough")
	if err := s.compact(t.Context(), func(ctx context.Context, _ int) error {
		if err := s.compact(ctx, unpaced); !errors.Is(err, ErrLogBusy) {
			t.Errorf("a second one at once: %v", err)
		}
		return enough
	}); !errors.Is(err, enough) || draftLeft(path) {
		t.Errorf("with a pace that fails: %v", err)
	}
	s.expectLog(t, 2000, 7, "n1")
	if err := s.compact(t.Context(), func(context.Context, int) error { return s.Close() }); err == nil || draftLeft(path) {
		t.Errorf("of a log that is closed: %v", err)
	}
	s = newLog(t, path, func(err error) { t.Error(err) })
	s.expectLog(t, 2000, 7, "n1")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// logFiles are Files of which some steps fail.
type logFiles struct {
	fsm.Files
	fails string
	room  int64
}

var errDisk = errors.New("disk failed")

func (f *logFiles) step(what string) error {
	if f.fails == what {
		return errDisk
	}
	return nil
}

func (f *logFiles) Sync(name string) error { return errors.Join(f.step("sync"), f.Files.Sync(name)) }

func (f *logFiles) Rename(from, to string) error {
	if err := f.step("rename"); err != nil {
		return err
	}
	return f.Files.Rename(from, to)
}

func (f *logFiles) SyncDir(name string) error {
	return errors.Join(f.step("sync directory"), f.Files.SyncDir(name))
}

func (f *logFiles) Room(string) (int64, error) { return f.room, f.step("room") }

// TestDiskFailsWhileTheLogIsCompacted goes on after a failure before the rename; one behind it stops the node.
func TestDiskFailsWhileTheLogIsCompacted(t *testing.T) {
	for what, stops := range map[string]bool{"sync": false, "rename": false, "sync directory": true, "room": false} {
		t.Run(what, func(t *testing.T) {
			var stopped error
			path, files := filepath.Join(t.TempDir(), LogName), &logFiles{Files: fsm.SystemFiles(), room: 1 << 40}
			s := cutLog(t, path, files, func(err error) { stopped = err })
			files.fails = what
			if err := s.compact(t.Context(), unpaced); !errors.Is(err, errDisk) || draftLeft(path) {
				t.Fatalf("%v", err)
			}
			if errors.Is(stopped, errDisk) != stops {
				t.Errorf("the node was stopped by %v", stopped)
			}
			files.fails = ""
			if err := s.vote(8, "n3"); (err != nil) != stops {
				t.Errorf("a vote afterwards: %v", err)
			}
			if err := s.StoreLog(numbered(2001)); (err != nil) != stops {
				t.Errorf("an entry afterwards: %v", err)
			}
			if !stops {
				s.expectLog(t, 2001, 8, "n3")
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestCompactLogNeedsRoom(t *testing.T) {
	path, files := filepath.Join(t.TempDir(), LogName), &logFiles{Files: fsm.SystemFiles()}
	s := cutLog(t, path, files, func(err error) { t.Error(err) })
	size, free, err := s.space()
	if err != nil {
		t.Fatal(err)
	}
	files.room = compactReserve + size - free - 1
	if err := s.compact(t.Context(), unpaced); !errors.Is(err, ErrLogNoRoom) {
		t.Errorf("%v", err)
	}
	files.room++
	if err := errors.Join(s.compact(t.Context(), unpaced), s.Close()); err != nil {
		t.Error(err)
	}
}

// A disk that hangs while the new log takes the place of the old one stops the node, and those who wait for the
// compaction are not taken for the cause.
func TestDiskHangsWhileTheLogIsCompacted(t *testing.T) {
	var mu sync.Mutex
	var stopped []error
	stop := make(chan struct{})
	path := filepath.Join(t.TempDir(), LogName)
	s := cutLog(t, path, fsm.SystemFiles(), func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if stopped = append(stopped, err); len(stopped) == 1 {
			close(stop)
		}
	})
	s.deadline = time.Second
	var waiting sync.WaitGroup
	s.before = func(op string) {
		if op != "compact the log" {
			return
		}
		waiting.Go(func() {
			if err := s.StoreLog(numbered(2001)); err != nil {
				t.Error(err)
			}
		})
		<-stop
		s.deadline = time.Minute // for those who wait, on a slow machine
	}
	if err := s.compact(t.Context(), unpaced); err != nil { // the disk has come to again
		t.Error(err)
	}
	waiting.Wait()
	mu.Lock()
	defer mu.Unlock()
	if len(stopped) != 1 || !bytes.Contains([]byte(stopped[0].Error()), []byte("compact the log")) {
		t.Errorf("the node was stopped by %v", stopped)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// What is left of a compaction is removed at the next start.
func TestDraftOfALogIsRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), LogName)
	if err := os.WriteFile(path+".new", []byte("half a log"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newLog(t, path, func(err error) { t.Error(err) })
	if draftLeft(path) {
		t.Error("it is left")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A value that a compaction would not copy is not taken in the first place.
func TestStableKeyThatNobodyKnows(t *testing.T) {
	var stopped error
	s := newLog(t, filepath.Join(t.TempDir(), LogName), func(err error) { stopped = err })
	defer s.Close() //nolint:errcheck // nothing of it is read again
	if err := s.Set([]byte("NewKeyOfRaft"), []byte("value")); err == nil || stopped == nil {
		t.Errorf("%v, %v", err, stopped)
	}
}

// TestCrashWhileTheLogIsCompacted cuts the power at every step. A restart finds all entries and the vote.
func TestCrashWhileTheLogIsCompacted(t *testing.T) {
	template := filepath.Join(t.TempDir(), LogName)
	s := cutLog(t, template, fsm.SystemFiles(), func(err error) { t.Error(err) })
	if err := errors.Join(s.Close(), crashfs.Trim(template)); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(template)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	crash := func(plan crashfs.Plan, policy disk.Policy) (steps int) {
		dir := crashfs.TempDir(t)
		path := filepath.Join(dir, LogName)
		if err := os.WriteFile(path, before, 0o600); err != nil {
			t.Fatal(err)
		}
		power, err := crashfs.New(dir, crashfs.Plan{})
		if err != nil {
			t.Fatal(err)
		}
		files := &exchanged{power}
		s, err := openLogStore(path, files, true, time.Minute, func(error) {})
		if err != nil {
			t.Fatal(err)
		}
		if power, err = crashfs.New(dir, plan); err != nil { // what is there is durable
			t.Fatal(err)
		}
		files.Files = trimmed{power}
		died := s.compact(t.Context(), unpaced)
		if (died != nil) != (plan.CrashAt > 0) {
			t.Fatalf("%+v: %v", plan, died)
		}
		steps = power.Steps()
		if err := errors.Join(s.Close(), power.Recover(policy, plan.Seed)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		what := "old"
		if info.Size() < int64(len(before))/2 {
			what = "new"
		}
		found[what]++
		if died == nil && what != "new" {
			t.Error("the old file is found after a compaction that returned")
		}
		s = newLog(t, path, func(err error) { t.Error(err) })
		s.expectLog(t, 2000, 7, "n1")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return steps
	}
	steps := crash(crashfs.Plan{}, disk.LoseAll)
	for at := 1; at <= steps; at++ {
		for seed := range int64(5) {
			crash(crashfs.Plan{CrashAt: at, Torn: true, Seed: seed}, disk.Arbitrary)
		}
	}
	if found["old"] == 0 || found["new"] < 2 {
		t.Errorf("%v: one of the two was never found", found)
	}
	t.Logf("at %d steps; found afterwards: %v", steps, found)
}

// exchanged is Files that a test exchanges once a log is open.
type exchanged struct{ Files }

// trimmed is Files under which a log's file is as short as it can be.
type trimmed struct{ Files }

func (f trimmed) Sync(name string) error { return errors.Join(crashfs.Trim(name), f.Files.Sync(name)) }
