package disk

import (
	"errors"
	"io"
	"os"
)

// Files is what the store asks of the file system: a seam for tests that fail a step. Names are relative to
// the store's directory, whose handle an implementation keeps.
type Files interface {
	// OpenFile opens or makes a file, by the flags of package os.
	OpenFile(name string, flag int) (File, error)
	// Mkdir makes a directory. One that is there is an error that is os.ErrExist.
	Mkdir(name string) error
	// Link gives a file another name. A name that is taken is an error that is os.ErrExist.
	Link(oldname, newname string) error
	// Adopt gives a file that lies elsewhere on the same file system, and is open, a name here.
	Adopt(file *os.File, name string) error
	// Rename puts a file in the place of another, at once.
	Rename(oldname, newname string) error
	// Remove takes a name away. One that is not there is an error that is os.ErrNotExist.
	Remove(name string) error
	// SyncDir returns when the names in a directory are durable.
	SyncDir(dir string) error
	// List returns the names in a directory, in no order.
	List(dir string) ([]string, error)
	// Usage returns how many bytes the file system has, and may still take.
	Usage() (total, free int64, err error)
}

// File is an open file.
type File interface {
	io.Reader
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Chmod(mode os.FileMode) error
	// Sync returns when the file's bytes are durable.
	Sync() error
	Stat() (os.FileInfo, error)
}

// SystemFiles is the operating system's Files in a directory.
func SystemFiles(root *os.Root) Files { return systemFiles{root} }

type systemFiles struct{ *os.Root }

func (f systemFiles) OpenFile(name string, flag int) (File, error) {
	file, err := f.Root.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err // a nil *os.File in an interface would not be nil
	}
	return file, nil
}

func (f systemFiles) Mkdir(name string) error { return f.Root.Mkdir(name, 0o700) }

func (f systemFiles) SyncDir(dir string) error {
	d, err := f.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f systemFiles) List(dir string) ([]string, error) {
	d, err := f.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	return names, errors.Join(err, d.Close())
}

func (f systemFiles) Usage() (total, free int64, err error) {
	d, err := f.Open(".")
	if err != nil {
		return 0, 0, err
	}
	total, free, err = usage(d)
	return total, free, errors.Join(err, d.Close())
}

// writeFile makes a file whole: after a crash it has all of its content or is not there, if sync is set. A
// crash of the machine may leave any part of it otherwise, which its own check sum tells.
func writeFile(files Files, name string, content []byte, sync bool) error {
	draft := name + draftSuffix
	f, err := files.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, removeAll(files, draft))
	}
	return files.Rename(draft, name)
}

// removeAll removes files, of which any may be gone.
func removeAll(files Files, names ...string) error {
	var errs []error
	for _, name := range names {
		if err := files.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// readFile reads a file, which is at most limit bytes long.
func readFile(files Files, name string, limit int64) ([]byte, error) {
	f, err := files.OpenFile(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit))
	return b, errors.Join(err, f.Close())
}
