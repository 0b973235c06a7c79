package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/seed-16d79997/zot/blobstore/s3"
)

// filesAt are those below a prefix of their own.
func filesAt(t *testing.T, endpoint string) *s3.Files {
	t.Helper()
	c := config(t, endpoint)
	o, err := s3.NewFiles(t.Context(), c.Bucket, "/backups/"+c.cluster, c.Timing)
	must(t, err)
	t.Cleanup(func() { must(t, o.Close()) })
	return o
}

// readAll reads an object whole.
func readAll(ctx context.Context, o *s3.Files, name string) ([]byte, error) {
	r, size, err := o.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	p, err := io.ReadAll(r)
	if err == nil && int64(len(p)) != size {
		err = errors.New("another size was announced")
	}
	return p, errors.Join(err, r.Close())
}

func TestFiles(t *testing.T) {
	t.Parallel()
	o := filesAt(t, fake(t))
	o.SetPart(1000)
	for name, size := range map[string]int64{"a/empty": 0, "a/small": 10, "a/whole": 1000, "a/parts": 2500, "b": 7} {
		must(t, o.Put(t.Context(), name, size, bytes.NewReader(bytes.Repeat([]byte("x"), int(size)))))
		p, err := readAll(t.Context(), o, name)
		if err != nil || int64(len(p)) != size {
			t.Errorf("%s: %d bytes, %v", name, len(p), err)
		}
	}
	sizes := map[string]int64{}
	for object, err := range o.List(t.Context(), "a/") {
		must(t, err)
		sizes[object.Name] = object.Size
	}
	if len(sizes) != 4 || sizes["a/parts"] != 2500 || sizes["a/small"] != 10 {
		t.Errorf("listed: %v", sizes)
	}
	if _, err := readAll(t.Context(), o, "a/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
}

// What does not come whole, or fails at its very end, makes no object.
func TestFilesOfBrokenStreams(t *testing.T) {
	t.Parallel()
	o := filesAt(t, fake(t))
	o.SetPart(1000)
	bad := errors.New("its digest is another")
	for name, r := range map[string]io.Reader{
		"short":          bytes.NewReader(make([]byte, 900)),
		"short in parts": bytes.NewReader(make([]byte, 2400)),
		"bad":            io.MultiReader(bytes.NewReader(make([]byte, 500)), failing{bad}),
		"bad in parts":   io.MultiReader(bytes.NewReader(make([]byte, 2500)), failing{bad}),
		"long":           bytes.NewReader(make([]byte, 3000)),
	} {
		size := int64(2500)
		if name == "short" || name == "bad" {
			size = 500
		}
		if name == "short" {
			size = 950
		}
		err := o.Put(t.Context(), name, size, r)
		if err == nil {
			t.Errorf("%s was put", name)
		}
		if name[0] == 'b' && !errors.Is(err, bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for object, err := range o.List(t.Context(), "") {
		t.Errorf("%s is there, %v", object.Name, err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// An answer that breaks off is asked for again, from where it was.
func TestFilesWhoseAnswersBreakOff(t *testing.T) {
	t.Parallel()
	behind, err := url.Parse(fake(t))
	must(t, err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Host, r.Out.URL.Scheme, r.Out.Host = behind.Host, "http", r.In.Host
	}}
	var cut atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && cut.CompareAndSwap(true, false) {
			w = &cutting{ResponseWriter: w}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	o := filesAt(t, server.URL)
	content := bytes.Repeat([]byte("0123456789"), 100_000)
	must(t, o.Put(t.Context(), "x", int64(len(content)), bytes.NewReader(content)))
	cut.Store(true)
	if p, err := readAll(t.Context(), o, "x"); err != nil || !bytes.Equal(p, content) {
		t.Errorf("%d bytes, %v", len(p), err)
	}
	if cut.Load() {
		t.Error("nothing was cut")
	}
}

// cutting breaks an answer off after some bytes.
type cutting struct {
	http.ResponseWriter
	sent int
}

func (c *cutting) Write(p []byte) (int, error) {
	if c.sent += len(p); c.sent > 100_000 {
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(p)
}
