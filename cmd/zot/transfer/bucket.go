package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/blobstore/s3"
	"github.com/seed-16d79997/zot/fsm/oci"
)

// Bucket is a Source: the root of a zot in a bucket. With dedupe a zot there has the bytes of a blob once, and empty
// objects in all other repositories; where the bytes are only its cache knew. So all keys are listed first, and a
// blob is read wherever its digest has bytes.
type Bucket struct {
	files *s3.Files
	root  string // of all keys, with a slash unless it is empty
	names []string
	bytes map[digest.Digest]stored
}

// stored is an object that has bytes.
type stored struct {
	key  string
	size int64
}

var _ Source = (*Bucket)(nil)

// OpenBucket lists what is below a prefix. The caller closes it.
func OpenBucket(ctx context.Context, b s3.Bucket, prefix string) (*Bucket, error) {
	files, err := s3.NewFiles(ctx, b, "", s3.DefaultTiming())
	if err != nil {
		return nil, err
	}
	s := &Bucket{files: files, bytes: map[digest.Digest]stored{}}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		s.root = prefix + "/"
	}
	if err := s.list(ctx); err != nil {
		return nil, errors.Join(err, files.Close())
	}
	return s, nil
}

// Close ends the use of the bucket.
func (s *Bucket) Close() error { return s.files.Close() }

// list finds repositories and bytes. zot puts its prefix in front of every key, and its S3 driver does so once more:
// where all lies below the prefix twice, the second is no part of a name.
func (s *Bucket) list(ctx context.Context) error {
	files := map[string]int{} // of a repository: how many of oci-layout and index.json
	for o, err := range s.files.List(ctx, s.root) {
		if err != nil {
			return err
		}
		dir, name := path.Split(strings.TrimPrefix(o.Name, s.root))
		dir = strings.TrimSuffix(dir, "/")
		if name == v1.ImageLayoutFile || name == v1.ImageIndexFile {
			files[dir]++
			continue
		}
		d := digest.NewDigestFromEncoded(digest.Algorithm(path.Base(dir)), name)
		if path.Base(path.Dir(dir)) == v1.ImageBlobsDir && d.Validate() == nil && o.Size > 0 {
			s.bytes[d] = stored{o.Name, o.Size}
		}
	}
	twice := s.root != ""
	for dir, n := range files {
		if n == 2 {
			s.names = append(s.names, dir)
			twice = twice && strings.HasPrefix(dir, s.root)
		}
	}
	if len(s.names) == 0 {
		return fmt.Errorf("below %q of the bucket: %w", s.root, ErrNoLayout)
	}
	if twice {
		for i, name := range s.names {
			s.names[i] = strings.TrimPrefix(name, s.root)
		}
		s.root += s.root
	}
	return nil
}

// Repositories lists those that were found when the bucket was opened.
func (s *Bucket) Repositories(context.Context) ([]string, error) { return s.names, nil }

// Roots reads the index.json of a repository.
func (s *Bucket) Roots(ctx context.Context, repository string) ([]Root, error) {
	content, err := s.read(ctx, s.root+path.Join(repository, v1.ImageIndexFile), maxIndex)
	if err != nil {
		return nil, err
	}
	return readIndex(content)
}

// Resolve is not needed: all roots have digests.
func (s *Bucket) Resolve(context.Context, string, string) (digest.Digest, error) {
	return "", ErrNotFound
}

// Referrers are all among the roots, or are listed by them.
func (s *Bucket) Referrers(context.Context, string, digest.Digest) ([]digest.Digest, error) {
	return nil, nil
}

// Manifest reads a manifest.
func (s *Bucket) Manifest(ctx context.Context, _ string, d digest.Digest) (Manifest, error) {
	at, err := s.find(d)
	if err != nil {
		return Manifest{}, err
	}
	body, err := s.read(ctx, at.key, oci.MaxManifest+1)
	if err != nil {
		return Manifest{}, err
	}
	return checked(d, "", body)
}

// Blob opens the object that has a blob's bytes.
func (s *Bucket) Blob(ctx context.Context, _ string, d digest.Digest) (io.ReadCloser, int64, error) {
	at, err := s.find(d)
	if err != nil {
		return nil, 0, err
	}
	if at.key == "" {
		return io.NopCloser(strings.NewReader("")), 0, nil
	}
	body, _, err := s.files.Open(ctx, at.key)
	return body, at.size, err
}

// find says where the bytes of a digest are; nowhere for the digest of none.
func (s *Bucket) find(d digest.Digest) (stored, error) {
	if err := d.Validate(); err != nil {
		return stored{}, fmt.Errorf("digest %q: %w", d, err)
	}
	at, ok := s.bytes[d]
	if !ok && d != d.Algorithm().FromBytes(nil) {
		return stored{}, fmt.Errorf("%w: no repository has bytes for it", ErrNotFound)
	}
	return at, nil
}

func (s *Bucket) read(ctx context.Context, key string, limit int64) ([]byte, error) {
	body, _, err := s.files.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(body, limit))
	return content, errors.Join(err, body.Close())
}
