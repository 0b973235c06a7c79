package api_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/memory"
)

// protocols are what clients speak over TLS.
func protocols() map[string]bool { return map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} }

// encrypt runs a registry of a world, over a store, behind TLS until the test ends.
func encrypt(t *testing.T, w *world, store blobstore.Store, two bool, change func(*api.Config)) *httptest.Server {
	t.Helper()
	c := api.DefaultConfig()
	c.UploadKeys, c.Idle = [][]byte{[]byte("a key of tests, long enough")}, idle
	if change != nil {
		change(&c)
	}
	g, err := api.New(c, api.Deps{Proposer: w.proposer, Consistency: w.consistency, State: w.state, Stores: only(store, nil)})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(g)
	server.EnableHTTP2 = two
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// lazy is a store whose disk stalls for longer than a client may, after the first piece.
type lazy struct {
	*memory.Store
	closed chan struct{} // is told when a stream is over
}

const stalls = patience * 3 / 2

// patience is what a client is given of whom the test expects that it keeps up, over a network.
const patience = 2 * time.Second

func (s lazy) Append(ctx context.Context, id blobstore.UploadID, offset int64, r io.Reader, at blobstore.Time) (int64, error) {
	return s.Store.Append(ctx, id, offset, &stalling{Reader: r, ctx: ctx}, at)
}

// stalling is a reader that thinks after the first piece.
type stalling struct {
	ctx context.Context //nolint:containedctx // of the one call that it is made for
	io.Reader
	stalled bool
}

func (s *stalling) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if !s.stalled {
		s.stalled = true
		if werr := think(s.ctx, stalls); werr != nil {
			return n, werr
		}
	}
	return n, err
}

func (s lazy) Open(ctx context.Context, b blobstore.Blob, offset, length int64) (blobstore.Reader, error) {
	r, err := s.Store.Open(ctx, b, offset, length)
	return lazyStream{r, ctx, s.closed}, err
}

type lazyStream struct {
	blobstore.Reader
	ctx    context.Context //nolint:containedctx // of the one call that it is made for
	closed chan struct{}
}

// WriteTo writes the first byte, and the rest after a while.
func (s lazyStream) WriteTo(w io.Writer) (int64, error) {
	n, err := io.CopyN(w, s.Reader, 1)
	if err == nil {
		err = http.NewResponseController(w.(http.ResponseWriter)).Flush()
	}
	if err == nil {
		err = think(s.ctx, stalls)
	}
	if err != nil {
		return n, err
	}
	m, err := io.Copy(w, struct{ io.Reader }{s.Reader})
	return n + m, err
}

func (s lazyStream) Close() error {
	select {
	case s.closed <- struct{}{}:
	default:
	}
	return s.Reader.Close()
}

// ask sends a request and returns its answer, which must come by the protocol.
func ask(t *testing.T, server *httptest.Server, two bool, method, path string, body io.Reader) (status int, content io.Reader) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() }) // it was only read
	if (answer.ProtoMajor == 2) != two {
		t.Fatalf("the answer came by %s", answer.Proto)
	}
	return answer.StatusCode, answer.Body
}

// While this node is slow its client is not to blame, however long it takes and whatever the protocol.
func TestStallsHereCutNobodyOff(t *testing.T) {
	t.Parallel()
	patient := func(c *api.Config) { c.Idle = patience }
	for name, two := range protocols() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Run("push", func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				text := strings.Repeat("x", 8<<20) // more than the client may send ahead
				server := encrypt(t, w, lazy{Store: w.blobs}, two, patient)
				status, _ := ask(t, server, two, http.MethodPost, withDigest("/v2/a/b/blobs/uploads/", text), strings.NewReader(text))
				if status != http.StatusCreated {
					t.Errorf("status %d", status)
				}
			})
			t.Run("push after a sign of life", func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				store := &thoughtful{Store: w.blobs, finish: 2 * stalls}
				server := encrypt(t, w, store, two, func(c *api.Config) { c.Idle, c.Silence = patience, idle/2 })
				status, _ := ask(t, server, two, http.MethodPost, withDigest("/v2/a/b/blobs/uploads/", "abc"), strings.NewReader("abc"))
				if status != http.StatusCreated {
					t.Errorf("status %d", status)
				}
			})
			t.Run("pull", func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				d := w.push("a/b", "layer")
				_, content := ask(t, encrypt(t, w, lazy{Store: w.blobs}, two, patient), two, http.MethodGet, "/v2/a/b/blobs/"+d, http.NoBody)
				if b, err := io.ReadAll(content); err != nil || string(b) != "layer" {
					t.Errorf("%q, %v", b, err)
				}
			})
		})
	}
}

// A client that sends nothing, or takes nothing, is cut off, whatever the protocol.
func TestSilentClientsAreCutOff(t *testing.T) {
	t.Parallel()
	for name, two := range protocols() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Run("push", func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				server := encrypt(t, w, w.blobs, two, nil)
				body, more := io.Pipe()
				go func() { _, _ = more.Write([]byte("abc")) }() // ends when the body is closed
				status, _ := ask(t, server, two, http.MethodPatch, w.begin(), body)
				_ = body.Close()
				if status != http.StatusBadRequest {
					t.Errorf("status %d", status)
				}
			})
			t.Run("pull", func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				text := strings.Repeat("x", 32<<20) // more than fits into the buffers on its way
				store := lazy{w.blobs, make(chan struct{}, 1)}
				server := encrypt(t, w, store, two, nil)
				ask(t, server, two, http.MethodGet, "/v2/a/b/blobs/"+w.push("a/b", text), http.NoBody)
				within, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				select {
				case <-store.closed:
				case <-within.Done():
					t.Error("the client is waited for")
				}
			})
		})
	}
}

// limited is a writer that knows its deadlines.
type limited struct {
	*httptest.ResponseRecorder
	read, write time.Time
}

func (l *limited) SetReadDeadline(at time.Time) error  { l.read = at; return nil }
func (l *limited) SetWriteDeadline(at time.Time) error { l.write = at; return nil }

// What the server itself sends when the handler is over has its time, and what comes next on the connection not the
// time of an answer before: to read a body may send "100 Continue".
func TestDeadlinesOfAConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := &limited{ResponseRecorder: httptest.NewRecorder(), write: time.Now()}
	begun := false
	body := readerFunc(func([]byte) (int, error) {
		begun = true
		if l.read.IsZero() || !l.write.IsZero() {
			t.Errorf("while the body is read the deadlines are %s and %s", l.read, l.write)
		}
		return 0, io.EOF
	})
	w.ServeHTTP(l, httptest.NewRequestWithContext(t.Context(), http.MethodPatch, w.begin(), body))
	if !begun || l.Code != http.StatusAccepted || l.write.IsZero() {
		t.Errorf("status %d, write deadline %s", l.Code, l.write)
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
