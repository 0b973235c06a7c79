// Package crashfs is a double of the small file interface through which the product's packages write: it
// fails at a chosen step, as if the power had been cut there, and then leaves the directory as a disk could
// be found afterwards.
//
// The files really exist in a real directory, so that other code may open them. What others change there
// without going through the double is noticed: a name when its directory is next named in a call, and
// content, which a bbolt database for instance writes itself, when Sync is called for the file. Until then
// it is un-synced, whatever fsync they called; a running database therefore belongs on powerfs.
//
// A test runs its work once with the zero Plan and asks Steps how many places there are to crash. For each
// of them it starts anew with CrashAt, stops at ErrCrashed, calls Recover, and opens what is left with the
// code under test. Start reading at FS.step; package disk says what may be left.
package crashfs

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/seed-16d79997/zot/test/crash/disk"
)

// ErrCrashed is returned by the step at which the power is cut, and by everything after it.
var ErrCrashed = errors.New("power is off")

// Plan says where the power is cut.
type Plan struct {
	// CrashAt is the number of the step that fails, counted from 1; 0 is never.
	CrashAt int
	// Torn lets the seed decide whether that step has had its effect all the same; of a write it may be any
	// part. Without it, the step has none.
	Torn bool
	// Seed decides for Torn.
	Seed int64
}

type (
	tree = disk.Tree[*object]
	node = disk.Node[*object]
)

// object is a file or directory of the tree.
type object struct {
	synced []byte // content at the last Sync
	last   []byte // content when the last name that programs see was taken away
}

// FS has the methods of the file interface. All are safe for concurrent use; steps are numbered in the
// order in which they happen.
type FS struct {
	dir  string
	plan Plan

	// mu is held over the I/O of a step: the power is cut between two steps, and not while one of them is
	// half noted.
	mu      sync.Mutex
	rng     *rand.Rand
	steps   int
	crashed bool
	tree    *tree
}

// New returns a double on a directory that exists. What is in it counts as durable.
//
// The error is that of reading the directory.
func New(dir string, plan Plan) (*FS, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("crashfs: %w", err)
	}
	// a seed has to bring a failure back; nothing here is secret
	rng := rand.New(rand.NewPCG(uint64(plan.Seed), uint64(plan.CrashAt)))
	f := &FS{dir: abs, plan: plan, rng: rng, tree: disk.New(&object{}, nil)}
	if err := f.load(f.tree.Root(), abs); err != nil {
		return nil, fmt.Errorf("crashfs: %w", err)
	}
	return f, nil
}

// Steps returns how many steps have been made, the one that failed included.
func (f *FS) Steps() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.steps
}

// Crashed says whether the power has been cut.
func (f *FS) Crashed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.crashed
}

// Create makes a file, or empties one that is there, and opens it for writing. Neither its name nor its
// content is durable. Each Write to it is a step; Close is none, for it makes nothing durable.
//
// It returns ErrCrashed, or the error of opening the file.
func (f *FS) Create(name string) (io.WriteCloser, error) {
	var created *file
	err := f.step("create", name, func(at string) error {
		dir, base, err := f.parent(at)
		if err != nil {
			return err
		}
		opened, err := os.OpenFile(f.path(at), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		if dir.Lookup(base) == nil {
			f.tree.Link(dir, base, f.tree.NewFile(&object{}))
		}
		created = &file{fs: f, name: name, real: opened}
		return nil
	})
	if err != nil {
		if created != nil {
			_ = created.real.Close() // the step had its effect, but nobody is left to use the file
		}
		return nil, err
	}
	return created, nil
}

// Sync makes the content of a file durable as it is now, whoever wrote it, and not its name.
//
// It returns ErrCrashed, or the error of reading the file.
func (f *FS) Sync(name string) error {
	return f.step("sync", name, func(at string) error {
		n, err := f.node(at)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(f.path(at))
		if err != nil {
			return err
		}
		n.Value.synced = content
		return nil
	})
}

// Rename gives a file or directory another name, in place of a file that may have it. It is durable after
// SyncDir of either directory; until then both names are old or both are new.
//
// It returns ErrCrashed, or the error of os.Rename.
func (f *FS) Rename(oldname, newname string) error {
	to, err := f.relative(newname)
	if err != nil {
		return err
	}
	return f.step("rename", oldname, func(from string) error {
		oldDir, oldBase, err := f.parent(from)
		if err != nil {
			return err
		}
		newDir, newBase, err := f.parent(to)
		if err != nil {
			return err
		}
		f.keepLast(newDir.Lookup(newBase), to)
		if err := os.Rename(f.path(from), f.path(to)); err != nil {
			return err
		}
		if from != to {
			f.tree.Rename(oldDir, oldBase, newDir, newBase)
		}
		return nil
	})
}

// Remove takes away the name of a file or of an empty directory. It is durable after SyncDir.
//
// It returns ErrCrashed, or the error of os.Remove.
func (f *FS) Remove(name string) error {
	return f.step("remove", name, func(at string) error {
		dir, base, err := f.parent(at)
		if err != nil {
			return err
		}
		f.keepLast(dir.Lookup(base), at)
		if err := os.Remove(f.path(at)); err != nil {
			return err
		}
		f.tree.Unlink(dir, base)
		return nil
	})
}

// SyncDir makes the names in a directory durable as they are now, whoever made them, and neither the content
// of the files nor the name of the directory itself.
//
// It returns ErrCrashed, or the error of reading the directory.
func (f *FS) SyncDir(dir string) error {
	return f.step("sync directory", dir, func(at string) error {
		n, err := f.directory(at)
		if err != nil {
			return err
		}
		f.tree.SyncDir(n)
		return nil
	})
}

// Room is more than anybody needs. It is no step.
func (f *FS) Room(string) (int64, error) { return math.MaxInt64, nil }

// step does one numbered step, unless the power is cut at it or was cut before.
func (f *FS) step(what, name string, do func(at string) error) error {
	at, err := f.relative(name)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now, crash := f.begin()
	if crash == nil || now && f.plan.Torn && f.rng.IntN(2) == 0 {
		err = do(at)
	}
	if crash != nil {
		return fmt.Errorf("%s %s: %w", what, name, crash)
	}
	return err
}

// begin counts a step. It returns ErrCrashed if the step is not to succeed, and whether the power is cut now.
func (f *FS) begin() (now bool, err error) {
	if f.crashed {
		return false, ErrCrashed
	}
	f.steps++
	f.crashed = f.steps == f.plan.CrashAt
	if f.crashed {
		return true, ErrCrashed
	}
	return false, nil
}

// relative turns a name into a slash-separated path below the directory, "." for itself.
func (f *FS) relative(name string) (string, error) {
	at := filepath.Clean(name)
	if filepath.IsAbs(at) {
		rel, err := filepath.Rel(f.dir, at)
		if err != nil {
			return "", fmt.Errorf("crashfs: %w", err)
		}
		at = rel
	}
	if at == ".." || strings.HasPrefix(at, ".."+string(filepath.Separator)) {
		return "", fmt.Errorf("crashfs: %s is not in %s", name, f.dir)
	}
	return filepath.ToSlash(at), nil
}

// path is the real path of a relative one.
func (f *FS) path(at string) string { return filepath.Join(f.dir, filepath.FromSlash(at)) }
