package transfer

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
)

// Progress counts what a Copy has done. It may be read meanwhile.
type Progress struct {
	Repositories, Images Count

	Manifests, ManifestsThere                    atomic.Int64
	Tags, TagsThere, TagsKept                    atomic.Int64
	Blobs, BlobsThere, BlobsMounted, BlobsLinked atomic.Int64
	Bytes, BytesLinked                           atomic.Int64 // moved, and not
	Problems                                     atomic.Int64
}

// Count is how many of how many.
type Count struct{ Done, Total atomic.Int64 }

// counting counts bytes as they are read.
type counting struct {
	io.ReadCloser

	n *atomic.Int64
}

func (c counting) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// dry is a target to which nothing is written. What would be taken is counted as if it were.
type dry struct {
	Target
	*Progress
}

// HasBlob finds no blob in a repository that is not there yet.
func (d dry) HasBlob(ctx context.Context, repository string, b digest.Digest) (bool, error) {
	has, err := d.Target.HasBlob(ctx, repository, b)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return has, err
}

// Mount takes it that what was just counted can be mounted.
func (d dry) Mount(context.Context, string, string, digest.Digest) (bool, error) { return true, nil }

// PutManifest does nothing.
func (d dry) PutManifest(context.Context, string, Manifest, Tags) error { return nil }

// Done does nothing.
func (d dry) Done(context.Context, string, []Root) error { return nil }
