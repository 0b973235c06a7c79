// Package s3_test holds the store in a bucket, and a registry upon it, against an S3 server that is not ours, and
// against uploads that are larger than any memory.
//
// `make s3` builds the server and says where it is, in VERSITYGW.
package s3_test

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/blobstore/s3"
	"github.com/seed-16d79997/zot/blobstore/storetest"
	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// The suite of all stores, unchanged. Each store on trial is that of a cluster of its own, and all share the bucket.
func TestStore(t *testing.T) {
	bucket := harness.StartBucket(t)
	t.Run("suite", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) storetest.Subject { return subject(t, bucket) })
	})
}

// subject is a new store on trial.
func subject(t *testing.T, bucket *harness.Bucket) storetest.Subject {
	t.Helper()
	c := config(t, bucket)
	c.Timing.Trust = 0
	var full atomic.Bool
	c.Files = func(root *os.Root) disk.Files { return gauge{disk.SystemFiles(root), &full} }
	at := func(name string) string { return bucket.Path(c.Root + "/" + c.cluster + "/" + name) }
	return storetest.Subject{
		Store: open(t, c),
		Damage: func(t *testing.T, id blobstore.CopyID, offset int64) {
			p, err := os.ReadFile(at(id.String()))
			must(t, err)
			p[offset] ^= 1
			f, err := os.OpenFile(at(id.String()), os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteAt(p, 0)
			must(t, err)
			must(t, f.Close())
		},
		Full: func(_ *testing.T, on bool) { full.Store(on) },
		Lose: func(t *testing.T) { must(t, os.Remove(at("marker"))) },
	}
}

// place is a configuration, and for which cluster.
type place struct {
	s3.Config

	cluster string
}

// config is that of a cluster of its own.
func config(t testing.TB, bucket *harness.Bucket) place {
	t.Helper()
	c := place{Config: s3.DefaultConfig()}
	c.Bucket = s3.Bucket{
		Name: bucket.Name, Region: bucket.Region, Endpoint: bucket.Endpoint, PathStyle: true,
		AccessKey: bucket.AccessKey, SecretKey: bucket.SecretKey,
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	c.Root, c.cluster, c.Scratch = "some/where", hex.EncodeToString(id[:]), filepath.Join(t.TempDir(), "scratch")
	return c
}

// open makes a store and opens it.
func open(t testing.TB, c place) *s3.Store {
	t.Helper()
	s, err := s3.New(t.Context(), c.Config)
	must(t, err)
	must(t, s.Attach(t.Context(), c.cluster, true))
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// gauge is a disk that is full when a test says so.
type gauge struct {
	disk.Files
	full *atomic.Bool
}

// Usage is that of the disk, or of a full one.
func (g gauge) Usage() (total, free int64, err error) {
	if g.full.Load() {
		return 1000, 10, nil
	}
	return g.Files.Usage()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
