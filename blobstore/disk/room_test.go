package disk_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
)

// gauge is a disk that says how full it is as a test wants it, or the error that a test wants.
type gauge struct {
	disk.Files
	percent *atomic.Int64 // negative: an error
}

func (g gauge) Usage() (total, free int64, err error) {
	p := g.percent.Load()
	if p < 0 {
		return 0, 0, errors.New("statfs: EIO")
	}
	return 1000, 1000 - 10*p, nil
}

// gauged is a store on a disk that is filled to percent.
func gauged(t *testing.T, percent *atomic.Int64) *disk.Store {
	t.Helper()
	c := disk.Config{Dir: t.TempDir(), Incarnation: blobstore.Incarnation{1}, Files: func(root *os.Root) disk.Files {
		return gauge{disk.SystemFiles(root), percent}
	}}
	if err := disk.Create(c); err != nil {
		t.Fatal(err)
	}
	s, err := disk.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// A full disk takes no bytes, gives and removes what it has, and takes bytes again by itself.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	var percent atomic.Int64
	percent.Store(84)
	s, ctx := gauged(t, &percent), t.Context()
	old, fresh := blobstore.UploadID{1}, blobstore.UploadID{2}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	full := func(err error, say string) {
		t.Helper()
		if !errors.Is(err, blobstore.ErrNoSpace) || !strings.Contains(err.Error(), say) {
			t.Fatalf("%v", err)
		}
	}
	ok(s.CreateUpload(ctx, old, "", 1))
	_, err := s.Append(ctx, old, 0, strings.NewReader("abc"), 1)
	ok(err)

	percent.Store(85)
	full(s.CreateUpload(ctx, fresh, "", 1), "used to 85 %")
	end, err := s.Append(ctx, old, 3, strings.NewReader("def"), 1)
	full(err, "pulls and deletes go on")
	if end != 3 {
		t.Errorf("the upload ends at %d", end)
	}
	d := digest.FromString("abc")
	_, err = s.Finish(ctx, old, d) // its bytes are here
	ok(err)
	made, err := s.Publish(ctx, old)
	ok(err)
	blob := blobstore.Blob{Digest: d, Size: 3, Locations: made}
	r, err := s.Open(ctx, blob, 0, -1)
	ok(err)
	if body, err := io.ReadAll(r); err != nil || string(body) != "abc" {
		t.Errorf("%q, %v", body, err)
	}
	ok(errors.Join(r.Close(), s.RemoveUpload(ctx, old), s.RemoveCopies(ctx, made[0].Copy)))

	percent.Store(84)
	ok(s.CreateUpload(ctx, fresh, "", 1))
	percent.Store(-1)
	if err := s.CreateUpload(ctx, blobstore.UploadID{3}, "", 1); err == nil || errors.Is(err, blobstore.ErrNoSpace) {
		t.Errorf("a disk that does not say: %v", err)
	}
}

// filling fills the disk when so many bytes were read of it.
type filling struct {
	io.Reader
	left    int64
	percent *atomic.Int64
}

func (f *filling) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if f.left -= int64(n); f.left <= 0 {
		f.percent.Store(90)
	}
	return n, err
}

// A disk that fills up while a long layer arrives does not wait for its end.
func TestDiskFillsInTheMiddle(t *testing.T) {
	t.Parallel()
	const syncEvery = 64 << 20
	var percent atomic.Int64
	s, ctx, id := gauged(t, &percent), t.Context(), blobstore.UploadID{1}
	if err := s.CreateUpload(ctx, id, "", 1); err != nil {
		t.Fatal(err)
	}
	body := bytes.NewReader(make([]byte, 3*syncEvery))
	end, err := s.Append(ctx, id, 0, &filling{body, 1000, &percent}, 1)
	if !errors.Is(err, blobstore.ErrNoSpace) || end < syncEvery || end >= 2*syncEvery {
		t.Errorf("ended at %d with %v", end, err)
	}
	percent.Store(10)
	if end, err = s.Append(ctx, id, end, strings.NewReader("on"), 1); err != nil || end%2 != 0 {
		t.Errorf("went on to %d, %v", end, err)
	}
}
