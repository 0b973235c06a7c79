package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/s3"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
)

// bucketStore is the cluster's store in a bucket, as this node uses it.
type bucketStore struct {
	*s3.Store

	name  string
	place fsm.Place
	state *fsm.State
}

// Publish makes nothing visible in a bucket that is not, or not any more, where the copies of the cluster go. What it
// makes there all the same, because that changes now, is not recorded: it was stamped before.
func (b bucketStore) Publish(ctx context.Context, id blobstore.UploadID) ([]blobstore.Location, error) {
	if err := b.state.View(func(v fsm.View) error { return placed(v, b.name, b.place) }); err != nil {
		return nil, fmt.Errorf("publish: %w: %w", blobstore.ErrOffline, err)
	}
	return b.Store.Publish(ctx, id)
}

// Adopt makes no copy, either, where those of the cluster do not go.
func (b bucketStore) Adopt(ctx context.Context, object string, d digest.Digest) (blobstore.Blob, error) {
	if err := b.state.View(func(v fsm.View) error { return placed(v, b.name, b.place) }); err != nil {
		return blobstore.Blob{}, fmt.Errorf("adopt: %w: %w", blobstore.ErrOffline, err)
	}
	return b.Store.Adopt(ctx, object, d)
}

// errNotFollowed is for whoever would send the bytes of an upload to other nodes.
var errNotFollowed = errors.New("an upload to a bucket goes there, and nowhere else")

// OpenUpload fails: nobody follows an upload where all nodes have the same store.
func (bucketStore) OpenUpload(context.Context, blobstore.UploadID) (blobstore.UploadReader, error) {
	return nil, errNotFollowed
}

// makeBucketStore makes a store in a bucket. It is offline until attachBucket has found it. The caller closes it.
func makeBucketStore(ctx context.Context, one *store, scratch string, state *fsm.State, log hclog.Logger) (bucketStore, error) {
	b := one.Bucket
	d := s3.DefaultConfig()
	d.Bucket = bucketOf(b)
	d.Root, d.PartSize, d.Logger, d.Suspect = b.Root, b.ChunkSize, log.Named("bucket").With("store", one.Name), one.suspects.Add
	d.Scratch = scratch
	s, err := s3.New(ctx, d)
	if err != nil {
		return bucketStore{}, fmt.Errorf("store %s in a bucket: %w", one.Name, err)
	}
	return bucketStore{s, one.Name, one.place, state}, nil
}

// bucketOf is a bucket of the configuration in the words of the store.
func bucketOf(b *config.Bucket) s3.Bucket {
	return s3.Bucket{
		Name: b.Name, Region: b.Region, Endpoint: b.Endpoint, Insecure: !b.Secure, SkipVerify: b.SkipVerify, PathStyle: b.PathStyle,
		DualStack: b.DualStack, Accelerate: b.Accelerate, AccessKey: b.AccessKey, SecretKey: b.SecretKey, SessionToken: b.SessionToken,
		Encrypt: b.Encrypt, KeyID: b.KeyID, StorageClass: b.StorageClass, ACL: b.ACL, UserAgent: b.UserAgent,
	}
}

// attachEvery is how often a node looks whether the cluster has its id, and the bucket is to be had.
const attachEvery = time.Second

// rounds says how new the state of this node is.
type rounds interface {
	ReadIndex(ctx context.Context) error
}

// attachBucket is every node's job until it has succeeded: the keys in the bucket begin with the cluster's id, which is
// recorded only when the cluster has formed. That the bucket is new is believed only while the newest state has
// nothing in it; after that, one that is empty is the wrong one (GC R13).
func attachBucket(b bucketStore, newest rounds) jobs.Job {
	state := b.state
	return jobs.Job{Name: "look for the bucket of store " + b.name, Every: attachEvery, Do: func(ctx context.Context) error {
		id := state.ClusterID()
		if b.Attached() || id == nil {
			return nil
		}
		if err := newest.ReadIndex(ctx); err != nil {
			return err
		}
		empty := false
		err := state.View(func(v fsm.View) error {
			empty = !v.HasCopies(b.name)
			return placed(v, b.name, b.place)
		})
		if errors.Is(err, errNotPlaced) {
			return nil // the leader says so within a minute; who differs is warned by compareStores
		}
		if err != nil {
			return err
		}
		return b.Attach(ctx, hex.EncodeToString(id), empty)
	}}
}

// whenAttached are jobs that have nothing to do before the bucket is found.
func (b bucketStore) whenAttached(all ...jobs.Job) []jobs.Job {
	for i := range all {
		do := all[i].Do
		all[i].Do = func(ctx context.Context) error {
			if !b.Attached() {
				return nil
			}
			return do(ctx)
		}
	}
	return all
}
