package record

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/auth"
)

// Config says what a Writer writes, and where to.
type Config struct {
	Log     hclog.Logger
	Audit   hclog.Logger           // nil: there is none
	Proxies auth.Proxies           // whom to believe for whom they send a request
	Minor   func(path string) bool // whose lines would drown the others: they are for debugging; nil: there are none
}

// Writer writes the lines of requests, under the names that zot has for what is in them.
type Writer struct{ config Config }

// New returns a Writer.
func New(c Config) *Writer {
	if c.Minor == nil {
		c.Minor = func(string) bool { return false }
	}
	return &Writer{c}
}

// Around has next answer what clients send.
func (w *Writer) Around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		level := hclog.Info
		if w.config.Minor(r.URL.Path) {
			level = hclog.Debug
		}
		w.serve(next, out, r, &Record{ID: idOf(r), Client: w.client(r)}, level)
	})
}

// headerClient says to another node who has sent a request.
const headerClient = "X-Zot-Client"

// AroundForwarded has next answer what other nodes send on for their clients. Those have written the client's line, so
// this is for debugging; what has changed something is in the audit of both.
func (w *Writer) AroundForwarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		w.serve(next, out, r, &Record{ID: idOf(r), Client: r.Header.Get(headerClient)}, hclog.Debug, "forwarded", true)
	})
}

// SendOn tells another node of the request that it is to answer, in the headers h, whatever the client has sent there.
func (r *Record) SendOn(h http.Header) {
	h.Set(HeaderID, r.ID)
	h.Set(headerClient, r.Client)
}

func (w *Writer) client(r *http.Request) string {
	if len(w.config.Proxies) == 0 {
		return r.RemoteAddr
	}
	if client := w.config.Proxies.Client(r); client != auth.Proxies(nil).Client(r) {
		return client.String()
	}
	return r.RemoteAddr
}

// serve has next answer, and writes the lines, also of what is broken off.
func (w *Writer) serve(next http.Handler, out http.ResponseWriter, r *http.Request, rec *Record, level hclog.Level, more ...any) {
	out.Header().Set(HeaderID, rec.ID)
	counted := &counter{ResponseWriter: out}
	r = r.WithContext(with(r.Context(), rec))
	line := line{Record: rec, method: r.Method, url: *r.URL, began: time.Now(), more: more}
	whole := false
	defer func() {
		line.status, line.bytes, line.broken = counted.status, counted.bytes, !whole || counted.failed || r.Context().Err() != nil && counted.isError()
		if line.status == 0 && whole {
			line.status = http.StatusOK // as net/http says when nobody has said anything
		}
		if line.method == http.MethodHead {
			line.bytes = 0 // net/http passes over them
		}
		w.log(level, line, r.Header)
		w.audit(line)
	}()
	next.ServeHTTP(counted, r)
	whole = true
}

// line is what is said of a request.
type line struct {
	*Record
	method string
	url    url.URL // as it came
	began  time.Time
	status int // 0: none was sent
	bytes  int64
	broken bool // whoever sent the request has not got all of the answer, as far as is known
	more   []any
}

// log writes the line of a request.
func (w *Writer) log(level hclog.Level, l line, h http.Header) {
	if level < w.config.Log.GetLevel() {
		return
	}
	fields := append([]any{
		"request_id", l.ID, "clientIP", l.Client, "method", l.method, "path", pathOf(&l.url), "statusCode", l.status,
		"latency", time.Since(l.began).String(), "bodySize", l.bytes, "headers", headersOf(h), "username", l.name,
	}, l.more...)
	if l.broken {
		fields = append(fields, "aborted", true)
	}
	w.config.Log.Log(level, "HTTP API", fields...)
}

// audit writes the line of a request that has changed something, or may have.
func (w *Writer) audit(l line) {
	if w.config.Audit == nil {
		return
	}
	switch l.method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		return
	}
	switch l.status {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted:
	default:
		return
	}
	subject := l.name
	if subject == "" {
		subject = "anonymous"
	}
	w.config.Audit.Info("HTTP API Audit", append([]any{
		"request_id", l.ID, "clientIP", l.Client, "subject", subject, "action", l.method, "object", pathOf(&l.url), "status", l.status,
	}, l.more...)...)
}

// counter is a ResponseWriter that knows what was sent.
type counter struct {
	http.ResponseWriter
	status int
	bytes  int64
	failed bool // not all could be sent
}

// isError reports whether the request came to no good end.
func (c *counter) isError() bool { return c.status == 0 || c.status >= http.StatusBadRequest }

// WriteHeader notes the status, unless it only says that there will be one.
func (c *counter) WriteHeader(status int) {
	if c.status == 0 && (status >= http.StatusOK || status == http.StatusSwitchingProtocols) {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

// Write counts.
func (c *counter) Write(b []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	n, err := c.ResponseWriter.Write(b)
	c.bytes, c.failed = c.bytes+int64(n), c.failed || err != nil && !errors.Is(err, http.ErrBodyNotAllowed)
	return n, err
}

// Unwrap is for http.ResponseController, which flushes and sets deadlines.
func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// Hijack is for whoever takes the connection over: what goes over it then is not counted.
func (c *counter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(c.ResponseWriter).Hijack()
	if err == nil && c.status == 0 {
		c.status = http.StatusSwitchingProtocols
	}
	return conn, rw, err
}
