package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/s3"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

// passes passes a request on.
type passes = func() *httptest.ResponseRecorder

// fault is what a proxy does to a request, instead of passing it on or to its answer; it reports whether it did.
type fault func(w http.ResponseWriter, r *http.Request, pass passes) bool

// proxy stands before an S3 server, and does to its requests what a test wants.
type proxy struct {
	url  string
	mu   sync.Mutex
	next fault // nil: nothing
}

// set has every request go through f from now on.
func (p *proxy) set(f fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = f
}

func newProxy(t *testing.T, endpoint string) *proxy {
	t.Helper()
	to, err := url.Parse(endpoint)
	must(t, err)
	forward := &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host }, // which is signed
		ErrorLog: nothing(),
	}
	p := &proxy{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		f := p.next
		p.mu.Unlock()
		pass := func() *httptest.ResponseRecorder {
			rec := httptest.NewRecorder()
			forward.ServeHTTP(rec, r)
			return rec
		}
		if f != nil && f(w, r, pass) {
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

// nothing is a log that keeps nothing.
func nothing() *log.Logger { return log.New(io.Discard, "", 0) }

// answer writes an error of S3.
func answer(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>as the test wants</Message></Error>", code)
}

// reset breaks the connection.
func reset(w http.ResponseWriter) {
	if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
		_ = c.Close()
	}
}

func status(code int, name string) fault {
	return func(w http.ResponseWriter, _ *http.Request, _ func() *httptest.ResponseRecorder) bool {
		answer(w, code, name)
		return true
	}
}

func resets(w http.ResponseWriter, _ *http.Request, _ func() *httptest.ResponseRecorder) bool {
	reset(w)
	return true
}

// deaf takes a request, has it carried out, and says nothing of it.
func deaf(w http.ResponseWriter, _ *http.Request, pass func() *httptest.ResponseRecorder) bool {
	pass()
	reset(w)
	return true
}

// cut passes an answer on but for its second half, and none that has no body: it would say another length, not break off.
func cut(w http.ResponseWriter, _ *http.Request, pass func() *httptest.ResponseRecorder) bool {
	rec := pass()
	if rec.Body.Len() == 0 {
		reset(w)
		return true
	}
	maps.Copy(w.Header(), rec.Header())
	w.Header().Set("Content-Length", fmt.Sprint(rec.Body.Len()))
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
	_ = http.NewResponseController(w).Flush()
	reset(w)
	return true
}

// stalls takes a request and never answers.
func stalls(_ http.ResponseWriter, r *http.Request, _ func() *httptest.ResponseRecorder) bool {
	_, _ = io.Copy(io.Discard, r.Body) // or the server does not see that the client has gone
	<-r.Context().Done()
	return true
}

// sometimes does f to every n-th request, beginning with the first.
func sometimes(n int64, f fault) fault {
	var count atomic.Int64
	return func(w http.ResponseWriter, r *http.Request, pass func() *httptest.ResponseRecorder) bool {
		return (count.Add(1)-1)%n == 0 && f(w, r, pass)
	}
}

// only does f to the requests that it is for.
func only(is func(r *http.Request) bool, f fault) fault {
	return func(w http.ResponseWriter, r *http.Request, pass func() *httptest.ResponseRecorder) bool {
		return is(r) && f(w, r, pass)
	}
}

// makes reports whether a request makes an object visible that is no record.
func makes(r *http.Request) bool {
	q := r.URL.Query()
	whole := r.Method == http.MethodPut && !q.Has("partNumber") && !strings.HasSuffix(r.URL.Path, ".sums")
	return whole || r.Method == http.MethodPost && q.Has("uploadId")
}

// A bucket that fails now and then is not noticed.
func TestFaultsInBetween(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]fault{
		"500":                sometimes(3, status(http.StatusInternalServerError, "InternalError")),
		"503":                sometimes(3, status(http.StatusServiceUnavailable, "SlowDown")),
		"resets":             sometimes(3, resets),
		"answers are lost":   sometimes(3, deaf),
		"answers break off":  sometimes(3, cut),
		"stalls":             sometimes(5, stalls),
		"all makers go deaf": only(makes, sometimes(2, deaf)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProxy(t, fake(t))
			c := config(t, p.url)
			if name == "stalls" {
				c.Timing.Answer, c.Timing.Assemble = 300*time.Millisecond, 300*time.Millisecond
				c.Timing.Attempts = 60 // a busy machine may be as silent
			}
			s := open(t, c)
			s.SetPartSize(blobstore.ChunkSize)
			p.set(f)
			for i, n := range []int{0, 1000, blobstore.ChunkSize + 1, 5*blobstore.ChunkSize + 4711} {
				bytesAre(t, s, storetest.Store(t, s, fmt.Sprint(i), storetest.Bytes(i, n)), storetest.Bytes(i, n))
			}
			p.set(nil)
			for _, u := range uploadsOf(t, s) { // begun twice, because the first answer was lost
				must(t, s.RemoveUpload(t.Context(), u.ID))
			}
			nothingElse(t, s, 4)
		})
	}
}

