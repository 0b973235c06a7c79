package powerfs_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/seed-16d79997/zot/test/crash/crashfs"
)

// TestRandomOperations does the same on a mount and in an ordinary directory, and wants to see the same,
// on the mount, on the disk after a clean end, and after the next start.
func TestRandomOperations(t *testing.T) {
	for seed := range int64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m, plain := newMachine(t), crashfs.TempDir(t)
			// a seed has to bring a failure back
			r := &operations{t: t, rng: rand.New(rand.NewPCG(uint64(seed), 0))}
			for boot := range int64(4) {
				m.boot(boot)
				r.roots = []string{m.mnt, plain}
				for range 100 {
					r.step()
				}
				same(t, m.mnt, plain)
				m.unmount()
				same(t, m.disk, plain)
			}
			// Whatever a cut leaves can be mounted.
			m.boot(seed)
			for range 100 {
				r.step()
			}
			_, err := m.fs.Cut()
			must(t, err)
			m.unmount()
			m.boot(seed)
			m.unmount()
		})
	}
}

// operations does random operations below each of its roots.
type operations struct {
	t     *testing.T
	rng   *rand.Rand
	roots []string
	next  int
}

// some returns a random path, of a directory or of a file; "" is the root.
func (r *operations) some(isDir bool) (string, bool) {
	var found []string
	must(r.t, filepath.WalkDir(r.roots[1], func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() == isDir {
			rel, _ := filepath.Rel(r.roots[1], path) // it is below
			found = append(found, rel)
		}
		return err
	}))
	if len(found) == 0 {
		return "", false
	}
	return found[r.rng.IntN(len(found))], true
}

func (r *operations) fresh() string {
	dir, _ := r.some(true) // there is the root
	r.next++
	return filepath.Join(dir, fmt.Sprintf("n%d", r.next))
}

// each does one operation below each root, and wants the same success.
func (r *operations) each(what string, do func(root string) error) {
	r.t.Helper()
	first, second := do(r.roots[0]), do(r.roots[1])
	if (first == nil) != (second == nil) {
		r.t.Fatalf("%s: %v on the mount, %v in a directory", what, first, second)
	}
}

func (r *operations) step() {
	fresh, dirs := r.fresh(), [2]string{}
	for i := range dirs {
		dirs[i], _ = r.some(true)
	}
	file, haveFile := r.some(false)
	at := func(root, name string) string { return filepath.Join(root, name) }
	switch op := r.rng.IntN(10); {
	case op == 0:
		r.each("mkdir "+fresh, func(root string) error { return os.Mkdir(at(root, fresh), 0o700) })
	case op == 1 || !haveFile:
		r.each("create "+fresh, func(root string) error { return write(at(root, fresh), fresh) })
	case op == 2:
		r.each("rename "+file, func(root string) error { return syscall.Rename(at(root, file), at(root, fresh)) })
	case op == 3:
		r.each("rename "+dirs[0], func(root string) error { return syscall.Rename(at(root, dirs[0]), at(root, fresh)) })
	case op == 4:
		r.each("rename over "+file, func(root string) error { return syscall.Rename(at(root, dirs[0]), at(root, dirs[1])) })
		other, _ := r.some(false)
		r.each("rename over "+file, func(root string) error { return syscall.Rename(at(root, other), at(root, file)) })
	case op == 5:
		r.each("remove "+file, func(root string) error { return os.Remove(at(root, file)) })
	case op == 6:
		r.each("link "+file, func(root string) error { return os.Link(at(root, file), at(root, fresh)) })
	case op == 7:
		size := r.rng.Int64N(20000)
		r.each("truncate "+file, func(root string) error { return os.Truncate(at(root, file), size) })
	case op == 8:
		data, off := []byte(repeat(fresh, 1+r.rng.IntN(3000))), r.rng.Int64N(20000)
		r.each("write "+file, func(root string) error { return writeAt(at(root, file), data, off) })
	case op == 9:
		r.each("sync", func(root string) error { return fsync(at(root, []string{file, dirs[0]}[r.rng.IntN(2)])) })
	}
}

func writeAt(path string, data []byte, off int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(data, off); err != nil {
		_ = f.Close() // the first error says more
		return err
	}
	return f.Close()
}

// same compares two directories.
func same(t *testing.T, a, b string) {
	t.Helper()
	if one, two := digest(t, a), digest(t, b); !slices.Equal(one, two) {
		t.Fatalf("the directories differ:\n%q\n%q", one, two)
	}
}

func digest(t *testing.T, root string) []string {
	t.Helper()
	var all []string
	must(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path) // it is below
		if e.IsDir() {
			all = append(all, rel+"/")
			return nil
		}
		content, err := os.ReadFile(path)
		all = append(all, fmt.Sprintf("%s %d %x", rel, len(content), sha256.Sum256(content)))
		return err
	}))
	return all
}
