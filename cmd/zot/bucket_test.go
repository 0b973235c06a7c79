package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/storetest"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs/scrub"
)

// bucketWorld is a state without a cluster, and a bucket.
type bucketWorld struct {
	*alone
	t       *testing.T
	config  config.Config
	backend *s3mem.Backend
}

func newBucketWorld(t *testing.T) *bucketWorld {
	t.Helper()
	state, err := fsm.Open(fsm.Config{Dir: t.TempDir(), Incarnation: entry.Incarnation{1}, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	backend := s3mem.New()
	for _, name := range []string{"right", "wrong"} {
		if err := backend.CreateBucket(name); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server())
	t.Cleanup(server.Close)
	w := &bucketWorld{alone: &alone{State: state}, t: t, backend: backend}
	w.config.Storage.RootDirectory = t.TempDir()
	w.config.Storage.Bucket = &config.Bucket{
		Region: "us-east-1", Name: "right", Endpoint: server.URL, PathStyle: true, AccessKey: "a", SecretKey: "s", ChunkSize: 10 << 20,
	}
	return w
}

// do applies a command that must not be refused.
func do[R any](w *bucketWorld, cmd fsm.CommandOf[R]) {
	w.t.Helper()
	if _, err := fsm.Do(w.t.Context(), w.alone, cmd); err != nil {
		w.t.Fatal(err)
	}
}

// form makes a cluster of one node.
func (w *bucketWorld) form() {
	w.t.Helper()
	do(w, fsm.ClusterFormed{Name: "c", ID: []byte{0xab, 0xcd}})
	do(w, fsm.NodeStarted{Node: entry.Node{Incarnation: entry.Incarnation{1}, Name: "zot-0", Address: "zot:7373", Level: 1}})
	do(w, fsm.NodeJoined{Incarnation: entry.Incarnation{1}})
}

// place is what a leader says of where copies go.
func (w *bucketWorld) place(p fsm.Place) {
	w.t.Helper()
	do(w, fsm.SetStore{Name: fsm.DefaultStore, GCDelay: time.Hour, Replicas: 1, WriteAcks: 1, Place: p})
}

// record records a copy of "layer".
func (w *bucketWorld) record(at fsm.Location) {
	w.t.Helper()
	d, err := fsm.Pack(digest.FromString("layer"))
	if err != nil {
		w.t.Fatal(err)
	}
	do(w, fsm.BlobStored{Repository: "a/b", Store: fsm.DefaultStore, Digest: d, Size: 5, Stamp: w.Position().Time, Locations: []fsm.Location{at}})
}

// store is the default store as the configuration has it.
func (w *bucketWorld) store() *store {
	s := w.config.Storage.All()[0]
	return &store{SubPath: s, place: placeOf(s.Store), suspects: scrub.NewSuspects()}
}

// attach makes the store and looks for it, once.
func (w *bucketWorld) attach() (bucketStore, error) {
	w.t.Helper()
	b, err := makeBucketStore(w.t.Context(), w.store(), w.config.Storage.RootDirectory, w.State, hclog.NewNullLogger())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = b.Close() })
	return b, attachBucket(b, healthy{}).Do(w.t.Context())
}

// healthy is a cluster with a quorum.
type healthy struct{}

func (healthy) ReadIndex(ctx context.Context) error { return ctx.Err() }

// A bucket is looked for when the cluster has its id, and is believed to be new only while the state has nothing in it.
func TestAttachBucket(t *testing.T) {
	t.Parallel()
	w := newBucketWorld(t)
	b, err := w.attach()
	if err != nil || b.Attached() {
		t.Fatalf("without a cluster: attached %t, %v", b.Attached(), err)
	}
	if err := b.Check(t.Context()); !errors.Is(err, blobstore.ErrOffline) {
		t.Fatalf("a store that was not looked for: %v", err)
	}
	w.form()
	if b, err = w.attach(); err != nil || b.Attached() {
		t.Fatalf("before the cluster has said where copies go: attached %t, %v", b.Attached(), err)
	}
	w.place(placeOf(w.config.Storage.Store))
	if b, err = w.attach(); err != nil || !b.Attached() {
		t.Fatalf("a new cluster: attached %t, %v", b.Attached(), err)
	}
	made := storetest.Store(t, b, "u", []byte("layer"))
	w.record(fsm.Location{Copy: fsm.CopyID(made.Locations[0].Copy)})
	if b, err = w.attach(); err != nil || !b.Attached() {
		t.Fatalf("after a restart: attached %t, %v", b.Attached(), err)
	}
	if err := errors.Join(w.backend.ForceDeleteBucket("right"), w.backend.CreateBucket("right")); err != nil {
		t.Fatal(err)
	}
	if b, err = w.attach(); !errors.Is(err, blobstore.ErrOffline) || b.Attached() {
		t.Fatalf("another bucket behind the same name: attached %t, %v", b.Attached(), err)
	}
	w.config.Storage.Bucket.Name = "wrong"
	if b, err = w.attach(); !errors.Is(err, errElsewhere) || b.Attached() {
		t.Fatalf("another bucket's name: attached %t, %v", b.Attached(), err)
	}
}