// What was acknowledged is there, whatever the bucket says of the request that makes it visible; what was not leaves
// nothing that the lists of copies and uploads do not show.
func TestPublishIsBelievedToTheObjectAlone(t *testing.T) {
	t.Parallel()
	lie := func(code int) fault {
		return func(w http.ResponseWriter, r *http.Request, _ func() *httptest.ResponseRecorder) bool {
			_, _ = io.Copy(io.Discard, r.Body)
			if code == http.StatusOK {
				w.Header().Set("ETag", `"lie"`)
				_, _ = io.WriteString(w, `<CompleteMultipartUploadResult><ETag>"lie"</ETag></CompleteMultipartUploadResult>`)
				return true
			}
			answer(w, code, "PreconditionFailed")
			return true
		}
	}
	conditional := func(r *http.Request) bool { return makes(r) && r.Header.Get("If-None-Match") != "" }
	twice := func(w http.ResponseWriter, _ *http.Request, pass func() *httptest.ResponseRecorder) bool {
		pass()
		answer(w, http.StatusPreconditionFailed, "PreconditionFailed") // what a repeated request is told
		return true
	}
	for name, test := range map[string]struct {
		fault fault
		fails bool
	}{
		"says that the key is taken, and it is not": {only(conditional, lie(http.StatusPreconditionFailed)), false},
		"says so of every request":                  {only(makes, lie(http.StatusPreconditionFailed)), true},
		"says so when it has written":               {only(makes, twice), false},
		"says that it has written, and has not":     {only(makes, lie(http.StatusOK)), true},
		"says nothing any more":                     {only(makes, resets), true},
		"writes, and says nothing":                  {only(makes, deaf), false},
		"is always busy":                            {status(http.StatusServiceUnavailable, "SlowDown"), true},
	} {
		for _, n := range []int{1000, 3*blobstore.ChunkSize + 5} {
			t.Run(fmt.Sprint(name, " ", n), func(t *testing.T) {
				t.Parallel()
				p := newProxy(t, fake(t))
				s := open(t, config(t, p.url))
				s.SetPartSize(blobstore.ChunkSize)
				s.SetOnlyNew(true)
				b := storetest.Bytes(n, n)
				id := storetest.ID("u")
				must(t, s.CreateUpload(t.Context(), id, "", 1))
				_, err := s.Append(t.Context(), id, 0, bytes.NewReader(b), 1)
				must(t, err)
				_, err = s.Finish(t.Context(), id, digest.FromBytes(b))
				must(t, err)
				p.set(test.fault)
				at, err := s.Publish(t.Context(), id)
				p.set(nil)
				if test.fails != (err != nil) {
					t.Fatalf("published at %v: %v", at, err)
				}
				if test.fails && !errors.Is(err, blobstore.ErrUnreachable) {
					t.Errorf("it is not the bucket that is to blame: %v", err)
				}
				made := 0
				if err == nil {
					bytesAre(t, s, blobstore.Blob{Digest: digest.FromBytes(b), Size: int64(n), Locations: at}, b)
					made++
				}
				// Either way the PUT is repeated, and makes another copy.
				_, err = s.Finish(t.Context(), id, digest.FromBytes(b))
				if errors.Is(err, blobstore.ErrUploadBroken) && test.fails {
					_, err = s.Upload(t.Context(), id)
					if !errors.Is(err, blobstore.ErrUploadUnknown) {
						t.Fatalf("a broken upload is not gone: %v", err)
					}
					return
				}
				must(t, err)
				again, err := s.Publish(t.Context(), id)
				must(t, err)
				bytesAre(t, s, blobstore.Blob{Digest: digest.FromBytes(b), Size: int64(n), Locations: again}, b)
				if made > 0 && again[0] == at[0] {
					t.Fatal("a copy id was used twice")
				}
				must(t, s.RemoveUpload(t.Context(), id))
				sweep(t, s, again[0].Copy)
				nothingElse(t, s, 1)
			})
		}
	}
}

