package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed-16d79997/zot/blobstore/s3"
)

// backupPlace is where backups are kept: files by names with slashes. Its methods may be called concurrently.
type backupPlace interface {
	// List yields the files whose names begin with a prefix that ends with a slash.
	List(ctx context.Context, prefix string) iter.Seq2[s3.File, error]
	// Open opens a file, which the caller closes. It fails with fs.ErrNotExist.
	Open(ctx context.Context, name string) (io.ReadCloser, int64, error)
	// Put makes a file of size bytes of r, durable when it returns, or leaves what is there: if r ends with an error,
	// or too soon, it fails with that.
	Put(ctx context.Context, name string, size int64, r io.Reader) error
	Close() error
	String() string
}

// placeFlags say how a bucket is reached.
type placeFlags struct{ endpoint, region string }

// openBackups opens a directory, which need not be there yet, or s3://bucket/prefix.
func openBackups(ctx context.Context, name string, f placeFlags) (backupPlace, error) {
	if !strings.HasPrefix(name, "s3://") {
		if f.endpoint != "" || f.region != "" {
			return nil, fmt.Errorf("--endpoint and --region are for s3://BUCKET/PREFIX, and %s is a directory", name)
		}
		return directory{name}, nil
	}
	u, err := url.Parse(name)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("%s is not s3://BUCKET/PREFIX", name)
	}
	if f.region == "" {
		f.region = firstOf(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"), "us-east-1")
	}
	objects, err := s3.NewFiles(ctx, s3.Bucket{
		Name: u.Host, Region: f.region, Endpoint: f.endpoint, PathStyle: f.endpoint != "",
	}, u.Path, s3.DefaultTiming())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return inBucket{objects, strings.TrimSuffix(name, "/")}, nil
}

func firstOf(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}

// inBucket is a place in a bucket.
type inBucket struct {
	*s3.Files

	name string
}

func (b inBucket) String() string { return b.name }

// directory is a place on a disk. What is on its way lies in tmp until it is whole.
type directory struct{ root string }

const (
	tmpName  = "tmp"
	tmpStays = 7 * 24 * time.Hour // then whoever began it has surely gone
)

func (d directory) String() string { return d.root }

// Close does nothing.
func (directory) Close() error { return nil }

func (d directory) path(name string) string { return filepath.Join(d.root, filepath.FromSlash(name)) }

// List yields the files below a folder.
func (d directory) List(ctx context.Context, prefix string) iter.Seq2[s3.File, error] {
	return func(yield func(s3.File, error) bool) {
		err := filepath.WalkDir(d.path(prefix), func(file string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err = errors.Join(err, ctx.Err()); err != nil {
				return err
			}
			if !entry.Type().IsRegular() {
				return nil
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			name, err := filepath.Rel(d.root, file)
			if err != nil {
				return err
			}
			if !yield(s3.File{Name: filepath.ToSlash(name), Size: info.Size()}, nil) {
				return filepath.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(s3.File{}, err)
		}
	}
}

// Open opens a file.
func (d directory) Open(_ context.Context, name string) (io.ReadCloser, int64, error) {
	f, err := os.Open(d.path(name))
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// Put writes a file beside, and gives it its name when it is whole and durable.
func (d directory) Put(_ context.Context, name string, size int64, r io.Reader) error {
	return putFile(d.path(name), filepath.Join(d.root, tmpName), size, r)
}

// tidy removes what was left half way long ago.
func (d directory) tidy() error {
	tmp := filepath.Join(d.root, tmpName)
	all, err := os.ReadDir(tmp)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range all {
		if info, failed := e.Info(); failed == nil && time.Since(info.ModTime()) > tmpStays {
			err = errors.Join(err, os.Remove(filepath.Join(tmp, e.Name())))
		}
	}
	return err
}

// putFile makes a file for its owner alone, by way of another one in a directory of the same file system.
func putFile(file, by string, size int64, r io.Reader) (err error) {
	for _, dir := range []string{filepath.Dir(file), by} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	f, err := os.CreateTemp(by, ".part-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	n, err := io.Copy(f, r)
	if err == nil && n != size {
		err = fmt.Errorf("%d of %d bytes came: %w", n, size, io.ErrUnexpectedEOF)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // as the operator names it
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// The names in a place.
const (
	snapshotsPrefix = "snapshots/"
	blobsPrefix     = "blobs/"
	stateName       = "state"         // the stream of a state, as 'save FILE' writes it
	describedName   = "snapshot.json" // a snapshot is there when this is
)

// blobFile is where the bytes of a digest lie.
func blobFile(digest string) string {
	algorithm, hex, _ := strings.Cut(digest, ":")
	return blobsPrefix + algorithm + "/" + hex
}

// fileIn is where a file of a snapshot lies.
func fileIn(id, name string) string { return path.Join(snapshotsPrefix, id, name) }
