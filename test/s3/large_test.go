package s3_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/s3"
	"github.com/seed-16d79997/zot/blobstore/storetest"
	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// An upload of several parts: sent in pieces, finished with an algorithm that was not announced, published three times.
func TestParts(t *testing.T) {
	c := config(t, harness.StartBucket(t))
	c.PartSize = s3.MinPartSize
	s := open(t, c)
	if !s.Conditional() {
		t.Error("the bucket has conditional writes, and they were not found")
	}
	p := storetest.Bytes(1, 3*s3.MinPartSize+blobstore.ChunkSize+17)
	id := storetest.ID("u")
	must(t, s.CreateUpload(t.Context(), id, "", 1))
	for at := 0; at < len(p); {
		n := min(len(p)-at, 4<<20+at%1000)
		end, err := s.Append(t.Context(), id, int64(at), bytes.NewReader(p[at:at+n]), 1)
		must(t, err)
		at = int(end)
	}
	_, err := s.Finish(t.Context(), id, digest.SHA512.FromString("else"))
	if !errors.Is(err, blobstore.ErrDigestMismatch) {
		t.Fatalf("bytes that do not match: %v", err)
	}
	seen := map[blobstore.CopyID]bool{}
	for _, a := range []digest.Algorithm{digest.SHA512, digest.SHA256, digest.SHA256} {
		d := a.FromBytes(p)
		size, err := s.Finish(t.Context(), id, d)
		must(t, err)
		at, err := s.Publish(t.Context(), id)
		must(t, err)
		if seen[at[0].Copy] {
			t.Fatal("a copy id was used twice")
		}
		seen[at[0].Copy] = true
		b := blobstore.Blob{Digest: d, Size: size, Locations: at}
		must(t, s.Verify(t.Context(), b, nil))
		for _, r := range [][2]int64{{0, -1}, {1, 5}, {s3.MinPartSize - 1, 2}, {size - 1, 1}, {size, 0}, {blobstore.ChunkSize, -1}} {
			end, err := b.End(r[0], r[1])
			must(t, err)
			if have := read(t, s, b, r[0], r[1]); !bytes.Equal(have, p[r[0]:end]) {
				t.Fatalf("bytes %d to %d are wrong", r[0], end)
			}
		}
	}
	must(t, s.RemoveUpload(t.Context(), id))
	var copies []blobstore.CopyID
	for id, err := range s.Copies(t.Context(), blobstore.CopyID{}) {
		must(t, err)
		if copies = append(copies, id); !seen[id] {
			t.Errorf("copy %s is left of an upload", id)
		}
	}
	if len(copies) != len(seen) || !slices.IsSortedFunc(copies, func(a, b blobstore.CopyID) int { return bytes.Compare(a[:], b[:]) }) {
		t.Errorf("copies are %v, not the %d published in their order", copies, len(seen))
	}
	for up, err := range s.Uploads(t.Context(), blobstore.UploadID{}) {
		t.Errorf("an upload is left: %+v, %v", up, err)
	}
}

// What a process leaves of an upload when it dies, another one lists and aborts; it aborts none that gets on.
func TestOrphans(t *testing.T) {
	c := config(t, harness.StartBucket(t))
	c.PartSize = s3.MinPartSize
	dying, living := open(t, c), open(t, other(t, c))
	must(t, dying.CreateUpload(t.Context(), storetest.ID("u"), "", 7))
	add := func() {
		t.Helper()
		_, err := dying.Append(t.Context(), storetest.ID("u"), -1, bytes.NewReader(storetest.Bytes(1, s3.MinPartSize)), 7)
		must(t, err)
	}
	add()
	first := uploads(t, living)
	if len(first) != 1 || first[0].Active != 0 {
		t.Fatalf("uploads of another process are %+v", first)
	}
	add()
	must(t, living.RemoveUpload(t.Context(), first[0].ID))
	second := uploads(t, living)
	if len(second) != 1 || second[0].ID == first[0].ID {
		t.Fatalf("an upload that got on is %+v, and was %+v", second, first)
	}
	must(t, living.RemoveUpload(t.Context(), second[0].ID))
	if left := uploads(t, living); len(left) > 0 {
		t.Fatalf("%+v is left", left)
	}
	// Should its process live after all, the client is told to begin again.
	_, err := dying.Append(t.Context(), storetest.ID("u"), -1, bytes.NewReader(storetest.Bytes(1, s3.MinPartSize)), 7)
	if !errors.Is(err, blobstore.ErrUploadBroken) {
		t.Fatalf("an upload that was aborted goes on: %v", err)
	}
	if _, err := dying.Upload(t.Context(), storetest.ID("u")); !errors.Is(err, blobstore.ErrUploadUnknown) {
		t.Fatalf("an upload that was aborted: %v", err)
	}
}

// other is the same store for another process.
func other(t testing.TB, c place) place {
	t.Helper()
	c.Scratch = t.TempDir()
	return c
}

func uploads(t testing.TB, s *s3.Store) (all []blobstore.Upload) {
	t.Helper()
	for u, err := range s.Uploads(t.Context(), blobstore.UploadID{}) {
		must(t, err)
		all = append(all, u)
	}
	return all
}

func read(t testing.TB, s *s3.Store, b blobstore.Blob, offset, length int64) []byte {
	t.Helper()
	r, err := s.Open(t.Context(), b, offset, length)
	must(t, err)
	p, err := io.ReadAll(r)
	must(t, errors.Join(err, r.Close()))
	return p
}

// What is too large to be copied by one request is copied by parts.
func TestAdoptInParts(t *testing.T) {
	bucket := harness.StartBucket(t)
	inParts := config(t, bucket)
	inParts.MaxCopied, inParts.CopiedPart = 1<<20, 5<<20
	first, second := open(t, config(t, bucket)), open(t, inParts)
	p := storetest.Bytes(1, 12<<20)
	b := storetest.Store(t, first, "a", p)
	own, err := second.Adopt(t.Context(), first.Object(b.Locations[0].Copy), b.Digest)
	must(t, err)
	must(t, first.RemoveCopies(t.Context(), b.Locations[0].Copy))
	if have := read(t, second, own, 0, -1); !bytes.Equal(have, p) {
		t.Errorf("%d bytes were adopted", len(have))
	}
	for up, err := range second.Uploads(t.Context(), blobstore.UploadID{}) {
		t.Errorf("an upload is left: %+v, %v", up, err)
	}
}