// A bucket that is down for longer than anyone waits takes no bytes away: the upload goes on where it was.
func TestUploadOutlivesAnOutage(t *testing.T) {
	t.Parallel()
	p := newProxy(t, fake(t))
	c := config(t, p.url)
	s := open(t, c)
	s.SetPartSize(blobstore.ChunkSize)
	b, id := storetest.Bytes(1, 90*blobstore.ChunkSize+1), storetest.ID("u")
	must(t, s.CreateUpload(t.Context(), id, "", 1))
	var end int64
	for outage := range 3 {
		p.set(only(func(r *http.Request) bool { return r.URL.Query().Has("partNumber") || r.URL.Query().Has("uploads") }, resets))
		next, err := s.Append(t.Context(), id, end, io.LimitReader(bytes.NewReader(b[end:]), 20*blobstore.ChunkSize), 1)
		if !errors.Is(err, blobstore.ErrUnreachable) || next <= end {
			t.Fatalf("outage %d: the offset is %d after %d, %v", outage, next, end, err)
		}
		up, err := s.Upload(t.Context(), id)
		must(t, err)
		if up.Offset != next {
			t.Fatalf("the upload is at %d, and said %d", up.Offset, next)
		}
		p.set(nil)
		end, err = s.Append(t.Context(), id, next, io.LimitReader(bytes.NewReader(b[next:]), 1000), 1)
		must(t, err)
		if files, err := os.ReadDir(c.Scratch); err != nil || len(files) > 1 {
			t.Fatalf("%d parts wait here for a bucket that is there again, %v", len(files), err)
		}
	}
	_, err := s.Append(t.Context(), id, end, bytes.NewReader(b[end:]), 1)
	must(t, err)
	_, err = s.Finish(t.Context(), id, digest.FromBytes(b))
	must(t, err)
	at, err := s.Publish(t.Context(), id)
	must(t, err)
	bytesAre(t, s, blobstore.Blob{Digest: digest.FromBytes(b), Size: int64(len(b)), Locations: at}, b)
}

// An upload that could not be read again for another algorithm takes bytes again when it can.
func TestReadAgainLater(t *testing.T) {
	t.Parallel()
	p := newProxy(t, fake(t))
	c := config(t, p.url)
	s := open(t, c)
	s.SetPartSize(blobstore.ChunkSize)
	b, id := storetest.Bytes(1, 3*blobstore.ChunkSize+5), storetest.ID("u")
	must(t, s.CreateUpload(t.Context(), id, digest.SHA256, 1))
	_, err := s.Append(t.Context(), id, 0, bytes.NewReader(b[:2*blobstore.ChunkSize+9]), 1)
	must(t, err)
	p.set(only(func(r *http.Request) bool {
		return r.Method == http.MethodGet && !strings.HasSuffix(r.URL.Path, "marker")
	}, resets))
	_, err = s.Finish(t.Context(), id, digest.SHA512.FromBytes(b))
	if !errors.Is(err, blobstore.ErrUnreachable) {
		t.Fatalf("a bucket that cannot be read: %v", err)
	}
	p.set(nil)
	_, err = s.Append(t.Context(), id, -1, bytes.NewReader(b[2*blobstore.ChunkSize+9:]), 1)
	must(t, err)
	size, err := s.Finish(t.Context(), id, digest.SHA512.FromBytes(b))
	must(t, err)
	at, err := s.Publish(t.Context(), id)
	must(t, err)
	bytesAre(t, s, blobstore.Blob{Digest: digest.SHA512.FromBytes(b), Size: size, Locations: at}, b)
	must(t, s.RemoveUpload(t.Context(), id))
	nothingElse(t, s, 1)
	noFiles(t, c)
}

