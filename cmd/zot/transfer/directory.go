package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/fsm/oci"
)

// Directory is a Source of image layouts: one that is itself a layout, or one that has a layout for each repository, at
// its name, as zot's root has. Nothing is read that lies elsewhere: links of the file system that lead out of it are
// errors.
type Directory struct {
	root  *os.Root
	path  string   // absolute, without links
	alone string   // the name of the one repository; "" if each has its own
	names []string // of repositories
}

var (
	_ Source = (*Directory)(nil)
	_ Filed  = (*Directory)(nil)
)

// ErrNoLayout is for a directory in which there is none.
var ErrNoLayout = errors.New("no image layout is here: neither oci-layout and index.json, nor directories that have them")

// OpenDirectory finds the repositories in a directory. A name is needed for one that is itself a layout. The caller
// closes it.
func OpenDirectory(ctx context.Context, directory, name string) (*Directory, error) {
	absolute, err := filepath.Abs(directory)
	if err == nil {
		absolute, err = filepath.EvalSymlinks(absolute)
	}
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(absolute)
	if err != nil {
		return nil, err
	}
	d := &Directory{root: root, path: absolute}
	if err := d.find(ctx, name); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", directory, err), root.Close())
	}
	return d, nil
}

// Close ends the use of the directory.
func (d *Directory) Close() error { return d.root.Close() }

// Path is the directory, without links.
func (d *Directory) Path() string { return d.path }

func (d *Directory) find(ctx context.Context, name string) error {
	if d.isLayout(".") {
		if name == "" {
			return errors.New("this is the image layout of a single repository: say with --repository what it is to be called")
		}
		d.alone, d.names = name, []string{name}
		return nil
	}
	err := fs.WalkDir(d.root.FS(), ".", func(p string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case !entry.IsDir() || p == ".":
			return nil
		case isOther(entry.Name()) || entry.Name() == v1.ImageBlobsDir && d.isLayout(path.Dir(p)):
			return fs.SkipDir
		}
		if d.isLayout(p) {
			d.names = append(d.names, p)
		}
		return nil
	})
	if err == nil && len(d.names) == 0 {
		err = ErrNoLayout
	}
	return err
}

// isOther reports whether a directory holds something else of zot's: uploads, signing keys, vulnerabilities. No
// repository's name has a part that begins so.
func isOther(name string) bool { return strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".") }

func (d *Directory) isLayout(p string) bool {
	for _, name := range []string{v1.ImageLayoutFile, v1.ImageIndexFile} {
		if info, err := d.root.Stat(path.Join(p, name)); err != nil || !info.Mode().IsRegular() {
			return false
		}
	}
	return true
}

// Repositories lists those that were found when the directory was opened.
func (d *Directory) Repositories(context.Context) ([]string, error) { return d.names, nil }

// in is where something of a repository lies.
func (d *Directory) in(repository string, name ...string) string {
	if d.alone != "" {
		repository = "."
	}
	return path.Join(append([]string{repository}, name...)...)
}

// Roots reads the index.json of a repository.
func (d *Directory) Roots(_ context.Context, repository string) ([]Root, error) {
	content, err := d.read(d.in(repository, v1.ImageIndexFile), maxIndex)
	if err != nil {
		return nil, err
	}
	return readIndex(content)
}

// Resolve is not needed: all roots have digests.
func (d *Directory) Resolve(context.Context, string, string) (digest.Digest, error) {
	return "", ErrNotFound
}

// Referrers are all among the roots, or are listed by them.
func (d *Directory) Referrers(context.Context, string, digest.Digest) ([]digest.Digest, error) {
	return nil, nil
}

// Manifest reads a manifest.
func (d *Directory) Manifest(_ context.Context, repository string, want digest.Digest) (Manifest, error) {
	name, _, err := d.locate(repository, want)
	if err != nil {
		return Manifest{}, err
	}
	body, err := d.read(name, oci.MaxManifest+1)
	if err != nil {
		return Manifest{}, err
	}
	return checked(want, "", body)
}

// Blob opens a blob's file.
func (d *Directory) Blob(_ context.Context, repository string, want digest.Digest) (io.ReadCloser, int64, error) {
	name, size, err := d.locate(repository, want)
	if err != nil {
		return nil, 0, err
	}
	f, err := d.root.Open(name)
	return f, size, absent(err)
}

// File is where a blob's file is.
func (d *Directory) File(repository string, want digest.Digest) (directory, name string, size int64, err error) {
	name, size, err = d.locate(repository, want)
	return d.path, name, size, err
}

// locate finds the file of a blob: in its repository, or, where that has an empty one in its place, in another: an old
// zot may have left the name alone behind.
func (d *Directory) locate(repository string, want digest.Digest) (name string, size int64, err error) {
	if err := want.Validate(); err != nil {
		return "", 0, fmt.Errorf("digest %q: %w", want, err)
	}
	look := func(repository string) (string, int64, error) {
		name := d.in(repository, v1.ImageBlobsDir, want.Algorithm().String(), want.Encoded())
		info, err := d.root.Lstat(name)
		switch {
		case err != nil:
			return "", 0, absent(err)
		case !info.Mode().IsRegular():
			return "", 0, fmt.Errorf("%w: %s is no plain file", ErrNotFound, name)
		case info.Size() == 0 && want != want.Algorithm().FromBytes(nil):
			return "", 0, fmt.Errorf("%w: %s is empty", ErrNotFound, name)
		}
		return name, info.Size(), nil
	}
	if name, size, err = look(repository); err == nil || !errors.Is(err, ErrNotFound) {
		return name, size, err
	}
	for _, other := range d.names {
		if name, size, found := look(other); found == nil {
			return name, size, nil
		}
	}
	return "", 0, err
}

// read reads a file of at most limit bytes.
func (d *Directory) read(name string, limit int64) ([]byte, error) {
	f, err := d.root.Open(name)
	if err != nil {
		return nil, absent(err)
	}
	content, err := io.ReadAll(io.LimitReader(f, limit))
	return content, errors.Join(err, f.Close())
}

// absent makes ErrNotFound of a file that is not there.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return err
}