// Nothing is made visible in a bucket that the cluster goes by no more.
func TestPublishWhereTheClusterHasItsCopies(t *testing.T) {
	t.Parallel()
	w := newBucketWorld(t)
	w.form()
	w.place(placeOf(w.config.Storage.Store))
	b, err := w.attach()
	if err != nil {
		t.Fatal(err)
	}
	ctx, id := t.Context(), storetest.ID("u")
	err = b.CreateUpload(ctx, id, "", 1)
	if err == nil {
		_, err = b.Append(ctx, id, 0, strings.NewReader("layer"), 1)
	}
	if err == nil {
		_, err = b.Finish(ctx, id, digest.FromString("layer"))
	}
	if err != nil {
		t.Fatal(err)
	}
	w.place(fsm.Place{Bucket: "another"})
	if at, err := b.Publish(ctx, id); !errors.Is(err, blobstore.ErrOffline) || !errors.Is(err, errNotPlaced) {
		t.Fatalf("published at %v, %v", at, err)
	}
	w.place(placeOf(w.config.Storage.Store))
	if _, err := b.Publish(ctx, id); err != nil {
		t.Fatal(err)
	}
}

// A node whose file has the copies somewhere else than they are does not come up, and says what differs; one that joins
// learns of it from the others, and ends.
func TestRunWithAnotherBucket(t *testing.T) {
	t.Parallel()
	w := newBucketWorld(t)
	ports, secret := freePorts(t, 4), filepath.Join(t.TempDir(), "secret")
	put(t, secret, line("s"))
	roots := []string{shortDir(t), shortDir(t)}
	fileOf := func(n int, driver string) string {
		file := filepath.Join(t.TempDir(), "config.json")
		put(t, file, fmt.Sprintf(`{"storage": {"rootDirectory": %q%s}, "http": {"port": %q}, "cluster": {"node": "zot-%d", "listen": "127.0.0.1:%s",
			"advertise": "127.0.0.1:%s", "members": ["127.0.0.1:%s"], "bootstrapExpect": 1, "secretFile": %q}}`,
			roots[n], driver, ports[n], n, ports[n+2], ports[n+2], ports[2], secret))
		return file
	}
	in := func(name string) string {
		return fmt.Sprintf(`, "storageDriver": {"name": "s3", "region": "us-east-1", "bucket": %q, "regionendpoint": %q, "accesskey": "a", "secretkey": "hunter2"}`,
			name, w.config.Storage.Bucket.Endpoint)
	}
	const disks = ""
	ends := func(n int, driver string) {
		t.Helper()
		c, _, err := config.LoadWithFiles(fileOf(n, driver))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		err = run(ctx, setting{config: c, log: hclog.NewNullLogger()})
		if !errors.Is(err, errElsewhere) || !strings.Contains(err.Error(), `in bucket "right"`) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("node %d with %q: %v", n, driver, err)
		}
	}

	stop := started(t, fileOf(0, in("right")))
	sent(t, http.MethodPost, "http://127.0.0.1:"+ports[0]+"/v2/a/b/blobs/uploads/?digest="+digest.FromString("layer").String(), "layer", http.StatusCreated)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	ends(0, in("wrong"))
	ends(0, disks)
	started(t, fileOf(0, in("right")))
	ends(1, disks)
	ends(1, in("wrong")) // now by what it knows itself
}