// A bucket that refuses for one reason says the same each time, and names it.
func TestRefusalsAreAlike(t *testing.T) {
	t.Parallel()
	p := newProxy(t, fake(t))
	s := open(t, config(t, p.url))
	var answers atomic.Int64
	p.set(func(w http.ResponseWriter, _ *http.Request, _ func() *httptest.ResponseRecorder) bool {
		w.Header().Set("X-Amz-Request-Id", fmt.Sprint("number ", answers.Add(1)))
		answer(w, http.StatusForbidden, "AccessDenied")
		return true
	})
	first, second := s.Check(t.Context()), s.Check(t.Context())
	if !errors.Is(first, blobstore.ErrUnreachable) || !strings.Contains(first.Error(), "status 403, AccessDenied: as the test wants") {
		t.Errorf("not the reason: %v", first)
	}
	if second == nil || first.Error() != second.Error() {
		t.Errorf("one reason, two texts:\n%v\n%v", first, second)
	}
}

// Bytes that the bucket has lost before an object was made of them are the client's to send again, by another upload:
// the parts may be gone with the upload, another one may be in the place of one that was sent twice, and an object that
// was made to be read may be gone.
func TestBucketLosesParts(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T) (*proxy, *s3.Store, []byte, blobstore.UploadID) {
		t.Helper()
		p := newProxy(t, fake(t))
		s := open(t, config(t, p.url))
		s.SetPartSize(blobstore.ChunkSize)
		b, id := storetest.Bytes(1, 3*blobstore.ChunkSize+5), storetest.ID("u")
		must(t, s.CreateUpload(t.Context(), id, "", 1))
		_, err := s.Append(t.Context(), id, 0, bytes.NewReader(b), 1)
		must(t, err)
		return p, s, b, id
	}
	broken := func(t *testing.T, s *s3.Store, id blobstore.UploadID, err error) {
		t.Helper()
		if !errors.Is(err, blobstore.ErrUploadBroken) {
			t.Fatalf("want a broken upload: %v", err)
		}
		if _, err := s.Upload(t.Context(), id); !errors.Is(err, blobstore.ErrUploadUnknown) {
			t.Fatalf("a broken upload is not gone: %v", err)
		}
	}
	completes := func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") }
	for name, f := range map[string]fault{
		"no upload":    only(completes, status(http.StatusNotFound, "NoSuchUpload")),
		"another part": only(completes, status(http.StatusBadRequest, "InvalidPart")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, s, b, id := begin(t)
			_, err := s.Finish(t.Context(), id, digest.FromBytes(b))
			must(t, err)
			p.set(f)
			_, err = s.Publish(t.Context(), id)
			broken(t, s, id, err)
		})
	}
	t.Run("what was made to be read", func(t *testing.T) {
		t.Parallel()
		p, s, b, id := begin(t)
		reads := func(r *http.Request) bool {
			return r.Method == http.MethodGet && !strings.HasSuffix(r.URL.Path, "marker")
		}
		p.set(only(reads, resets))
		if _, err := s.Finish(t.Context(), id, digest.SHA512.FromBytes(b)); !errors.Is(err, blobstore.ErrUnreachable) {
			t.Fatalf("a bucket that cannot be read: %v", err)
		}
		p.set(nil)
		sweep(t, s, blobstore.CopyID{})
		_, err := s.Append(t.Context(), id, -1, bytes.NewReader(b), 1)
		broken(t, s, id, err)
	})
}

