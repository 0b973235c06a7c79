package cluster

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// Files is the part of a file system whose order of writes matters here. A name is a path.
type Files interface {
	Create(name string) (io.WriteCloser, error) // what is written is durable after Sync
	Sync(name string) error
	Rename(oldname, newname string) error // durable after SyncDir
	Remove(name string) error
	SyncDir(dir string) error
	Room(dir string) (int64, error) // bytes that its file system has left
}

// Names of the files that make a directory a node's.
const (
	incarnationName  = "incarnation"
	beginningName    = "incarnation.new"
	stateName        = "fsm.db"
	promiseName      = "formation"
	promiseDraftName = "formation.new"
)

// Directory is a node's directory with its identity.
type Directory struct {
	Incarnation entry.Incarnation
	New         bool // made by this start: Seal must be called when all its files are there

	path  string
	files Files
}

// OpenDirectory finds out whose directory path is, or begins to make it a new node's. It is empty if
// it holds nothing of a node and none of traces exists; the caller names there what else a node leaves
// behind, such as the markers of its stores.
//
// The identity of a new directory counts only when Seal has been called, after the log and the state
// were made with it: a crash before is gone on with at the next start. A directory that holds a part
// of a node's files is a lost disk, and fails with ErrLostDisk: its node may have voted and
// acknowledged what is no longer here.
func OpenDirectory(path string, files Files, traces ...string) (*Directory, error) {
	d := &Directory{path: path, files: files}
	found := map[string]bool{}
	for _, name := range []string{incarnationName, beginningName, LogName, stateName} {
		found[name] = exists(filepath.Join(path, name))
	}
	if found[incarnationName] {
		return d, d.whole(found)
	}
	if found[beginningName] {
		if i, err := readIncarnation(filepath.Join(path, beginningName)); err == nil {
			d.Incarnation, d.New = i, true
			return d, d.clear()
		}
		found[beginningName] = false // torn: nothing else was made yet
	}
	for _, trace := range append(traces, filepath.Join(path, LogName), filepath.Join(path, stateName)) {
		if exists(trace) {
			return nil, fmt.Errorf("%w: %s is there and %s is not", ErrLostDisk, trace, filepath.Join(path, incarnationName))
		}
	}
	return d, d.begin()
}

func (d *Directory) whole(found map[string]bool) error {
	for _, name := range []string{LogName, stateName} {
		if !found[name] {
			return fmt.Errorf("%w: %s is missing", ErrLostDisk, filepath.Join(d.path, name))
		}
	}
	i, err := readIncarnation(filepath.Join(d.path, incarnationName))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLostDisk, err)
	}
	d.Incarnation = i
	return nil
}

// begin draws an identity and writes it down as one that does not count yet.
func (d *Directory) begin() error {
	if err := d.make(); err != nil {
		return err
	}
	if _, err := rand.Read(d.Incarnation[:]); err != nil {
		return err
	}
	d.New = true
	name := filepath.Join(d.path, beginningName)
	if err := writeFile(d.files, name, []byte(d.Incarnation.String()+"\n")); err != nil {
		return err
	}
	return d.files.SyncDir(d.path)
}

// make makes the directory and those above it, durably: a directory that vanished with the power would be
// taken for an empty disk.
func (d *Directory) make() error {
	path, err := filepath.Abs(d.path)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	if err := d.files.SyncDir(filepath.Dir(path)); err != nil {
		return err
	}
	// Also those that were there before: another start may have made them and not come so far.
	for above := filepath.Dir(filepath.Dir(path)); ; above = filepath.Dir(above) {
		if err := syncDir(above); errors.Is(err, fs.ErrPermission) {
			return nil // not ours, so it was there before us
		} else if err != nil {
			return err
		}
		if above == filepath.Dir(above) {
			return nil
		}
	}
}

// syncDir is for directories above the root directory, which Files need not reach.
func syncDir(path string) error {
	f, err := os.Open(path) //nolint:gosec // above the node's directory
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) {
		err = nil // a file system that has no such thing, above the one that the directory is on
	}
	return errors.Join(err, f.Close())
}

// clear removes what an earlier start made and did not seal: a power cut may have left half of it.
func (d *Directory) clear() error {
	for _, name := range []string{LogName, stateName} {
		if err := d.files.Remove(filepath.Join(d.path, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return d.files.SyncDir(d.path)
}

// Seal makes the identity of a new directory count.
func (d *Directory) Seal() error {
	if !d.New {
		return nil
	}
	if err := d.files.SyncDir(d.path); err != nil { // the log and the state first
		return err
	}
	if err := d.files.Rename(filepath.Join(d.path, beginningName), filepath.Join(d.path, incarnationName)); err != nil {
		return err
	}
	d.New = false
	return d.files.SyncDir(d.path)
}

func readIncarnation(name string) (entry.Incarnation, error) {
	b, err := os.ReadFile(name) //nolint:gosec // a path of the node's own directory
	if err != nil {
		return entry.Incarnation{}, err
	}
	i, err := entry.ParseIncarnation(strings.TrimSuffix(string(b), "\n"))
	if err != nil {
		return i, fmt.Errorf("%s: %w", name, err)
	}
	return i, nil
}

func writeFile(files Files, name string, content []byte) error {
	w, err := files.Create(name)
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	return files.Sync(name)
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return !errors.Is(err, fs.ErrNotExist)
}
