package hint_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore/hint"
	"github.com/seed-16d79997/zot/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func layer() digest.Digest { return digest.FromString("layer") }

// table is one at a server that answers by f, for which it waits for a while.
func table(t *testing.T, f http.HandlerFunc, wait time.Duration) (*hint.Table, hint.Config) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "tester")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "any")
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	c := hint.DefaultConfig()
	c.Table, c.Region, c.Endpoint, c.Answer, c.Queue = "blobs", "us-east-1", server.URL, wait, 2
	s, err := hint.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

// run runs a table until the function that it returns is called.
func run(t *testing.T, s *hint.Table) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }() // waited for by stop
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// A table that does not answer keeps nobody, and is left alone for a while.
func TestNoAnswer(t *testing.T) {
	var silent atomic.Bool
	s, _ := table(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if silent.Load() {
			<-r.Context().Done()
		}
		_, _ = io.WriteString(w, `{"Item":{"DuplicateBlobPath":{"SS":["s3://b/k"]}}}`)
	}, 3*time.Second)
	if found := s.Find(t.Context(), layer()); len(found) != 1 {
		t.Errorf("found %q", found)
	}
	silent.Store(true)
	if found := s.Find(t.Context(), layer()); found != nil {
		t.Errorf("a table that does not answer has %q", found)
	}
	silent.Store(false)
	if found := s.Find(t.Context(), layer()); found != nil {
		t.Errorf("a table that did not answer is asked again, and has %q", found)
	}
	run(t, s)()
}

// Who asks and goes away is no reason to leave the table alone.
func TestCallerGoesAway(t *testing.T) {
	s, _ := table(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"Item":{"DuplicateBlobPath":{"SS":["s3://b/k"]}}}`)
	}, time.Minute)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if found := s.Find(gone, layer()); found != nil {
		t.Errorf("who has gone finds %q", found)
	}
	if found := s.Find(t.Context(), layer()); len(found) != 1 {
		t.Errorf("the next finds %q", found)
	}
}

// What nobody writes is dropped, and keeps nobody.
func TestTooManyNotes(t *testing.T) {
	var added atomic.Int64
	written := make(chan struct{}, 10)
	s, c := table(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".UpdateItem") {
			added.Add(1)
			written <- struct{}{}
		}
		_, _ = io.WriteString(w, "{}")
	}, time.Minute)
	for range 5 {
		s.Add(layer(), "s3://b/k")
	}
	stop := run(t, s)
	for range c.Queue {
		<-written
	}
	stop()
	if n := added.Load(); n != int64(c.Queue) {
		t.Errorf("%d notes are written, of which %d may wait", n, c.Queue)
	}
}

// A table that may not be made is used if it is there.
func TestMayNotBeMade(t *testing.T) {
	written := make(chan string, 10)
	s, _ := table(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".CreateTable") {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"__type":"com.amazon.coral.service#AccessDeniedException","message":"no"}`)
			return
		}
		_, _ = io.WriteString(w, "{}")
		written <- string(body)
	}, time.Minute)
	stop := run(t, s)
	s.Add(layer(), "s3://b/k")
	if body := <-written; !strings.Contains(body, "s3://b/k") || !strings.Contains(body, layer().String()) {
		t.Errorf("written is %s", body)
	}
	stop()
}

func TestNew(t *testing.T) {
	for _, c := range []hint.Config{
		{Region: "r", Answer: 1},
		{Table: "t", Answer: 1},
		{Table: "t", Region: "r"},
	} {
		if _, err := hint.New(t.Context(), c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}