// A multipart upload that somebody else has begun is listed as one of nobody, under an id that changes when it gets on,
// and aborted only if it does not.
func TestOrphans(t *testing.T) {
	t.Parallel()
	endpoint := fake(t)
	s := open(t, config(t, endpoint))
	other := open(t, config(t, endpoint)) // a cluster that shares the bucket
	send, err := s.Begin(t.Context(), 1)
	must(t, err)
	_, err = other.Begin(t.Context(), 1)
	must(t, err)
	first := uploadsOf(t, s)
	if len(first) != 1 || first[0].Active != 0 || first[0].Writing {
		t.Fatalf("uploads are %+v", first)
	}
	if again := uploadsOf(t, s); again[0] != first[0] {
		t.Fatalf("an upload that did not get on changed from %+v to %+v", first[0], again[0])
	}
	must(t, send(2))
	must(t, s.RemoveUpload(t.Context(), first[0].ID))
	second := uploadsOf(t, s)
	if len(second) != 1 || second[0].ID == first[0].ID {
		t.Fatalf("an upload that got on is %+v, and was %+v", second, first)
	}
	must(t, s.RemoveUpload(t.Context(), second[0].ID))
	if left := uploadsOf(t, s); len(left) != 0 {
		t.Fatalf("%+v are left", left)
	}
	if n, err := other.Multiparts(t.Context()); n != 1 || err != nil {
		t.Fatalf("the other cluster has %d uploads left, %v", n, err)
	}
}

// An answer that does not say how long it is, as proxies make them, is not taken for one of no bytes.
func TestAnswersWithoutLength(t *testing.T) {
	t.Parallel()
	p := newProxy(t, fake(t))
	s := open(t, config(t, p.url))
	p.set(func(w http.ResponseWriter, r *http.Request, pass func() *httptest.ResponseRecorder) bool {
		if r.Method != http.MethodGet {
			return false
		}
		rec := pass()
		maps.Copy(w.Header(), rec.Header())
		w.Header().Del("Content-Length")
		w.WriteHeader(rec.Code)
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write(rec.Body.Bytes())
		return true
	})
	for i, n := range []int{0, 1000, 2*blobstore.ChunkSize + 5} {
		b := storetest.Store(t, s, fmt.Sprint(i), storetest.Bytes(i, n))
		bytesAre(t, s, b, storetest.Bytes(i, n))
		must(t, s.Verify(t.Context(), b, nil))
	}
}

// A list of more than a page goes on where the page ends, or with an error: it never ends as if that were all.
func TestManyCopies(t *testing.T) {
	t.Parallel()
	p := newProxy(t, fake(t))
	s := open(t, config(t, p.url))
	const many = 1100
	for i := range many {
		must(t, s.Put(t.Context(), blobstore.CopyID{byte(i >> 8), byte(i), 1}.String(), nil))
	}
	list := func() (n int, err error) {
		for id, err := range s.Copies(t.Context(), blobstore.CopyID{}) {
			if err != nil {
				return n, err
			}
			if want := (blobstore.CopyID{byte(n >> 8), byte(n), 1}); id != want {
				t.Fatalf("copy %d is %s, not %s", n, id, want)
			}
			n++
		}
		return n, nil
	}
	if n, err := list(); n != many || err != nil {
		t.Fatalf("%d of %d copies are listed, %v", n, many, err)
	}
	p.set(func(w http.ResponseWriter, r *http.Request, pass func() *httptest.ResponseRecorder) bool {
		if !r.URL.Query().Has("list-type") {
			return false
		}
		text := pass().Body.String()
		before, rest, _ := strings.Cut(text, "<NextContinuationToken>")
		_, after, _ := strings.Cut(rest, "</NextContinuationToken>")
		_, _ = io.WriteString(w, before+after)
		return true
	})
	if n, err := list(); err == nil {
		t.Fatalf("a list that says that there is more, and not where, ends after %d", n)
	}
}

