package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/hint"
)

// hints is what this node and other clusters on its bucket tell each other of blobs.
//
// Whoever knows the digest of a blob that is told gets it, from any cluster that shares the table. So only what everybody
// may read is told. What that is the registry knows, but for the listener, which may let in those alone who have a
// certificate. Any cluster may ask.
type hints struct {
	table  *hint.Table
	bucket bucketStore
	tells  *atomic.Bool
	log    hclog.Logger
}

var _ api.Hints = hints{}

// openHints makes the table of a store in a bucket, if the configuration has one.
func openHints(ctx context.Context, one *store, log hclog.Logger) (*hints, error) {
	if one.Hints == nil {
		return nil, nil //nolint:nilnil // there are no other clusters
	}
	d := hint.DefaultConfig()
	d.Table, d.Region, d.Endpoint, d.Logger = one.Hints.Table, one.Hints.Region, one.Hints.Endpoint, log.Named("hints").With("store", one.Name)
	table, err := hint.New(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("the hints of store %s: %w", one.Name, err)
	}
	return &hints{table: table, bucket: *one.bucket, tells: &one.tells, log: d.Logger}, nil
}

// Stored tells other clusters where a blob is.
func (h hints) Stored(b blobstore.Blob) {
	if !h.tells.Load() {
		return
	}
	for _, l := range b.Locations {
		h.table.Add(b.Digest, h.bucket.Object(l.Copy))
	}
}

// maxAdopted is how many objects are tried, of those that are said to have a blob.
const maxAdopted = 3

// Adopt makes a copy of what another cluster is said to have. What turns out to be gone, or to be something else, is
// taken out of the table.
func (h hints) Adopt(ctx context.Context, d digest.Digest) (blobstore.Blob, error) {
	if !h.bucket.Attached() {
		return blobstore.Blob{}, blobstore.ErrCopyUnknown
	}
	failed, tried := blobstore.ErrCopyUnknown, 0
	for _, object := range h.table.Find(ctx, d) {
		if !h.bucket.Others(object) || tried == maxAdopted {
			continue
		}
		tried++
		began := time.Now()
		b, err := h.bucket.Adopt(ctx, object, d)
		if err == nil {
			blobstore.LogFor(ctx, h.log).Debug("blob of another cluster copied", "digest", d.String(), "object", object, "bytes", b.Size, "duration_seconds", time.Since(began).Seconds())
			return b, nil
		}
		if errors.Is(err, blobstore.ErrCopyUnknown) || errors.Is(err, blobstore.ErrDigestMismatch) {
			blobstore.LogFor(ctx, h.log).Info("hint is wrong", "digest", d.String(), "error", err)
			h.table.Forget(d, object)
			continue
		}
		failed = err
	}
	return blobstore.Blob{}, failed
}
