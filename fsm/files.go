package fsm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Files is what a snapshot needs of the file system to arrive, and a compaction: a seam for tests that fail one step or
// cut the power after it. bbolt itself goes to the operating system.
type Files interface {
	// Create opens an empty file for writing, whatever was there.
	Create(name string) (io.WriteCloser, error)
	// Sync returns when the bytes of a file are durable.
	Sync(name string) error
	// Rename puts a file in the place of another, at once.
	Rename(oldname, newname string) error
	// Remove fails with an error that is os.ErrNotExist if there is no such file.
	Remove(name string) error
	// SyncDir returns when the names in a directory are durable.
	SyncDir(dir string) error
	// Room is how many bytes the file system of a directory has left for this process.
	Room(dir string) (int64, error)
}

// SystemFiles is the operating system's Files.
func SystemFiles() Files { return osFiles{} }

type osFiles struct{}

func (osFiles) Create(name string) (io.WriteCloser, error) {
	return os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // below Config.Dir
}

func (osFiles) Sync(name string) error { return syncPath(name) }

func (osFiles) Rename(oldname, newname string) error { return os.Rename(oldname, newname) }

func (osFiles) Remove(name string) error { return os.Remove(name) }

func (osFiles) SyncDir(dir string) error { return syncPath(dir) }

func (osFiles) Room(dir string) (int64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, os.NewSyscallError("statfs", err)
	}
	return int64(fs.Bavail) * int64(fs.Bsize), nil //nolint:gosec,unconvert // a disk's size; another type on other systems
}

func syncPath(name string) error {
	f, err := os.Open(name) //nolint:gosec // below Config.Dir
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// clearStage removes what a stopped process left of a snapshot on its way in. It was never current.
func (s *State) clearStage() error { return s.clear(s.stagePath()) }

// clear removes a file that was never current, if there is one.
func (s *State) clear(path string) error {
	if err := s.files.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove a file left half way: %w", err)
	}
	return nil
}

func (s *State) stagePath() string { return s.path() + ".new" }
