package record_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/api/record"
	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/blobstore"
)

// written is what a Writer has written.
type written struct {
	*record.Writer
	log, audit bytes.Buffer
}

func newWritten(level hclog.Level) *written {
	w := &written{}
	logger := func(out io.Writer, level hclog.Level) hclog.Logger {
		return hclog.New(&hclog.LoggerOptions{Name: "http", Level: level, Output: out, JSONFormat: true})
	}
	w.Writer = record.New(record.Config{
		Log: logger(&w.log, level), Audit: logger(&w.audit, hclog.Info), Proxies: auth.Proxies{netip.MustParsePrefix("192.0.2.1/32")},
		Minor: func(path string) bool { return path == "/livez" },
	})
	return w
}

// said is a line of a log.
type said map[string]any

func lines(t *testing.T, text *bytes.Buffer) (all []said) {
	t.Helper()
	for line := range strings.Lines(text.String()) {
		var s said
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, s)
	}
	return all
}

// one is the only line.
func one(t *testing.T, text *bytes.Buffer) said {
	t.Helper()
	all := lines(t, text)
	if len(all) != 1 {
		t.Fatalf("%d lines:\n%s", len(all), text)
	}
	return all[0]
}

func request(t *testing.T, method, path string, header ...string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody)
	r.RemoteAddr = "198.51.100.7:1234"
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	return r
}

// answering answers as alice.
func answering(status int, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		record.Of(r).By("alice")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

// last is a recorder of the last status, which is the answer's.
type last struct{ *httptest.ResponseRecorder }

func (l last) WriteHeader(status int) {
	if status >= http.StatusOK {
		l.ResponseRecorder.WriteHeader(status)
	}
}

// A line has all that zot's has, under the same names, and the id that the answer and the context have.
func TestLine(t *testing.T) {
	t.Parallel()
	w := newWritten(hclog.Info)
	var inside string
	out := httptest.NewRecorder()
	w.Around(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inside = blobstore.RequestID(r.Context())
		w.WriteHeader(http.StatusProcessing)
		answering(http.StatusAccepted, "four").ServeHTTP(w, r)
	})).ServeHTTP(last{out}, request(t, "PATCH", "/v2/a/b/blobs/uploads/x?n=1", "User-Agent: docker"))
	l, id := one(t, &w.log), out.Header().Get("X-Request-Id")
	for key, want := range map[string]any{
		"@message": "HTTP API", "@level": "info", "@module": "http", "clientIP": "198.51.100.7:1234", "method": "PATCH", "path": "/v2/a/b/blobs/uploads/x?n=1",
		"statusCode": 202.0, "bodySize": 4.0, "username": "alice", "request_id": id,
	} {
		if l[key] != want {
			t.Errorf("%s is %v, want %v", key, l[key], want)
		}
	}
	if latency, _ := l["latency"].(string); !strings.HasSuffix(latency, "s") || l["headers"].(map[string]any)["User-Agent"] == nil || l["aborted"] != nil {
		t.Errorf("%v", l)
	}
	a := one(t, &w.audit)
	for key, want := range map[string]any{
		"@message": "HTTP API Audit", "clientIP": "198.51.100.7:1234", "subject": "alice", "action": "PATCH", "object": "/v2/a/b/blobs/uploads/x?n=1", "status": 202.0, "request_id": id,
	} {
		if a[key] != want {
			t.Errorf("audit: %s is %v, want %v", key, a[key], want)
		}
	}
	if id == "" || inside != id {
		t.Errorf("the id is %q, %q inside", id, inside)
	}
}

// The audit has what has changed something.
func TestWhatIsAudited(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		method string
		status int
		want   bool
	}{
		{"POST", 202, true},
		{"PUT", 201, true},
		{"PATCH", 202, true},
		{"DELETE", 202, true},
		{"POST", 200, true},
		{"GET", 200, false},
		{"HEAD", 200, false},
		{"OPTIONS", 200, false},
		{"DELETE", 204, false},
		{"PUT", 307, false},
		{"PUT", 401, false},
		{"PUT", 500, false},
	} {
		w := newWritten(hclog.Info)
		w.Around(answering(test.status, "")).ServeHTTP(httptest.NewRecorder(), request(t, test.method, "/v2/"))
		if got := w.audit.Len() > 0; got != test.want {
			t.Errorf("%s that ended %d is audited: %t", test.method, test.status, got)
		}
	}
	w := newWritten(hclog.Info)
	nobody := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) })
	w.Around(nobody).ServeHTTP(httptest.NewRecorder(), request(t, "PUT", "/v2/"))
	if l := one(t, &w.audit); l["subject"] != "anonymous" {
		t.Errorf("subject %v", l["subject"])
	}
}