// Bytes that change on the disk before they are sent are not sent: the client begins again.
func TestScratchRots(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1000, blobstore.ChunkSize + 5} {
		c := config(t, fake(t))
		s := open(t, c)
		b, id := storetest.Bytes(1, n), storetest.ID("u")
		must(t, s.CreateUpload(t.Context(), id, "", 1))
		_, err := s.Append(t.Context(), id, 0, bytes.NewReader(b), 1)
		must(t, err)
		files, err := os.ReadDir(c.Scratch)
		must(t, err)
		f, err := os.OpenFile(filepath.Join(c.Scratch, files[0].Name()), os.O_WRONLY, 0)
		must(t, err)
		_, err = f.WriteAt([]byte{b[500] ^ 1}, 500)
		must(t, errors.Join(err, f.Close()))
		_, err = s.Finish(t.Context(), id, digest.FromBytes(b))
		if err == nil {
			_, err = s.Publish(t.Context(), id)
		}
		if !errors.Is(err, blobstore.ErrUploadBroken) {
			t.Fatalf("%d bytes of which one has changed: %v", n, err)
		}
		if _, err := s.Upload(t.Context(), id); !errors.Is(err, blobstore.ErrUploadUnknown) {
			t.Fatalf("a broken upload is not gone: %v", err)
		}
		sweep(t, s, blobstore.CopyID{}) // the sums may be there
		nothingElse(t, s, 0)
		noFiles(t, c)
	}
}

// A prefix without a marker is taken for a new store only by who knows that there is none, and if it looks like it.
func TestAttach(t *testing.T) {
	t.Parallel()
	c := config(t, fake(t))
	attach := func(empty bool) error {
		s, err := s3.New(t.Context(), c.Config)
		must(t, err)
		t.Cleanup(func() { must(t, s.Close()) })
		return s.Attach(t.Context(), c.cluster, empty)
	}
	is := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
	}
	is(attach(false), blobstore.ErrOffline)
	must(t, attach(true))
	must(t, attach(false))
	s := open(t, c)
	b := storetest.Store(t, s, "u", []byte("layer"))
	must(t, s.Remove(t.Context(), "marker"))
	is(attach(false), blobstore.ErrOffline)
	is(attach(true), s3.ErrNotEmpty)
	is(s.RemoveCopies(t.Context(), b.Locations[0].Copy), blobstore.ErrOffline)
	must(t, s.Put(t.Context(), "marker", []byte("of somebody else")))
	is(attach(false), s3.ErrForeign)
	is(attach(true), s3.ErrForeign)
	is(attach(false), blobstore.ErrOffline)
	is(s.Check(t.Context()), blobstore.ErrOffline)
	is(s.RemoveCopies(t.Context(), b.Locations[0].Copy), blobstore.ErrOffline)
	c.cluster = "../escape"
	if err := attach(true); err == nil {
		t.Fatal("an id leads out of the prefix")
	}
	c.Bucket.Name = "none"
	c.cluster = "abc"
	is(attach(true), blobstore.ErrOffline)
}

// What a process has left in its scratch directory the next one removes, and nothing else.
func TestScratchIsCleared(t *testing.T) {
	t.Parallel()
	c := config(t, fake(t))
	must(t, os.MkdirAll(c.Scratch, 0o700))
	for _, name := range []string{blobstore.NewCopyID().String() + ".3", "notes", blobstore.NewCopyID().String()} {
		must(t, os.WriteFile(filepath.Join(c.Scratch, name), []byte("x"), 0o600))
	}
	open(t, c)
	files, err := os.ReadDir(c.Scratch)
	must(t, err)
	if len(files) != 2 {
		t.Fatalf("%d files are left of 3, of which 1 was a part", len(files))
	}
}

// An upload that ends leaves nothing in the bucket or here.
func TestEndedUploadLeavesNothing(t *testing.T) {
	t.Parallel()
	c := config(t, fake(t))
	s := open(t, c)
	s.SetPartSize(blobstore.ChunkSize)
	for i, end := range []func(ctx context.Context, id blobstore.UploadID) error{
		s.RemoveUpload,
		func(ctx context.Context, id blobstore.UploadID) error { return s.EndUpload(ctx, id, 1) },
	} {
		id := storetest.ID(fmt.Sprint(i))
		must(t, s.CreateUpload(t.Context(), id, "", 1))
		_, err := s.Append(t.Context(), id, 0, bytes.NewReader(storetest.Bytes(1, 3*blobstore.ChunkSize+1)), 1)
		must(t, err)
		must(t, end(t.Context(), id))
	}
	nothingElse(t, s, 0)
	noFiles(t, c)
}

func uploadsOf(t *testing.T, s *s3.Store) (all []blobstore.Upload) {
	t.Helper()
	for u, err := range s.Uploads(t.Context(), blobstore.UploadID{}) {
		must(t, err)
		all = append(all, u)
	}
	return all
}

