package transfer

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm/oci"
)

// Layouts is a Target: a directory with an image layout for each repository, at its name. That is how zot keeps them,
// and each of them is a layout by itself.
//
// What has its name there is whole and durable: it is written under another one, hashed, synced and renamed, and the
// index.json comes last. So an export that is repeated goes on with what is missing. Equal blobs of several
// repositories are one file with several names, where the file system has such.
type Layouts struct{ root *os.Root }

var _ Target = (*Layouts)(nil)

// OpenLayouts opens the directory, and makes it if need be. The caller closes it.
func OpenLayouts(directory string) (*Layouts, error) {
	if err := os.MkdirAll(directory, 0o750); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(directory)
	if err != nil {
		return nil, err
	}
	return &Layouts{root}, nil
}

// Close ends the use of the directory.
func (l *Layouts) Close() error { return l.root.Close() }

func blobPath(repository string, d digest.Digest) string {
	return path.Join(repository, v1.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// draftSuffix is for what is not whole yet.
const draftSuffix = ".partial"

// HasBlob looks for the file.
func (l *Layouts) HasBlob(_ context.Context, repository string, d digest.Digest) (bool, error) {
	info, err := l.root.Lstat(blobPath(repository, d))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.Mode().IsRegular(), err
}

// Mount gives the file of another repository a second name.
func (l *Layouts) Mount(_ context.Context, repository, from string, d digest.Digest) (bool, error) {
	name := blobPath(repository, d)
	if err := l.root.MkdirAll(path.Dir(name), 0o750); err != nil {
		return false, err
	}
	err := l.root.Link(blobPath(from, d), name)
	return err == nil || errors.Is(err, fs.ErrExist), nil // else it is copied
}

// PutBlob writes the file.
func (l *Layouts) PutBlob(ctx context.Context, repository string, d digest.Digest, open Opener) (err error) {
	for range attempts { // a stream from a node may break off
		var body io.ReadCloser
		if body, _, err = open(); err != nil {
			return err
		}
		err = errors.Join(l.write(blobPath(repository, d), d, body), body.Close())
		if err == nil || ctx.Err() != nil || errors.Is(err, blobstore.ErrNoSpace) {
			return err
		}
	}
	return err
}

// write makes a file whose bytes hash to d, if it is not "".
func (l *Layouts) write(name string, d digest.Digest, content io.Reader) (err error) {
	if err := l.root.MkdirAll(path.Dir(name), 0o750); err != nil {
		return err
	}
	draft := name + draftSuffix
	f, err := l.root.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	if d == "" {
		_, err = io.Copy(f, content)
	} else {
		verifier := d.Verifier()
		if _, err = io.Copy(io.MultiWriter(f, verifier), content); err == nil && !verifier.Verified() {
			err = blobstore.ErrDigestMismatch
		}
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = l.root.Rename(draft, name)
	}
	if err != nil {
		return errors.Join(err, l.root.Remove(draft))
	}
	return nil
}

// Manifest reads a manifest that is there.
func (l *Layouts) Manifest(_ context.Context, repository string, d digest.Digest) (Manifest, error) {
	f, err := l.root.Open(blobPath(repository, d))
	if err != nil {
		return Manifest{}, absent(err)
	}
	body, err := io.ReadAll(io.LimitReader(f, oci.MaxManifest+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return Manifest{}, err
	}
	m, err := checked(d, "", body)
	if err != nil { // it is made anew
		return m, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return m, nil
}

// Tag knows none: index.json is written with all tags in the end.
func (l *Layouts) Tag(context.Context, string, string) (digest.Digest, error) { return "", ErrNotFound }

// PutManifest writes the body.
func (l *Layouts) PutManifest(_ context.Context, repository string, m Manifest, tags Tags) error {
	if len(tags.Names) > 0 {
		return nil
	}
	return l.write(blobPath(repository, m.Digest), m.Digest, bytes.NewReader(m.Body))
}

// Done writes index.json, when all that it lists is durable.
func (l *Layouts) Done(_ context.Context, repository string, taken []Root) error {
	if len(taken) == 0 {
		return nil
	}
	slices.SortFunc(taken, func(a, b Root) int { return cmp.Compare(a.Digest, b.Digest) })
	index, err := writeIndex(taken)
	if err != nil {
		return err
	}
	if err := l.write(path.Join(repository, v1.ImageLayoutFile), "", bytes.NewReader([]byte(`{"imageLayoutVersion":"`+v1.ImageLayoutVersion+`"}`))); err != nil {
		return err
	}
	for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		if err := l.sync(path.Join(repository, v1.ImageBlobsDir, algorithm.String())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := l.write(path.Join(repository, v1.ImageIndexFile), "", bytes.NewReader(index)); err != nil {
		return err
	}
	for dir := repository; ; dir = path.Dir(dir) {
		if err := l.sync(dir); err != nil || dir == "." {
			return err
		}
	}
}

// sync makes the names in a directory durable.
func (l *Layouts) sync(dir string) error {
	d, err := l.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