// No client can write a line of its own, nor end one of ours early.
func TestForgedLines(t *testing.T) {
	t.Parallel()
	const forged = "x\n{\"@message\":\"HTTP API Audit\",\"subject\":\"admin\"}\r\n\"}\u2028\x00\xff"
	w := newWritten(hclog.Info)
	r := request(t, "PUT", "/v2/")
	r.URL.Path, r.URL.RawQuery = "/v2/"+forged, forged
	r.Header["User-Agent"], r.Header[forged] = []string{forged}, []string{forged}
	r.Header["X-Request-Id"] = []string{forged}
	w.Around(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		record.Of(r).By(forged)
		w.WriteHeader(http.StatusCreated)
	})).ServeHTTP(httptest.NewRecorder(), r)
	if l := one(t, &w.log); !strings.HasPrefix(l["username"].(string), "x\n{") || len(l["request_id"].(string)) != 16 {
		t.Errorf("%v", l)
	}
	if l := one(t, &w.audit); !strings.HasPrefix(l["subject"].(string), "x\n{") {
		t.Errorf("%v", l)
	}
}

// An id of a client's is taken over if it is one.
func TestRequestIDs(t *testing.T) {
	t.Parallel()
	for given, taken := range map[string]bool{
		"":                      false,
		"1234567":               false,
		"12345678":              true,
		"a.B-c_9.":              true,
		strings.Repeat("a", 64): true,
		strings.Repeat("a", 65): false,
		"with a space":          false,
		"quote\"quote":          false,
		"umlaut-ä-umlaut":       false,
		"../../../etc/passwd":   false,
	} {
		w := newWritten(hclog.Info)
		out := httptest.NewRecorder()
		w.Around(answering(200, "")).ServeHTTP(out, request(t, "GET", "/", "X-Request-Id: "+given))
		if id := out.Header().Get("X-Request-Id"); (id == given) != taken || id == "" {
			t.Errorf("%q becomes %q", given, id)
		}
	}
}

// Whoever is behind a trusted proxy is named; what others say of themselves is not believed.
func TestClientOfLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ remote, forwarded, want string }{
		{"198.51.100.7:1234", "", "198.51.100.7:1234"},
		{"198.51.100.7:1234", "203.0.113.9", "198.51.100.7:1234"},
		{"192.0.2.1:99", "203.0.113.9", "203.0.113.9"},
		{"192.0.2.1:99", "10.9.9.9, 203.0.113.9", "203.0.113.9"},
		{"192.0.2.1:99", "nonsense", "192.0.2.1:99"},
	} {
		w := newWritten(hclog.Info)
		r := request(t, "GET", "/", "X-Forwarded-For: "+test.forwarded)
		r.RemoteAddr = test.remote
		w.Around(answering(200, "")).ServeHTTP(httptest.NewRecorder(), r)
		if l := one(t, &w.log); l["clientIP"] != test.want {
			t.Errorf("%s for %q is %v, want %s", test.remote, test.forwarded, l["clientIP"], test.want)
		}
	}
}

// Whatever becomes of a request, it has its line.
func TestBrokenRequests(t *testing.T) {
	t.Parallel()
	takes := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	for name, test := range map[string]struct {
		handler    http.HandlerFunc
		gone, deaf bool // the client is
		status     float64
		aborted    bool
	}{
		"says nothing":            {handler: func(http.ResponseWriter, *http.Request) {}, status: 200},
		"panics":                  {handler: func(http.ResponseWriter, *http.Request) { panic("fault") }, aborted: true},
		"breaks off":              {handler: func(w http.ResponseWriter, r *http.Request) { takes(http.StatusOK)(w, r); panic(http.ErrAbortHandler) }, status: 200, aborted: true},
		"client goes, is told":    {handler: takes(http.StatusBadRequest), gone: true, status: 400, aborted: true},
		"client goes, has it all": {handler: takes(http.StatusOK), gone: true, status: 200},
		"client takes no more":    {handler: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")) }, deaf: true, status: 200, aborted: true},
		"is taken over":           {handler: func(w http.ResponseWriter, _ *http.Request) { _, _, _ = http.NewResponseController(w).Hijack() }, deaf: true, status: 101},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWritten(hclog.Info)
			out := http.ResponseWriter(httptest.NewRecorder())
			if test.deaf {
				out = deaf{out}
			}
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			if test.gone {
				leave()
			}
			r := request(t, "PUT", "/v2/").WithContext(ctx)
			func() {
				defer func() { _ = recover() }()
				w.Around(test.handler).ServeHTTP(out, r)
			}()
			l := one(t, &w.log)
			if aborted, _ := l["aborted"].(bool); l["statusCode"] != test.status || aborted != test.aborted {
				t.Errorf("%v, want %v and aborted %t", l, test.status, test.aborted)
			}
		})
	}
}