// sweep removes all copies but one: what the sweeper does with those that the state does not know.
func sweep(t *testing.T, s *s3.Store, but blobstore.CopyID) {
	t.Helper()
	for id, err := range s.Copies(t.Context(), blobstore.CopyID{}) {
		must(t, err)
		if id != but {
			must(t, s.RemoveCopies(t.Context(), id))
		}
	}
}

// nothingElse fails the test unless the bucket holds so many copies, their sums, and the marker.
func nothingElse(t *testing.T, s *s3.Store, copies int) {
	t.Helper()
	names, err := s.Names(t.Context())
	must(t, err)
	have := 0
	for _, name := range names {
		bare := strings.TrimSuffix(name, ".sums")
		switch _, err := blobstore.ParseCopyID(bare); {
		case name == "marker":
		case err != nil:
			t.Errorf("%s is left in the bucket", name)
		case bare == name:
			have++
		}
	}
	if have != copies {
		t.Errorf("%d copies are in the bucket, not %d: %q", have, copies, names)
	}
	if n, err := s.Multiparts(t.Context()); n != 0 || err != nil {
		t.Errorf("%d multipart uploads are left, %v", n, err)
	}
}

func bytesAre(t *testing.T, s *s3.Store, b blobstore.Blob, want []byte) {
	t.Helper()
	r, err := s.Open(t.Context(), b, 0, -1)
	must(t, err)
	have, err := io.ReadAll(r)
	must(t, errors.Join(err, r.Close()))
	if !bytes.Equal(have, want) {
		t.Fatalf("read %d bytes that are not the %d that were stored", len(have), len(want))
	}
}

// What a store does not have to be told it is not told: some refuse words that they do not know.
func TestHowObjectsArePut(t *testing.T) {
	t.Parallel()
	const class, acl, encryption = "X-Amz-Storage-Class", "X-Amz-Acl", "X-Amz-Server-Side-Encryption"
	for name, test := range map[string]struct {
		bucket s3.Bucket
		want   map[string]string
	}{
		"nothing is said":  {s3.Bucket{}, map[string]string{class: "", acl: "", encryption: ""}},
		"the usual":        {s3.Bucket{StorageClass: "STANDARD", ACL: "private", KeyID: "k"}, map[string]string{class: "", acl: "", encryption: ""}},
		"no class":         {s3.Bucket{StorageClass: "NONE"}, map[string]string{class: ""}},
		"all":              {s3.Bucket{StorageClass: "STANDARD_IA", ACL: "bucket-owner-full-control", Encrypt: true}, map[string]string{class: "STANDARD_IA", acl: "bucket-owner-full-control", encryption: "AES256"}},
		"a key of its own": {s3.Bucket{Encrypt: true, KeyID: "k"}, map[string]string{encryption: "aws:kms", encryption + "-Aws-Kms-Key-Id": "k"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProxy(t, fake(t))
			c := config(t, p.url)
			c.Bucket.StorageClass, c.Bucket.ACL = test.bucket.StorageClass, test.bucket.ACL
			c.Bucket.Encrypt, c.Bucket.KeyID = test.bucket.Encrypt, test.bucket.KeyID
			var made atomic.Int64
			p.set(func(_ http.ResponseWriter, r *http.Request, _ func() *httptest.ResponseRecorder) bool {
				q := r.URL.Query()
				if r.Method == http.MethodPut && !q.Has("partNumber") || r.Method == http.MethodPost && q.Has("uploads") {
					made.Add(1)
					for header, want := range test.want {
						if have := r.Header.Get(header); have != want {
							t.Errorf("%s %s has %s %q, not %q", r.Method, r.URL, header, have, want)
						}
					}
				}
				return false
			})
			s := open(t, c)
			s.SetPartSize(blobstore.ChunkSize)
			for i, n := range []int{1000, 2*blobstore.ChunkSize + 5} {
				bytesAre(t, s, storetest.Store(t, s, fmt.Sprint(i), storetest.Bytes(i, n)), storetest.Bytes(i, n))
			}
			if made.Load() < 4 {
				t.Errorf("%d requests make objects", made.Load())
			}
		})
	}
}
