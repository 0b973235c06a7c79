package disk_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"testing"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

// kernel takes what package net would give to sendfile, and fails the test for all else.
type kernel struct {
	t      *testing.T
	pieces []int64
	b      bytes.Buffer
}

func (k *kernel) Write([]byte) (int, error) {
	k.t.Error("bytes came from memory")
	return 0, io.ErrClosedPipe
}

func (k *kernel) ReadFrom(r io.Reader) (int64, error) {
	l, ok := r.(*io.LimitedReader)
	if !ok {
		k.t.Fatalf("%T is no piece of a file", r)
	}
	if _, ok := l.R.(*os.File); !ok {
		k.t.Fatalf("%T is no file", l.R)
	}
	k.pieces = append(k.pieces, l.N)
	return k.b.ReadFrom(r)
}

// TestStreamsGiveTheFileToTheKernel: what is more than a chunk goes to a connection piece by piece, each
// after its chunk was checked; net/http and net make a sendfile of that.
func TestStreamsGiveTheFileToTheKernel(t *testing.T) {
	t.Parallel()
	s := open(t, newStore(t, nil))
	p := storetest.Bytes(1, 2*blobstore.ChunkSize+100)
	b := storetest.Store(t, s, "u", p)
	r, err := s.Open(t.Context(), b, 10, -1)
	must(t, err)
	k := &kernel{t: t}
	_, err = r.WriteTo(k)
	must(t, err)
	must(t, r.Close())
	if !bytes.Equal(k.b.Bytes(), p[10:]) {
		t.Error("other bytes came out")
	}
	if len(k.pieces) != 3 || k.pieces[0] != blobstore.ChunkSize-10 || k.pieces[2] != 100 {
		t.Errorf("pieces of %d bytes", k.pieces)
	}
}

// serve answers every GET with the blob, as a handler would.
func serve(t testing.TB, s blobstore.Store, b blobstore.Blob) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stream, err := s.Open(r.Context(), b, 0, -1)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer func() { _ = stream.Close() }() // the answer shows what went wrong
		w.Header().Set("Content-Length", strconv.FormatInt(b.Size, 10))
		w.Header().Set("Content-Type", "application/octet-stream")
		if _, err := stream.WriteTo(w); err != nil {
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// TestDamageBreaksTheAnswerOff: a client never gets a complete answer with a wrong byte in it.
func TestDamageBreaksTheAnswerOff(t *testing.T) {
	t.Parallel()
	c := newStore(t, nil)
	s := open(t, c)
	p := storetest.Bytes(1, 4*blobstore.ChunkSize)
	b := storetest.Store(t, s, "u", p)
	server := serve(t, s, b)
	if have, err := fetch(t, server.URL); err != nil || !bytes.Equal(have, p) {
		t.Fatalf("a whole copy came as %d bytes, %v", len(have), err)
	}
	flip(t, copyPath(c, b.Locations[0].Copy), 2*blobstore.ChunkSize)
	have, err := fetch(t, server.URL)
	if err == nil || len(have) > 2*blobstore.ChunkSize || !bytes.HasPrefix(p, have) {
		t.Errorf("%d bytes of a damaged copy came, and the error %v", len(have), err)
	}
}

func fetch(t testing.TB, url string) ([]byte, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	must(t, err)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { must(t, resp.Body.Close()) }()
	return io.ReadAll(resp.Body)
}
