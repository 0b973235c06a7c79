package s3_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore/storetest"
	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// maxMemory is what the process may use at most, the S3 server in it included.
const maxMemory = 300 << 20

// TestHugeUpload sends S3_UPLOAD_GIB (6) to a server that keeps sizes and sums alone.
func TestHugeUpload(t *testing.T) {
	gib, err := strconv.Atoi(os.Getenv("S3_UPLOAD_GIB"))
	if err != nil {
		gib = 6
	}
	size := int64(gib)<<30 + 4711
	sink := &sink{objects: map[string][]byte{}, sizes: map[string]int64{}, parts: map[int]int64{}}
	server := httptest.NewServer(sink)
	t.Cleanup(server.Close)
	s := open(t, config(t, &harness.Bucket{Endpoint: server.URL, Name: "blobs", Region: "us-east-1", AccessKey: "tester", SecretKey: "secret"}))
	freshPeak(t)
	began := time.Now()

	id, hash := storetest.ID("u"), sha256.New()
	must(t, s.CreateUpload(t.Context(), id, "", 1))
	end, err := s.Append(t.Context(), id, 0, io.TeeReader(io.LimitReader(&endless{}, size), hash), 1)
	must(t, err)
	if end != size {
		t.Fatalf("the offset is %d, not %d", end, size)
	}
	_, err = s.Finish(t.Context(), id, digest.NewDigest(digest.SHA256, hash))
	must(t, err)
	at, err := s.Publish(t.Context(), id)
	must(t, err)

	took := time.Since(began)
	if have := sink.size(at[0].Copy.String()); have != size {
		t.Errorf("the bucket has %d bytes, not %d", have, size)
	}
	peak := peakMemory(t)
	t.Logf("%d GiB in %d parts, %.0f MiB/s, %d MiB of memory at most", gib, len(sink.parts), float64(size>>20)/took.Seconds(), peak>>20)
	if peak > maxMemory {
		t.Errorf("%d MiB of memory were used, %d are allowed", peak>>20, maxMemory>>20)
	}
	if len(sink.parts) > 10_000 {
		t.Errorf("%d parts", len(sink.parts))
	}
}

// endless is a stream in which no two blocks are alike.
type endless struct {
	block [64 << 10]byte
	left  []byte
	count uint64
}

// Read reads.
func (e *endless) Read(p []byte) (int, error) {
	if len(e.left) == 0 {
		if e.count == 0 {
			copy(e.block[:], storetest.Bytes(1, len(e.block)))
		}
		e.count++
		binary.BigEndian.PutUint64(e.block[:], e.count)
		e.left = e.block[:]
	}
	n := copy(p, e.left)
	e.left = e.left[n:]
	return n, nil
}

// freshPeak forgets what the process has used up to now.
func freshPeak(t *testing.T) {
	t.Helper()
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Skipf("memory cannot be measured here: %v", err)
	}
}

// peakMemory is the most that has been in memory since.
func peakMemory(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			must(t, err)
			return kib << 10
		}
	}
	t.Fatal("the kernel does not say how much memory was used")
	return 0
}

// sink is an S3 server that keeps small objects, and of what is sent in parts only how much it was. It refuses a
// body that is not what its signed hash says.
type sink struct {
	mu      sync.Mutex
	objects map[string][]byte
	sizes   map[string]int64
	parts   map[int]int64
}

func (s *sink) size(copyID string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, size := range s.sizes {
		if strings.HasSuffix(key, copyID) {
			return size
		}
	}
	return -1
}

// ServeHTTP answers.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key, q := r.URL.Path, r.URL.Query()
	sum, kept := sha256.New(), new(bytes.Buffer)
	body := io.Writer(sum)
	if !q.Has("partNumber") {
		body = io.MultiWriter(sum, kept)
	}
	n, err := io.Copy(body, r.Body)
	if want := r.Header.Get("X-Amz-Content-Sha256"); err != nil || hex.EncodeToString(sum.Sum(nil)) != want {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, "<Error><Code>XAmzContentSHA256Mismatch</Code></Error>")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, there := s.sizes[key]
	switch {
	case r.Header.Get("If-None-Match") != "" && there:
		w.WriteHeader(http.StatusPreconditionFailed)
	case r.Method == http.MethodPut && q.Has("partNumber"):
		number, _ := strconv.Atoi(q.Get("partNumber"))
		s.parts[number] = n
		w.Header().Set("ETag", fmt.Sprintf("%q", hex.EncodeToString(sum.Sum(nil))))
	case r.Method == http.MethodPost && q.Has("uploads"):
		s.parts = map[int]int64{}
		_, _ = io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
	case r.Method == http.MethodPost:
		var list struct {
			Part []struct{ PartNumber int }
		}
		_ = xml.Unmarshal(kept.Bytes(), &list)
		s.sizes[key] = 0
		for _, p := range list.Part {
			s.sizes[key] += s.parts[p.PartNumber]
		}
		_, _ = io.WriteString(w, "<CompleteMultipartUploadResult/>")
	case r.Method == http.MethodPut:
		s.sizes[key], s.objects[key] = n, kept.Bytes()
	case r.Method == http.MethodDelete && !q.Has("uploadId"):
		delete(s.sizes, key)
		delete(s.objects, key)
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	case q.Has("list-type"):
		_, _ = io.WriteString(w, "<ListBucketResult/>")
	case !there:
		w.WriteHeader(http.StatusNotFound)
	default:
		w.Header().Set("Content-Length", strconv.FormatInt(s.sizes[key], 10))
		_, _ = w.Write(s.objects[key])
	}
}
