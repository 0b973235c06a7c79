package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/s3"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
)

// bucketStore is the cluster's store in a bucket, as this node uses it.
type bucketStore struct{ *s3.Store }

// errNotFollowed is for whoever would send the bytes of an upload to other nodes.
var errNotFollowed = errors.New("an upload to a bucket goes there, and nowhere else")

// OpenUpload fails: nobody follows an upload where all nodes have the same store.
func (bucketStore) OpenUpload(context.Context, blobstore.UploadID) (blobstore.UploadReader, error) {
	return nil, errNotFollowed
}

// makeBucketStore makes the store. It is offline until attachBucket has found it. The caller closes it.
func makeBucketStore(ctx context.Context, c config.Config, u upkeep, log hclog.Logger) (bucketStore, error) {
	b := c.Storage.Bucket
	d := s3.DefaultConfig()
	d.Bucket = s3.Bucket{
		Name: b.Name, Region: b.Region, Endpoint: b.Endpoint, Insecure: !b.Secure, SkipVerify: b.SkipVerify, PathStyle: b.PathStyle,
		DualStack: b.DualStack, Accelerate: b.Accelerate, AccessKey: b.AccessKey, SecretKey: b.SecretKey, SessionToken: b.SessionToken,
		Encrypt: b.Encrypt, KeyID: b.KeyID, StorageClass: b.StorageClass, ACL: b.ACL, UserAgent: b.UserAgent,
	}
	d.Root, d.PartSize, d.Logger, d.Suspect = b.Root, b.ChunkSize, log.Named("bucket"), u.suspects.Add
	d.Scratch = filepath.Join(c.Storage.RootDirectory, "uploads")
	s, err := s3.New(ctx, d)
	if err != nil {
		return bucketStore{}, fmt.Errorf("the store in a bucket: %w", err)
	}
	return bucketStore{s}, nil
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
func attachBucket(b bucketStore, state *fsm.State, newest rounds) jobs.Job {
	return jobs.Job{Name: "look for the bucket of store " + fsm.DefaultStore, Every: attachEvery, Do: func(ctx context.Context) error {
		id := state.ClusterID()
		if b.Attached() || id == nil {
			return nil
		}
		if err := newest.ReadIndex(ctx); err != nil {
			return err
		}
		empty := false
		err := state.View(func(v fsm.View) error {
			empty = hasNothingIn(v, entry.Incarnation{})
			return placedIn(v, true)
		})
		if err != nil {
			return err
		}
		return b.Attach(ctx, hex.EncodeToString(id), empty)
	}}
}

// hasNothingIn reports whether the state has no copy of the default store on a node (zero: in a bucket), doomed ones
// too.
func hasNothingIn(v fsm.View, i entry.Incarnation) bool {
	return len(v.BlobsOn(fsm.DefaultStore, i, "", 1)) == 0 && len(v.Doomed(i, fsm.DoomedCopy{}, 1)) == 0
}

// maxLocations is how many locations a blob may have, which is the most replicas that a store may have.
const maxLocations = 64

// placedIn fails if the copies of the default store are not where the configuration has them: in a bucket, or on
// disks. They are alike in this: one blob speaks for all that have as many copies.
func placedIn(v fsm.View, bucket bool) error {
	for n := range maxLocations {
		for _, d := range v.WithCopies(fsm.DefaultStore, n+1, "", 1) {
			b, _ := v.Blob(fsm.DefaultStore, d)
			for _, c := range b.Copies {
				switch {
				case bucket && !c.Incarnation.IsZero():
					return errors.New("the copies of this cluster are on the disks of its nodes, and storage.storageDriver says that they are in a bucket: take it out of the configuration")
				case !bucket && c.Incarnation.IsZero():
					return errors.New("the copies of this cluster are in a bucket, and the configuration does not say in which: put storage.storageDriver back")
				}
			}
		}
	}
	return nil
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
