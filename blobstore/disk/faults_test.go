package disk_test

import (
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
)

// faults makes a store's disk fail: always in one way, or at one step.
type faults struct {
	full    atomic.Bool // writes take half of what they get, and then find no space
	noLinks atomic.Bool // as on a file system without hard links

	steps  atomic.Int64 // calls that may fail, so far
	failAt int64        // the one that does
	err    error        // with this
	panics bool         // it does not fail, but panics
	only   string       // counts only steps that begin so; "" counts all
}

// step counts a call and returns the error that it is to fail with.
func (f *faults) step(what string) error {
	if !strings.HasPrefix(what, f.only) {
		return nil
	}
	if n := f.steps.Add(1); n == f.failAt {
		if f.panics {
			panic("step " + what)
		}
		return &os.PathError{Op: what, Path: "file", Err: f.err}
	}
	return nil
}

// over puts the faults over a file system.
func (f *faults) over(root *os.Root) disk.Files { return faultyFiles{roomy(root), f} }

// roomy is a file system that has room for a test, however full the disk below it is.
func roomy(root *os.Root) disk.Files { return roomyFiles{disk.SystemFiles(root)} }

type roomyFiles struct{ disk.Files }

func (roomyFiles) Usage() (total, free int64, err error) { return 1 << 40, 1 << 40, nil }

type faultyFiles struct {
	disk.Files
	faults *faults
}

func (f faultyFiles) OpenFile(name string, flag int) (disk.File, error) {
	if flag&os.O_CREATE != 0 {
		if err := f.faults.step("create"); err != nil {
			return nil, err
		}
	}
	file, err := f.Files.OpenFile(name, flag)
	if err != nil {
		return nil, err
	}
	return faultyFile{file, f.faults}, nil
}

func (f faultyFiles) Link(oldname, newname string) error {
	if f.faults.noLinks.Load() {
		return &os.LinkError{Op: "link", Old: oldname, New: newname, Err: syscall.EPERM}
	}
	if err := f.faults.step("link"); err != nil {
		return err
	}
	return f.Files.Link(oldname, newname)
}

func (f faultyFiles) Rename(oldname, newname string) error {
	if err := f.faults.step("rename"); err != nil {
		return err
	}
	return f.Files.Rename(oldname, newname)
}

func (f faultyFiles) Remove(name string) error {
	if err := f.faults.step("remove"); err != nil {
		return err
	}
	return f.Files.Remove(name)
}

func (f faultyFiles) SyncDir(dir string) error {
	if err := f.faults.step("syncdir"); err != nil {
		return err
	}
	return f.Files.SyncDir(dir)
}

type faultyFile struct {
	disk.File
	faults *faults
}

func (f faultyFile) WriteAt(p []byte, offset int64) (int, error) {
	if f.faults.full.Load() {
		n, err := f.File.WriteAt(p[:len(p)/2], offset)
		return n, errors.Join(err, &os.PathError{Op: "write", Path: "file", Err: syscall.ENOSPC})
	}
	if err := f.faults.step("write"); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, offset)
}

func (f faultyFile) ReadAt(p []byte, offset int64) (int, error) {
	if err := f.faults.step("read"); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, offset)
}

func (f faultyFile) Sync() error {
	if err := f.faults.step("sync"); err != nil {
		return err
	}
	return f.File.Sync()
}

// newStore makes a store in a directory of the test. Faults may be nil.
func newStore(t testing.TB, f *faults) disk.Config {
	t.Helper()
	c := disk.Config{Dir: t.TempDir(), Incarnation: blobstore.Incarnation{1}, Files: roomy}
	must(t, disk.Create(c))
	if f != nil {
		c.Files = f.over
	}
	return c
}

// open opens a store; the test closes it.
func open(t testing.TB, c disk.Config) *disk.Store {
	t.Helper()
	s, err := disk.Open(c)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func flip(t testing.TB, path string, offset int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	b[offset] ^= 1
	must(t, os.Chmod(path, 0o600))
	must(t, os.WriteFile(path, b, 0o600)) // the same inode: streams that are open see it too
	must(t, os.Chmod(path, 0o400))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