// deaf is a client that takes nothing.
type deaf struct{ http.ResponseWriter }

func (deaf) Write([]byte) (int, error) { return 0, errors.New("connection reset") }

func (deaf) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, nil }

// A panic goes on to whoever answers for it.
func TestPanicGoesOn(t *testing.T) {
	t.Parallel()
	defer func() {
		if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // as net/http compares it
			t.Errorf("recovered %v", p)
		}
	}()
	newWritten(hclog.Info).Around(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })).ServeHTTP(httptest.NewRecorder(), request(t, "GET", "/"))
	t.Error("the request goes on as if it were answered")
}

// What is asked for all the time, and what another node has a line for, is for debugging.
func TestLevelsOfLines(t *testing.T) {
	t.Parallel()
	for level, want := range map[hclog.Level]int{hclog.Debug: 3, hclog.Info: 1, hclog.Warn: 0, hclog.Off: 0} {
		w := newWritten(level)
		w.Around(answering(200, "")).ServeHTTP(httptest.NewRecorder(), request(t, "GET", "/v2/"))
		w.Around(answering(200, "")).ServeHTTP(httptest.NewRecorder(), request(t, "GET", "/livez"))
		w.AroundForwarded(answering(200, "")).ServeHTTP(httptest.NewRecorder(), request(t, "GET", "/v2/"))
		if got := len(lines(t, &w.log)); got != want {
			t.Errorf("at %s: %d lines, want %d", level, got, want)
		}
	}
}

// The node that answers for another has the client's line of the audit, too.
func TestForwardedLine(t *testing.T) {
	t.Parallel()
	here, there := newWritten(hclog.Info), newWritten(hclog.Info)
	next := there.AroundForwarded(answering(http.StatusCreated, ""))
	sent := request(t, "PUT", "/v2/", "X-Zot-Client: 10.1.1.1:1") // as the client would have it
	sent.RemoteAddr = "10.0.0.2:7373"
	here.Around(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		record.Of(r).By("alice")
		record.Of(r).SendOn(sent.Header)
		next.ServeHTTP(w, sent)
	})).ServeHTTP(httptest.NewRecorder(), request(t, "PUT", "/v2/"))
	a, b := one(t, &here.audit), one(t, &there.audit)
	for _, key := range []string{"request_id", "clientIP", "subject", "object", "status"} {
		if a[key] != b[key] || a[key] == "" {
			t.Errorf("%s is %v here, %v there", key, a[key], b[key])
		}
	}
	if a["forwarded"] != nil || b["forwarded"] != true {
		t.Errorf("forwarded is %v here, %v there", a["forwarded"], b["forwarded"])
	}
}

// Who flushes, or sets deadlines, reaches the connection.
func TestStreaming(t *testing.T) {
	t.Parallel()
	out := httptest.NewRecorder()
	newWritten(hclog.Info).Around(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	})).ServeHTTP(out, request(t, "GET", "/"))
	if !out.Flushed {
		t.Error("nothing was flushed")
	}
}

// BenchmarkLine is what the lines of a request cost, beside the bare handler.
func BenchmarkLine(b *testing.B) {
	bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	r := httptest.NewRequestWithContext(b.Context(), http.MethodHead, "/v2/team/app/manifests/v1", http.NoBody)
	for name, value := range map[string]string{"Authorization": "Bearer x", "User-Agent": "containerd/2.0", "Accept": "application/vnd.oci.image.manifest.v1+json", "Accept-Encoding": "gzip"} {
		r.Header.Set(name, value)
	}
	logger := func(level hclog.Level) hclog.Logger {
		return hclog.New(&hclog.LoggerOptions{Level: level, Output: io.Discard, JSONFormat: true, IncludeLocation: true})
	}
	for name, h := range map[string]http.Handler{
		"bare":    bare,
		"silent":  record.New(record.Config{Log: logger(hclog.Warn)}).Around(bare),
		"logging": record.New(record.Config{Log: logger(hclog.Info)}).Around(bare),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	}
}
