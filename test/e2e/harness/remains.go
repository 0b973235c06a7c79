package harness

import (
	"context"
	"encoding/hex"
	"errors"
	"path/filepath"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/blobstore/s3"
	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// Remains are what a node that has ended has left behind. Both are open until Close is called.
type Remains struct {
	Incarnation entry.Incarnation
	State       *fsm.State
	Store       blobstore.Store
}

// OpenRemains opens the state of the node in a root directory, and its store: on its disk, or in a bucket, below a
// prefix.
func OpenRemains(ctx context.Context, root string, bucket *Bucket, prefix string) (r Remains, err error) {
	dir := filepath.Join(root, "node")
	d, err := cluster.OpenDirectory(dir, fsm.SystemFiles())
	if err != nil {
		return r, err
	}
	r.Incarnation = d.Incarnation
	if r.State, err = fsm.Open(fsm.Config{Dir: dir, Incarnation: r.Incarnation, NoSync: true}); err != nil {
		return r, err
	}
	if bucket == nil {
		r.Store, err = disk.Open(disk.Config{Dir: root, Incarnation: blobstore.Incarnation(r.Incarnation), Name: fsm.DefaultStore})
	} else {
		r.Store, err = bucket.open(ctx, root, prefix, r.State.ClusterID())
	}
	if err != nil {
		return r, errors.Join(err, r.State.Close())
	}
	return r, nil
}

// open opens the store of a cluster.
func (b *Bucket) open(ctx context.Context, root, prefix string, id []byte) (*s3.Store, error) {
	c := s3.DefaultConfig()
	c.Bucket = s3.Bucket{
		Name: b.Name, Region: b.Region, Endpoint: b.Endpoint, PathStyle: true, AccessKey: b.AccessKey, SecretKey: b.SecretKey,
	}
	c.Root, c.Scratch = prefix, filepath.Join(root, "uploads")
	s, err := s3.New(ctx, c)
	if err != nil {
		return nil, err
	}
	return s, s.Attach(ctx, hex.EncodeToString(id), false)
}

// Close closes both.
func (r Remains) Close() error { return errors.Join(r.Store.Close(), r.State.Close()) }
