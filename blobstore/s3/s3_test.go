package s3_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/blobstore/s3"
	"github.com/seed-16d79997/zot/blobstore/storetest"
	"github.com/seed-16d79997/zot/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestStore(t *testing.T) {
	t.Parallel()
	endpoint := fake(t)
	storetest.Run(t, func(t *testing.T) storetest.Subject { return subject(t, config(t, endpoint), 0) })
}

// TestStoreInParts is the suite with parts so small that its uploads have several.
func TestStoreInParts(t *testing.T) {
	t.Parallel()
	endpoint := fake(t)
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		return subject(t, config(t, endpoint), blobstore.ChunkSize)
	})
}

// fake is an S3 server in this process, with a bucket.
func fake(t *testing.T) (endpoint string) {
	t.Helper()
	backend := s3mem.New()
	must(t, backend.CreateBucket("blobs"))
	server := httptest.NewServer(gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server())
	t.Cleanup(server.Close)
	return server.URL
}

// place is a configuration, and for which cluster.
type place struct {
	s3.Config

	cluster string
}

// config is that of a cluster of its own.
func config(t *testing.T, endpoint string) place {
	t.Helper()
	c := place{Config: s3.DefaultConfig()}
	c.Bucket = s3.Bucket{
		Name: "blobs", Region: "us-east-1", Endpoint: endpoint, PathStyle: true, AccessKey: "tester", SecretKey: "secret-of-the-tester",
	}
	var id [8]byte
	_, _ = rand.Read(id[:])
	c.Root, c.cluster, c.Scratch = "/some/where", hex.EncodeToString(id[:]), filepath.Join(t.TempDir(), "scratch")
	c.Timing.Backoff, c.Timing.Longest, c.Timing.Trust = time.Millisecond, 20*time.Millisecond, 0
	return c
}

// subject is a new store on trial; partSize is 0 for what the configuration says.
func subject(t *testing.T, c place, partSize int64) storetest.Subject {
	t.Helper()
	var full atomic.Bool
	c.Files = func(root *os.Root) disk.Files { return gauge{disk.SystemFiles(root), &full} }
	s := open(t, c)
	if partSize > 0 {
		s.SetPartSize(partSize)
	}
	ctx := context.WithoutCancel(t.Context())
	return storetest.Subject{
		Store: s,
		Damage: func(t *testing.T, id blobstore.CopyID, offset int64) {
			p, err := s.Get(ctx, id.String())
			must(t, err)
			p[offset] ^= 1
			must(t, s.Put(ctx, id.String(), p))
		},
		Full: func(_ *testing.T, on bool) { full.Store(on) },
		Lose: func(t *testing.T) { must(t, s.Remove(ctx, "marker")) },
	}
}

// open makes a store and opens it.
func open(t *testing.T, c place) *s3.Store {
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

func (g gauge) Usage() (total, free int64, err error) {
	if g.full.Load() {
		return 1000, 10, nil
	}
	return g.Files.Usage()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// noFiles fails the test if the scratch directory holds one.
func noFiles(t *testing.T, c place) {
	t.Helper()
	names, err := os.ReadDir(c.Scratch)
	must(t, err)
	if len(names) > 0 {
		t.Errorf("%s and %d more are left of parts", names[0].Name(), len(names)-1)
	}
}
