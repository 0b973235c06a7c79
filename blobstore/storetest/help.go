package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

// Sizes on both sides of what a store does differently.
const (
	chunk  = blobstore.ChunkSize
	little = 1000
	much   = 3*chunk + 12345
	large  = 5*chunk + 4711 // an upload that survives a restart
)

// Bytes returns n bytes that look random and are the same for the same seed.
func Bytes(seed, n int) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], uint64(seed)) //nolint:gosec // any bits will do
	p := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(p) // never fails
	return p
}

// chance draws what a seed brings back.
func chance(seed int) *rand.Rand {
	return rand.New(rand.NewPCG(uint64(seed), 1)) //nolint:gosec // nothing here is secret, and any bits will do
}

// ID returns an upload id for a name.
func ID(name string) blobstore.UploadID {
	sum := sha256.Sum256([]byte(name))
	return blobstore.UploadID(sum[:16])
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// is fails the test unless err is want.
func is(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

func equal[T comparable](t testing.TB, what string, have, want T) {
	t.Helper()
	if have != want {
		t.Fatalf("%s: %v, want %v", what, have, want)
	}
}

func create(t testing.TB, s blobstore.Store, id blobstore.UploadID) {
	t.Helper()
	ok(t, s.CreateUpload(t.Context(), id, "", 1))
}

// add appends at the end, and fails the test unless all is taken.
func add(t testing.TB, s blobstore.Store, id blobstore.UploadID, p []byte) {
	t.Helper()
	before, err := s.Upload(t.Context(), id)
	ok(t, err)
	end, err := s.Append(t.Context(), id, before.Offset, bytes.NewReader(p), 1)
	ok(t, err)
	equal(t, "offset", end, before.Offset+int64(len(p)))
}

func finish(t testing.TB, s blobstore.Store, id blobstore.UploadID, p []byte) {
	t.Helper()
	n, err := s.Finish(t.Context(), id, digest.FromBytes(p))
	ok(t, err)
	equal(t, "size", n, int64(len(p)))
}

func publish(t testing.TB, s blobstore.Store, id blobstore.UploadID) []blobstore.Location {
	t.Helper()
	at, err := s.Publish(t.Context(), id)
	ok(t, err)
	if len(at) == 0 {
		t.Fatal("published nowhere")
	}
	return at
}

// uploaded is an upload that has some bytes and waits for Finish.
func uploaded(t testing.TB, s blobstore.Store, name string, p []byte) blobstore.UploadID {
	t.Helper()
	create(t, s, ID(name))
	add(t, s, ID(name), p)
	return ID(name)
}

// Store puts a blob into a store, all the way; the upload is removed.
func Store(t testing.TB, s blobstore.Store, name string, p []byte) blobstore.Blob {
	t.Helper()
	id := uploaded(t, s, name, p)
	finish(t, s, id, p)
	b := blob(p, publish(t, s, id))
	ok(t, s.RemoveUpload(t.Context(), id))
	return b
}

func blob(p []byte, at []blobstore.Location) blobstore.Blob {
	return blobstore.Blob{Digest: digest.FromBytes(p), Size: int64(len(p)), Locations: at}
}

// own returns the copy of a blob that the store itself has made.
func own(t testing.TB, s blobstore.Store, b blobstore.Blob) blobstore.CopyID {
	t.Helper()
	for _, l := range b.Locations {
		if l.Incarnation == s.Incarnation() {
			return l.Copy
		}
	}
	t.Fatalf("no location of %v is the store's own", b.Locations)
	return blobstore.CopyID{}
}

// read returns what a store gives of a blob, and the error that ended it.
func read(ctx context.Context, s blobstore.Store, b blobstore.Blob, offset, length int64) ([]byte, error) {
	r, err := s.Open(ctx, b, offset, length)
	if err != nil {
		return nil, err
	}
	p, err := io.ReadAll(r)
	return p, errors.Join(err, r.Close())
}

// whole fails the test unless a blob reads as p.
func whole(t testing.TB, s blobstore.Store, b blobstore.Blob, p []byte) {
	t.Helper()
	have, err := read(t.Context(), s, b, 0, -1)
	ok(t, err)
	if !bytes.Equal(have, p) {
		t.Fatalf("read %d bytes that are not the %d that were stored", len(have), len(p))
	}
}

// listed returns the ids of the store's own copies.
func listed(t testing.TB, s blobstore.Store, after blobstore.CopyID) []blobstore.CopyID {
	t.Helper()
	var ids []blobstore.CopyID
	for id, err := range s.Copies(t.Context(), after) {
		ok(t, err)
		ids = append(ids, id)
	}
	return ids
}

// gate is a reader that says when it is read from, and waits there until it may go on.
type gate struct {
	entered, open chan struct{}
	first         []byte
	err           error
}

func newGate(first []byte, err error) *gate {
	return &gate{entered: make(chan struct{}), open: make(chan struct{}), first: first, err: err}
}

// Read gives the first bytes, then waits at the gate.
func (g *gate) Read(p []byte) (int, error) {
	if n := copy(p, g.first); n > 0 {
		g.first = g.first[n:]
		return n, nil
	}
	close(g.entered)
	<-g.open
	return 0, g.err
}
