package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/seed-16d79997/zot/blobstore/storetest"
	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// A bucket that fails one request in six, in one way or another, loses nothing that was acknowledged, and keeps
// nothing of what was not.
func TestBucketThatFails(t *testing.T) {
	bucket := harness.StartBucket(t)
	driver := bucket.Driver("/zot")
	endpoint, stall := faulty(t, bucket.Endpoint)
	driver["regionendpoint"] = endpoint
	n := harness.StartStored(t, 1, map[string]any{"storageDriver": driver, "gcDelay": "30s", "gcInterval": "1s"})[0]
	stall() // not before: a start is waited for no longer than a stall takes

	pushed := make([]bool, 40)
	layers := make([][]byte, len(pushed))
	pushes, ctx := errgroup.WithContext(t.Context())
	pushes.SetLimit(8)
	for i := range pushed {
		layers[i] = storetest.Bytes(i, []int{100, 300 << 10, 12 << 20}[i%3]+i)
		pushes.Go(func() error {
			d := digest.FromBytes(layers[i])
			code, _, err := send(ctx, http.MethodPost, n.URL("/v2/"+repository+"/blobs/uploads/?digest="+d.String()), layers[i])
			switch {
			case err != nil:
				return err
			case code == http.StatusServiceUnavailable, code == http.StatusNotFound:
				return nil
			case code != http.StatusCreated:
				return fmt.Errorf("push %d: status %d", i, code)
			}
			pushed[i] = true
			code, p, err := send(ctx, http.MethodGet, n.URL(blobPath(layers[i])), nil) // while its lease lasts
			if err == nil && (code != http.StatusOK || digest.FromBytes(p) != d) {
				err = fmt.Errorf("blob %d was acknowledged, and is answered by %d with %d bytes", i, code, len(p))
			}
			return err
		})
	}
	must(t, pushes.Wait())
	done := 0
	for _, ok := range pushed {
		if ok {
			done++
		}
	}
	t.Logf("%d of %d pushes were acknowledged", done, len(pushed))
	if 2*done < len(pushed) {
		t.Error("most pushes failed")
	}
	// What was made and not recorded goes with the second look of the sweeper, which looks every 30 s.
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for began := time.Now(); ; <-again.C {
		left := copiesIn(t, bucket, -1)
		if len(left) == 0 {
			return
		}
		if time.Since(began) > 4*time.Minute {
			t.Fatalf("%d objects are left that no manifest names, such as %s", len(left), left[0])
		}
	}
}

func send(ctx context.Context, method, to string, p []byte) (status int, body []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(p))
	if err != nil {
		return 0, nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	body, err = io.ReadAll(answer.Body)
	return answer.StatusCode, body, errors.Join(err, answer.Body.Close())
}

// faulty stands before an S3 server and fails: it answers with an error, breaks off, carries a request out and does not
// say so, lies about whether a key was taken and about what it has written, and stalls as soon as it is told to.
func faulty(t *testing.T, endpoint string) (at string, stall func()) {
	t.Helper()
	to, err := url.Parse(endpoint)
	must(t, err)
	forward := &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host }, // which is signed
		ErrorLog: log.New(io.Discard, "", 0),
	}
	// Each takes a minute to be noticed: of a pull, longer than what it pulls is promised to stay. That of the request which
	// makes one object of all parts takes ten.
	var stalls atomic.Int64
	var stalling atomic.Bool
	mayStall := func(r *http.Request) bool {
		return r.Method == http.MethodPut || r.Method == http.MethodPost && r.URL.Query().Has("uploads")
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" && lie(w, r, forward) {
			return
		}
		switch rand.IntN(28) {
		case 0:
			fail(w, http.StatusInternalServerError, "InternalError")
		case 1:
			fail(w, http.StatusServiceUnavailable, "SlowDown")
		case 2:
			panic(http.ErrAbortHandler)
		case 3:
			forward.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		case 4:
			if stalling.Load() && mayStall(r) && stalls.Add(1) <= 3 {
				_, _ = io.Copy(io.Discard, r.Body) // or the server does not see that the client has gone
				<-r.Context().Done()
				return
			}
			forward.ServeHTTP(w, r)
		default:
			forward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, func() { stalling.Store(true) }
}

// lie answers some requests that are to make an object only if its key is free, and reports whether it did: that the key
// was taken when it was not, or when it is so by this very request, or that there is an object when there is none.
func lie(w http.ResponseWriter, r *http.Request, forward http.Handler) bool {
	switch rand.IntN(12) {
	case 0:
		_, _ = io.Copy(io.Discard, r.Body)
		fail(w, http.StatusPreconditionFailed, "PreconditionFailed")
	case 1:
		forward.ServeHTTP(httptest.NewRecorder(), r)
		fail(w, http.StatusPreconditionFailed, "PreconditionFailed")
	case 2:
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("ETag", `"none"`)
		_, _ = io.WriteString(w, `<CompleteMultipartUploadResult><ETag>"none"</ETag></CompleteMultipartUploadResult>`)
	default:
		return false
	}
	return true
}

func fail(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
}
