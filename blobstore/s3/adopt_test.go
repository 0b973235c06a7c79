package s3_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

// The copy of another cluster becomes one of this: by itself, whole, and with sums.
func TestAdopt(t *testing.T) {
	t.Parallel()
	endpoint := fake(t)
	first, second := open(t, config(t, endpoint)), open(t, config(t, endpoint))
	for i, n := range []int{0, 1000, 3*blobstore.ChunkSize + 5} {
		b := storetest.Store(t, first, string(rune('a'+i)), storetest.Bytes(i, n))
		object := first.Object(b.Locations[0].Copy)
		if first.Others(object) || !second.Others(object) {
			t.Errorf("whose is %s?", object)
		}
		own, err := second.Adopt(t.Context(), object, b.Digest)
		must(t, err)
		if own.Size != int64(n) || own.Digest != b.Digest || own.Locations[0] == b.Locations[0] {
			t.Errorf("adopted is %+v of %+v", own, b)
		}
		must(t, first.RemoveCopies(t.Context(), b.Locations[0].Copy))
		bytesAre(t, second, own, storetest.Bytes(i, n))
		must(t, second.Verify(t.Context(), own, nil))
	}
	nothingElse(t, first, 0)
	nothingElse(t, second, 3)
}

// What is not what it is said to be is not adopted, and leaves nothing; what is not another cluster's is not read.
func TestAdoptNothing(t *testing.T) {
	t.Parallel()
	p := newProxy(t, fake(t))
	first, second := open(t, config(t, p.url)), open(t, config(t, p.url))
	b := storetest.Store(t, first, "a", storetest.Bytes(1, 3*blobstore.ChunkSize))
	right := first.Object(b.Locations[0].Copy)
	must(t, second.Put(t.Context(), "marker2", []byte("x")))
	for name, test := range map[string]struct {
		object string
		digest digest.Digest
		want   error
	}{
		"other bytes":      {right, digest.FromString("else"), blobstore.ErrDigestMismatch},
		"no bytes":         {first.Object(blobstore.NewCopyID()), b.Digest, blobstore.ErrCopyUnknown},
		"its own":          {second.Object(blobstore.NewCopyID()), b.Digest, blobstore.ErrCopyUnknown},
		"the marker":       {strings.TrimSuffix(right, b.Locations[0].Copy.String()) + "marker", b.Digest, blobstore.ErrCopyUnknown},
		"another bucket":   {strings.Replace(right, "s3://blobs/", "s3://other/", 1), b.Digest, blobstore.ErrCopyUnknown},
		"no cluster":       {"s3://blobs/library/app-1/" + b.Locations[0].Copy.String(), b.Digest, blobstore.ErrCopyUnknown},
		"no address":       {"/zot/a/blobs/sha256/b", b.Digest, blobstore.ErrCopyUnknown},
		"no digest":        {right, "sha256:x", blobstore.ErrDigestUnsupported},
		"another's marker": {strings.Replace(right, "some/where", "some/where/..", 1) + ".sums", b.Digest, blobstore.ErrCopyUnknown},
	} {
		if strings.HasPrefix(name, "no ") && name != "no bytes" && name != "no digest" && second.Others(test.object) {
			t.Errorf("%s: %s is taken for another cluster's", name, test.object)
		}
		if _, err := second.Adopt(t.Context(), test.object, test.digest); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	// A copy that cannot be read is nobody's fault: least of all that of whose it was.
	p.set(only(func(r *http.Request) bool {
		return r.Method == http.MethodGet && !strings.HasSuffix(r.URL.Path, "marker")
	}, resets))
	if _, err := second.Adopt(t.Context(), right, b.Digest); !errors.Is(err, blobstore.ErrUnreachable) || errors.Is(err, blobstore.ErrCopyUnknown) {
		t.Errorf("a copy that cannot be read: %v", err)
	}
	p.set(nil)
	must(t, second.Remove(t.Context(), "marker2"))
	nothingElse(t, second, 0)
	must(t, second.Remove(t.Context(), "marker"))
	if _, err := second.Adopt(t.Context(), right, b.Digest); !errors.Is(err, blobstore.ErrOffline) {
		t.Errorf("a store that is offline: %v", err)
	}
}

// A bucket that fails now and then is not noticed here, either; one that lies about the copy is.
func TestAdoptFromAFaultyBucket(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault fault
		fails bool
	}{
		"503":              {sometimes(3, status(http.StatusServiceUnavailable, "SlowDown")), false},
		"answers are lost": {sometimes(3, deaf), false},
		"breaks off":       {sometimes(3, cut), false},
		"says that it has copied": {only(makes, func(w http.ResponseWriter, _ *http.Request, _ passes) bool {
			_, _ = w.Write([]byte("<CopyObjectResult><ETag>x</ETag></CopyObjectResult>"))
			return true
		}), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			endpoint := fake(t)
			p := newProxy(t, endpoint)
			first, second := open(t, config(t, endpoint)), open(t, config(t, p.url))
			b := storetest.Store(t, first, "a", storetest.Bytes(1, 3*blobstore.ChunkSize+1))
			p.set(test.fault)
			own, err := second.Adopt(t.Context(), first.Object(b.Locations[0].Copy), b.Digest)
			p.set(nil)
			if test.fails != (err != nil) {
				t.Fatal(err)
			}
			if err == nil {
				bytesAre(t, second, own, storetest.Bytes(1, 3*blobstore.ChunkSize+1))
			} else if errors.Is(err, blobstore.ErrCopyUnknown) || !errors.Is(err, blobstore.ErrUnreachable) {
				t.Errorf("it is not the bucket that is to blame: %v", err)
			}
		})
	}
}
