package disk_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

func uploadPath(c disk.Config, id blobstore.UploadID) string {
	return filepath.Join(c.Dir, "uploads", id.String())
}

// TestEachPublishRestsOnAReadingOfItsOwn: what rotted between two PUTs of one upload is not acknowledged again
// (GC R10).
func TestEachPublishRestsOnAReadingOfItsOwn(t *testing.T) {
	t.Parallel()
	c := newStore(t, nil)
	s := open(t, c)
	p := storetest.Bytes(1, 3*blobstore.ChunkSize)
	_, err := push(t, s, p, 0)
	must(t, err)
	flip(t, uploadPath(c, storetest.ID("u")), blobstore.ChunkSize+1)
	_, err = s.Finish(t.Context(), storetest.ID("u"), digest.FromBytes(p))
	if !errors.Is(err, blobstore.ErrUploadBroken) {
		t.Errorf("finished again: %v", err)
	}
	if _, err := s.Upload(t.Context(), storetest.ID("u")); !errors.Is(err, blobstore.ErrUploadUnknown) {
		t.Errorf("the upload goes on: %v", err)
	}
}

// TestResumeStopsAtRot: an upload goes on before the first chunk that is not what had arrived.
func TestResumeStopsAtRot(t *testing.T) {
	t.Parallel()
	c := newStore(t, nil)
	first := open(t, c)
	id, p := storetest.ID("u"), storetest.Bytes(1, 6*blobstore.ChunkSize)
	had := int64(5*blobstore.ChunkSize + 100)
	must(t, first.CreateUpload(t.Context(), id, "", 1))
	_, err := first.Append(t.Context(), id, 0, bytes.NewReader(p[:had]), 1)
	must(t, err)
	flip(t, uploadPath(c, id), 2*blobstore.ChunkSize+7)
	must(t, os.Chmod(uploadPath(c, id), 0o600))
	s := open(t, c)
	end, err := s.Append(t.Context(), id, had, bytes.NewReader(p[had:]), 1)
	if at := new(blobstore.OffsetError); !errors.As(err, &at) || at.Offset != 2*blobstore.ChunkSize || end != at.Offset {
		t.Fatalf("the upload is at %d, %v", end, err)
	}
	_, err = s.Append(t.Context(), id, end, bytes.NewReader(p[end:]), 1)
	must(t, err)
	_, err = s.Finish(t.Context(), id, digest.FromBytes(p))
	must(t, err)
}

// TestCopyThatGrew: a copy with more bytes than were published is not whole.
func TestCopyThatGrew(t *testing.T) {
	t.Parallel()
	for _, n := range []int{100, 3 * blobstore.ChunkSize} {
		c := newStore(t, nil)
		s := open(t, c)
		p := storetest.Bytes(1, n)
		b := storetest.Store(t, s, "u", p)
		path := copyPath(c, b.Locations[0].Copy)
		must(t, os.Chmod(path, 0o600))
		must(t, os.WriteFile(path, append(p, 'x'), 0o600))
		if err := s.Verify(t.Context(), b, nil); !errors.Is(err, blobstore.ErrCopyDamaged) {
			t.Errorf("verify: %v", err)
		}
		if _, err := s.Open(t.Context(), b, 0, -1); !errors.Is(err, blobstore.ErrCopyDamaged) {
			t.Errorf("open: %v", err)
		}
	}
}

// TestBadCopiesAreSuspected: whoever comes upon a bad copy has it looked after. One that an unmounted disk does
// not show, or that never was here, is none.
func TestBadCopiesAreSuspected(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		size  int
		spoil func(t *testing.T, c disk.Config, path string)
		read  func(t *testing.T, s *disk.Store, b blobstore.Blob) error
		want  int
	}{
		"whole":                    {3 * blobstore.ChunkSize, func(*testing.T, disk.Config, string) {}, readAll, 0},
		"a chunk":                  {3 * blobstore.ChunkSize, func(t *testing.T, _ disk.Config, path string) { flip(t, path, blobstore.ChunkSize+1) }, readAll, 1},
		"a small one":              {10, func(t *testing.T, _ disk.Config, path string) { flip(t, path, 1) }, readAll, 1},
		"cut short":                {10, func(t *testing.T, _ disk.Config, path string) { must(t, os.Truncate(path, 9)) }, readAll, 1},
		"gone":                     {10, func(t *testing.T, _ disk.Config, path string) { must(t, os.Remove(path)) }, readAll, 1},
		"sums":                     {3 * blobstore.ChunkSize, func(t *testing.T, _ disk.Config, path string) { must(t, os.Remove(path+".sums")) }, readAll, 1},
		"found while it is hashed": {3 * blobstore.ChunkSize, func(t *testing.T, _ disk.Config, path string) { flip(t, path, 1) }, verify, 1},
		"gone with the marker": {10, func(t *testing.T, c disk.Config, path string) {
			must(t, errors.Join(os.Remove(path), os.Remove(disk.MarkerPath(c.Dir))))
		}, readAll, 0},
		"elsewhere": {10, func(*testing.T, disk.Config, string) {}, func(t *testing.T, s *disk.Store, b blobstore.Blob) error {
			b.Locations = []blobstore.Location{{Incarnation: blobstore.Incarnation{9}, Copy: b.Locations[0].Copy}}
			return readAll(t, s, b)
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var suspects []blobstore.CopyID
			c := newStore(t, nil)
			c.Suspect = func(id blobstore.CopyID) { suspects = append(suspects, id) }
			s := open(t, c)
			b := storetest.Store(t, s, "u", storetest.Bytes(1, test.size))
			path := copyPath(c, b.Locations[0].Copy)
			must(t, os.Chmod(path, 0o600))
			test.spoil(t, c, path)
			if err := test.read(t, s, b); (err == nil) != (name == "whole") {
				t.Errorf("read: %v", err)
			}
			if len(suspects) != test.want || test.want > 0 && suspects[0] != b.Locations[0].Copy {
				t.Errorf("suspects are %v", suspects)
			}
		})
	}
}

func readAll(t *testing.T, s *disk.Store, b blobstore.Blob) error {
	t.Helper()
	r, err := s.Open(t.Context(), b, 0, -1)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}

func verify(t *testing.T, s *disk.Store, b blobstore.Blob) error {
	t.Helper()
	return s.Verify(t.Context(), b, nil)
}
