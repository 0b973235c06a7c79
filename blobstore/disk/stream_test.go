package disk_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

// rotting is a connection under which the file rots just before each piece goes out.
type rotting struct {
	rot func()
	b   bytes.Buffer
}

func (r *rotting) Write(p []byte) (int, error) {
	r.rot()
	return r.b.Write(p)
}

// ReadFrom is what a connection would make a sendfile of.
func (r *rotting) ReadFrom(from io.Reader) (int64, error) {
	r.rot()
	return r.b.ReadFrom(from)
}

// TestWhatWasCheckedIsWhatIsSent: a file that changes between the check and the wire changes no byte of a
// stream that ends well.
func TestWhatWasCheckedIsWhatIsSent(t *testing.T) {
	t.Parallel()
	c := newStore(t, nil)
	s := open(t, c)
	p := storetest.Bytes(1, 2*blobstore.ChunkSize+100)
	b := storetest.Store(t, s, "u", p)
	r, err := s.Open(t.Context(), b, 10, -1)
	must(t, err)
	at := int64(20)
	w := &rotting{rot: func() {
		flip(t, copyPath(c, b.Locations[0].Copy), at)
		at += blobstore.ChunkSize
	}}
	_, err = r.WriteTo(w)
	must(t, errors.Join(err, r.Close()))
	if !bytes.Equal(w.b.Bytes(), p[10:]) {
		t.Error("other bytes came out")
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
