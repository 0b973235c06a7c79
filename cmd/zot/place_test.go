package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
)

// What may be said in several ways is the same place.
func TestPlaceOf(t *testing.T) {
	t.Parallel()
	if p := placeOf(config.Store{}); p.IsBucket() {
		t.Errorf("without a bucket: %s", p)
	}
	minio := fsm.Place{Bucket: "images", Endpoint: "minio:9000", Root: "a/b"}
	for _, b := range []config.Bucket{
		{Name: "images", Endpoint: "minio:9000", Root: "a/b", AccessKey: "key", SecretKey: "secret", SessionToken: "token"},
		{Name: "images", Endpoint: "http://MinIO:9000/", Root: "/a/b/", Region: "us-east-1", Secure: true, PathStyle: true},
	} {
		if p := placeOf(config.Store{Bucket: &b}); p != minio {
			t.Errorf("%+v is %+v", b, p)
		}
	}
	for _, b := range []config.Bucket{
		{Name: "others", Endpoint: "minio:9000", Root: "a/b"}, {Name: "images", Endpoint: "minio:9001", Root: "a/b"}, {Name: "images", Endpoint: "minio:9000"},
	} {
		if p := placeOf(config.Store{Bucket: &b}); p == minio || !p.IsBucket() {
			t.Errorf("%+v is %+v", b, p)
		}
	}
}

// A node serves only if its configuration has the copies where the state has them, and ends when it learns that it
// does not.
func TestPlaces(t *testing.T) {
	t.Parallel()
	disks, right, wrong := fsm.Place{}, fsm.Place{Bucket: "right"}, fsm.Place{Bucket: "wrong"}
	for _, test := range []struct {
		is       fsm.Place
		at       fsm.Location
		elsewise []fsm.Place
	}{
		{disks, fsm.Location{Incarnation: entry.Incarnation{1}, Copy: fsm.CopyID{1}}, []fsm.Place{right}},
		{right, fsm.Location{Copy: fsm.CopyID{1}}, []fsm.Place{disks, wrong}},
	} {
		w := newBucketWorld(t)
		w.form()
		w.place(test.is)
		says := func(p fsm.Place) error {
			return self{w.State, entry.Incarnation{1}, places{fsm.DefaultStore: p}}.Placed()
		}
		for _, other := range test.elsewise {
			if err := says(other); !errors.Is(err, errNotPlaced) || errors.Is(err, errElsewhere) {
				t.Errorf("no copies %s, configured %s: %v", test.is, other, err)
			}
		}
		ended := make(chan error, len(test.elsewise))
		for _, other := range test.elsewise {
			go func() {
				ended <- watchPlaces(t.Context(), w.State, places{fsm.DefaultStore: other}, hclog.NewNullLogger())
			}()
		}
		w.record(test.at)
		if err := says(test.is); err != nil {
			t.Errorf("copies %s, and configured so: %v", test.is, err)
		}
		for _, other := range test.elsewise {
			err := says(other)
			if !errors.Is(err, errElsewhere) || !strings.Contains(err.Error(), test.is.String()) || !strings.Contains(err.Error(), other.String()) ||
				!strings.Contains(err.Error(), "storage.storageDriver") {
				t.Errorf("copies %s, configured %s: %v", test.is, other, err)
			}
			if err := <-ended; !errors.Is(err, errElsewhere) {
				t.Errorf("copies %s, configured otherwise: the node ends with %v", test.is, err)
			}
		}
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if err := watchPlaces(over, w.State, places{fsm.DefaultStore: test.is}, hclog.NewNullLogger()); err != nil {
			t.Errorf("a node that ends: %v", err)
		}
	}
}

// Where copies go is the leader's to say, like numbers; who differs is warned.
func TestSetPlace(t *testing.T) {
	t.Parallel()
	w := newBucketWorld(t)
	w.form()
	var log strings.Builder
	logger := hclog.New(&hclog.LoggerOptions{Output: &log})
	w.config.Storage.GCDelay, w.config.Cluster.Replicas, w.config.Cluster.WriteAcks = time.Hour, 1, 1
	if err := setStores(w.State, storesOf(w.config), w.alone, logger).Do(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := (self{w.State, entry.Incarnation{1}, placesOf(w.config)}).Placed(); err != nil {
		t.Error(err)
	}
	w.record(fsm.Location{Copy: fsm.CopyID{1}})
	other := w.config
	other.Storage.Bucket = nil
	compare := compareStores(w.State, storesOf(other), func() bool { return false }, logger)
	for range 2 { // it is said when it lasts
		if err := compare.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(log.String(), "on the disks of the nodes") || !strings.Contains(log.String(), "right") {
		t.Errorf("the log has\n%s", &log)
	}
	if err := setStores(w.State, storesOf(other), w.alone, logger).Do(t.Context()); !errors.Is(err, fsm.ErrStoreElsewhere) {
		t.Errorf("a leader has moved copies: %v", err)
	}
}
