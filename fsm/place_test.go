package fsm_test

import (
	"testing"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

// storeIn is a store in a place, with the numbers of a bucket's.
func storeIn(p fsm.Place) fsm.SetStore {
	return fsm.SetStore{Name: "default", GCDelay: time.Hour, Replicas: 1, WriteAcks: 1, Place: p}
}

func TestPlaceIsFixedByCopies(t *testing.T) {
	disks, bucket := fsm.Place{}, fsm.Place{Bucket: "images", Endpoint: "minio:9000", Root: "zot"}
	others := []fsm.Place{
		{Bucket: "others", Endpoint: "minio:9000", Root: "zot"},
		{Bucket: "images", Root: "zot"},
		{Bucket: "images", Endpoint: "minio:9000"},
	}
	for _, test := range []struct {
		name   string
		place  fsm.Place
		node   byte
		others []fsm.Place
	}{
		{"a bucket", bucket, 0, append(others, disks)},
		{"disks", disks, 1, append(others, bucket)},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newCluster(t, 1)
			for _, other := range test.others { // an empty store may go anywhere
				do(r, storeIn(other))
			}
			do(r, storeIn(test.place))
			r.wait(time.Second)
			do(r, r.upload("a", "x", loc(test.node, 1)))
			stays := func(when string) {
				t.Helper()
				for _, other := range test.others {
					refused(r, fsm.ErrStoreElsewhere, storeIn(other))
				}
				c := storeIn(test.place)
				c.GCDelay = 2 * time.Hour
				do(r, c)
				r.view(func(v fsm.View) {
					if s, _ := v.Store("default"); s.Place != test.place || !v.HasCopies("default") || v.HasCopies("defaul") {
						t.Errorf("%s: the copies are %s, %t", when, s.Place, v.HasCopies("default"))
					}
				})
			}
			stays("a copy")
			r.wait(5 * time.Hour)
			do(r, fsm.CollectBlobs{Store: "default", Links: []fsm.LinkName{{Repository: "a", Digest: dig("x")}}})
			stays("a doomed copy")
			do(r, fsm.CopyRemoved{Incarnation: loc(test.node, 1).Incarnation, Store: "default", Copies: []fsm.CopyID{loc(test.node, 1).Copy}})
			do(r, storeIn(test.others[0]))
			r.view(func(v fsm.View) {
				if v.HasCopies("default") {
					t.Error("a copy that is gone is one")
				}
			})
			r.sound()
		})
	}
}

// Only a copy that is where those of the store are is recorded, and only if it was put there when they were to be
// there: of two buckets, nobody could tell from a location which it means.
func TestCopiesElsewhereAreNotRecorded(t *testing.T) {
	bucket := fsm.Place{Bucket: "images"}
	r := newCluster(t, 2)
	do(r, storeIn(fsm.Place{}))
	refused(r, fsm.ErrTooFewCopies, r.upload("a", "x", loc(0, 1)))
	do(r, r.upload("a", "x", loc(0, 1), loc(1, 1)))
	r.expectCopies("x", loc(1, 1))
	refused(r, fsm.ErrStoreElsewhere, fsm.AddCopy{Store: "default", Digest: dig("x"), Location: loc(0, 2), Stamp: r.time})

	r = newCluster(t, 2)
	do(r, storeIn(bucket))
	refused(r, fsm.ErrTooFewCopies, r.upload("a", "x", loc(1, 1), loc(2, 1)))
	do(r, r.upload("a", "x", loc(1, 1), loc(0, 1)))
	r.expectCopies("x", loc(0, 1))
	instead := loc(0, 1)
	refused(r, fsm.ErrStoreElsewhere, fsm.AddCopy{Store: "default", Digest: dig("x"), Location: loc(1, 2), Stamp: r.time, Instead: &instead})
	r.expectCopies("x", loc(0, 1))

	r = newCluster(t, 2)
	do(r, storeIn(bucket))
	r.wait(time.Minute)
	old := r.upload("a", "x", loc(0, 1)) // is in the first bucket
	r.wait(time.Minute)
	do(r, storeIn(fsm.Place{Bucket: "second"}))
	atOnce := r.upload("a", "x", loc(0, 2))
	refused(r, fsm.ErrTooFewCopies, old)
	refused(r, fsm.ErrTooFewCopies, atOnce)
	r.wait(time.Second)
	do(r, r.upload("a", "x", loc(0, 3)))
	r.expectCopies("x", loc(0, 3))
	r.view(func(v fsm.View) {
		if held := v.BlobsOn("default", loc(0, 3).Incarnation, "", 10); len(held) != 1 || held[0] != dig("x") {
			t.Errorf("blobs in the bucket are %v", held)
		}
		if held := v.BlobsOn("default", loc(0, 3).Incarnation, dig("x"), 10); len(held) != 0 {
			t.Errorf("behind the last are %v", held)
		}
	})
	r.sound()
}

func TestPlaceIsNamed(t *testing.T) {
	for want, p := range map[string]fsm.Place{
		"on the disks of the nodes":                    {},
		`in bucket "images"`:                           {Bucket: "images"},
		`in bucket "images" below "a/b" at minio:9000`: {Bucket: "images", Root: "a/b", Endpoint: "minio:9000"},
	} {
		if have := p.String(); have != want {
			t.Errorf("%+v is %s, want %s", p, have, want)
		}
	}
}
