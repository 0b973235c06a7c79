package replicated_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/replicated"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

// confused is a local store that panics where it says, and else is as it was.
type confused struct {
	replicated.Local
	where string
}

func (c confused) Usage(ctx context.Context) (blobstore.Usage, error) {
	if c.where == "usage" {
		panic("secret detail")
	}
	return c.Local.Usage(ctx)
}

func (c confused) Open(ctx context.Context, b blobstore.Blob, offset, length int64) (blobstore.Reader, error) {
	r, err := c.Local.Open(ctx, b, offset, length)
	if c.where == "stream" {
		return &confusedReader{Reader: r}, err
	}
	return r, err
}

func (c confused) OpenUpload(ctx context.Context, id blobstore.UploadID) (blobstore.UploadReader, error) {
	r, err := c.Local.OpenUpload(ctx, id)
	if c.where == "upload" {
		return confusedUpload{r}, err
	}
	return r, err
}

// confusedReader gives one chunk.
type confusedReader struct {
	blobstore.Reader
	reads int
}

func (r *confusedReader) Read(p []byte) (int, error) {
	if r.reads++; r.reads > 1 {
		panic("secret detail")
	}
	return r.Reader.Read(p)
}

type confusedUpload struct{ blobstore.UploadReader }

func (confusedUpload) ReadAt([]byte, int64) (int, error) { panic("secret detail") }

// logged is a logger, and what it has written.
type logged struct {
	hclog.Logger
	mu   sync.Mutex
	text strings.Builder
}

func newLogged() *logged {
	l := &logged{}
	l.Logger = hclog.New(&hclog.LoggerOptions{Output: l, Level: hclog.Warn})
	return l
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// has reports whether something was logged.
func (l *logged) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

// tells fails the test unless a panic was logged with where it came from.
func (l *logged) tells(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if text := l.text.String(); !strings.Contains(text, "secret detail") || !strings.Contains(text, "panic_test.go") {
		t.Errorf("the log has %q", text)
	}
}

// A node that asks gets an error for a panic, without its detail, and no end of a stream that looks regular.
func TestPanicInTheHandler(t *testing.T) {
	t.Parallel()
	for where, target := range map[string]string{"usage": "/store/default/usage", "stream": "a blob"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			local, log := confused{newMemory(t, blobstore.Incarnation{1}), where}, newLogged()
			s, err := replicated.New(replicated.Config{Name: storeName, Local: local, Members: fixed{}, Transport: http.DefaultTransport, Logger: log})
			must(t, err)
			if where == "stream" {
				b := finish(t, s, upload(t, s, "u", storetest.Bytes(1, 3*blobstore.ChunkSize)), storetest.Bytes(1, 3*blobstore.ChunkSize))
				target = fmt.Sprintf("/store/default/blobs/%s?size=%d&offset=0&length=%d&copy=%s", b.Digest, b.Size, b.Size, b.Locations[0].Copy)
			}
			server := httptest.NewServer(replicated.Handler(s))
			defer server.Close()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+target, http.NoBody)
			must(t, err)
			answer, err := server.Client().Do(r)
			must(t, err)
			defer answer.Body.Close() //nolint:errcheck // it was only read
			body, err := io.ReadAll(answer.Body)
			switch {
			case where == "stream" && err == nil:
				t.Errorf("a whole answer of %d bytes", len(body))
			case where == "usage" && (answer.StatusCode != http.StatusInternalServerError || !strings.Contains(string(body), `"internal"`)):
				t.Errorf("%d %s", answer.StatusCode, body)
			}
			if strings.Contains(string(body), "secret") {
				t.Errorf("%s", body)
			}
			log.tells(t)
		})
	}
}

// partner is a network with one other node, which panics where it says.
type partner struct{ panics string }

func (p partner) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.panics == r.Method {
		panic("secret detail")
	}
	text := `{"total":100,"free":50}`
	if r.Body != nil && r.Method == http.MethodPatch {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			return nil, err
		}
		text = fmt.Sprintf(`{"offset":%d}`, n)
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(text))}, nil
}

// duo is a cluster of two, of which both must have a copy.
type duo struct{ pair }

func (d duo) Membership() (replicated.Membership, error) {
	m, err := d.pair.Membership()
	m.Replicas, m.Need = 2, 2
	return m, err
}

// A panic in what goes on beside a call is a copy that does not come, and stands in the log.
func TestPanicBesideACall(t *testing.T) {
	t.Parallel()
	p := storetest.Bytes(1, 2<<20)
	for name, method := range map[string]string{
		"asking how a node is": http.MethodGet, "sending": http.MethodPatch, "publishing": http.MethodPost, "tidying up": http.MethodDelete,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log, patience := newLogged(), time.Hour
			if method == http.MethodPatch || method == http.MethodGet { // the bytes go, again and again, to nobody
				patience = time.Second
			}
			s, err := replicated.New(replicated.Config{
				Name:  storeName,
				Local: newMemory(t, blobstore.Incarnation{1}), Members: duo{}, Transport: partner{method}, Logger: log,
				Timing: replicated.Timing{Finish: patience, Poll: 10 * time.Millisecond},
			})
			must(t, err)
			stop := run(t, s)
			id := upload(t, s, "u", p)
			_, err = s.Finish(t.Context(), id, digest.FromBytes(p))
			if err == nil {
				_, err = s.Publish(t.Context(), id)
			}
			if !errors.Is(err, blobstore.ErrTooFewCopies) {
				t.Error(err)
			}
			eventually(t, "the log tells of it", func() bool { return log.has("secret detail") })
			stop()
			log.tells(t)
		})
	}
}

// A sender that cannot read the upload is one that fails: net/http reads it in a goroutine of its own.
func TestPanicOfAReader(t *testing.T) {
	t.Parallel()
	c, log := start(t, options{count: 2, replicas: 2, need: 1, timing: quick(), idle: true}), newLogged()
	s, err := replicated.New(replicated.Config{
		Name:  storeName,
		Local: confused{c.all[0].local, "upload"}, Members: c.all[0], Transport: c.transport, Logger: log, Timing: quick(),
	})
	must(t, err)
	stop := run(t, s)
	p := storetest.Bytes(1, 2<<20)
	b := finish(t, s, upload(t, s, "u", p), p)
	if on := c.holders(t, b); !slices.Equal(on, []int{0}) {
		t.Errorf("there are copies on %v", on)
	}
	stop()
	log.tells(t)
}

// A question whose asking panics has no answer: that nobody has the upload is not known.
func TestPanicInAQuestion(t *testing.T) {
	t.Parallel()
	s, err := replicated.New(replicated.Config{Name: storeName, Local: newMemory(t, blobstore.Incarnation{1}), Members: duo{}, Transport: partner{http.MethodGet}})
	must(t, err)
	if _, _, err := s.FindUpload(t.Context(), storetest.ID("u")); !errors.Is(err, blobstore.ErrPanic) || errors.Is(err, blobstore.ErrUploadUnknown) {
		t.Error(err)
	}
}
