package kill_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// manner is how a client uploads a blob.
type manner int

// The manners.
const (
	monolithic manner = iota // POST, PUT with the whole body
	streamed                 // POST, PATCH with the whole body in pieces of unannounced number, PUT, as Docker does
	chunked                  // POST, PATCH with Content-Range for each chunk, PUT, with the last chunk now and then
	single                   // POST with the digest and the whole body
	manners
)

// String is the manner in the figures.
func (m manner) String() string { return [...]string{"monolithic", "streamed", "chunked", "single"}[m] }

// upload is one try to make a blob, from its POST on.
type upload struct {
	repo      string
	content   *content
	location  string
	offset    int64
	owners    map[*node]time.Time // who may own it: nodes that were sent its first bytes, and since when
	disturbed bool                // a request of it failed
}

// outcome is what became of a part of a push.
type outcome int

// The outcomes.
const (
	succeeded outcome = iota
	afresh            // the upload is lost or given up: begin another one
	failed            // a failure of the test, or its end
)

// pushBlob makes a blob be in a repository: looks whether it is, mounts it, or uploads it. Forced uploads
// what may be there.
func (w *worker) pushBlob(ctx context.Context, repo string, c *content, forced bool) bool {
	if !forced {
		there, ok := w.hasBlob(ctx, repo, c)
		if !ok || there {
			return ok
		}
		if from := w.ledger.source(w.rng, repo, c); from != "" && w.rng.IntN(4) > 0 {
			return w.mount(ctx, repo, from, c)
		}
	}
	m := manner(w.rng.IntN(int(manners)))
	if m == single && c.size > 1<<20 {
		m = streamed
	}
	w.figures.count("uploads begun", m.String())
	for t := new(tries); ; {
		switch w.tryUpload(ctx, t, repo, c, m) {
		case succeeded:
			w.ledger.acknowledged(repo, c)
			return true
		case afresh:
			w.figures.count("uploads begun", "again")
			if time.Since(t.since) > patience && !t.since.IsZero() {
				w.fail("an upload of %s does not succeed in %s", c.digest, patience)
				return false
			}
		case failed:
			return false
		}
	}
}

// hasBlob asks whether a blob is in a repository. What was acknowledged must be.
func (w *worker) hasBlob(ctx context.Context, repo string, c *content) (there, ok bool) {
	promised := w.ledger.has(repo, c)
	q := request{what: "HEAD blob", method: http.MethodHead, target: blobTarget(repo, c)}
	for t := new(tries); ; {
		r, err := w.send(ctx, q, w.waits())
		switch {
		case err != nil:
			return false, false
		case r.status == http.StatusOK && r.header.Get("Content-Length") == strconv.FormatInt(c.size, 10):
			return true, true
		case r.status == http.StatusNotFound && !promised:
			return false, true
		case r.status == http.StatusNotFound:
			w.fail("a blob that was acknowledged is not there: %s", r)
			return false, false
		case !w.again(ctx, t, r):
			return false, false
		}
	}
}

// mount makes a blob of another repository, where it was acknowledged, visible.
func (w *worker) mount(ctx context.Context, repo, from string, c *content) bool {
	q := request{what: "POST mount", method: http.MethodPost, target: "/v2/" + repo + "/blobs/uploads/?" +
		url.Values{"mount": {c.digest.String()}, "from": {from}}.Encode()}
	for t := new(tries); ; {
		r, err := w.send(ctx, q, w.waits())
		switch {
		case err != nil:
			return false
		case r.status == http.StatusCreated:
			w.ledger.acknowledged(repo, c)
			return true
		case !w.again(ctx, t, r):
			return false
		}
	}
}

// tryUpload uploads a blob in one manner.
func (w *worker) tryUpload(ctx context.Context, t *tries, repo string, c *content, m manner) outcome {
	u := &upload{repo: repo, content: c, owners: map[*node]time.Time{}}
	if m == single {
		return w.postBlob(ctx, t, u)
	}
	if o := w.begin(ctx, t, u); o != succeeded {
		return o
	}
	switch m {
	case streamed:
		if o := w.stream(ctx, t, u); o != succeeded {
			return o
		}
		return w.finish(ctx, t, u, 0)
	case chunked:
		last := int64(0) // with the PUT
		if w.rng.IntN(2) == 0 {
			last = w.rng.Int64N(min(c.size, 8<<20) + 1)
		}
		if o := w.chunks(ctx, t, u, c.size-last); o != succeeded {
			return o
		}
		return w.finish(ctx, t, u, last)
	default:
		return w.finish(ctx, t, u, c.size)
	}
}

// postBlob sends a whole blob in the POST.
func (w *worker) postBlob(ctx context.Context, t *tries, u *upload) outcome {
	q := request{what: "POST blob", method: http.MethodPost, target: "/v2/" + u.repo + "/blobs/uploads/?digest=" + u.content.digest.String()}
	q.body, q.length = w.body(ctx, u, u.content.size)
	r, err := w.send(ctx, q, w.waits())
	switch {
	case err != nil:
		return failed
	case r.status == http.StatusCreated:
		return w.stored(u, r, u.content.size)
	}
	w.undecided = true
	if !w.again(ctx, t, r) {
		return failed
	}
	return afresh
}

// begin sends the POST. Of a SHA-512 it says so now and then; else the registry learns it at the end.
func (w *worker) begin(ctx context.Context, t *tries, u *upload) outcome {
	q := request{what: "POST upload", method: http.MethodPost, target: "/v2/" + u.repo + "/blobs/uploads/"}
	if by := u.content.digest.Algorithm(); by != digest.Canonical && w.rng.IntN(2) == 0 {
		q.target += "?digest-algorithm=" + by.String()
	}
	r, err := w.send(ctx, q, w.waits())
	switch {
	case err != nil:
		return failed
	case r.status == http.StatusAccepted && r.header.Get("Location") != "":
		u.location = r.header.Get("Location")
		return succeeded
	case !w.again(ctx, t, r):
		return failed
	}
	return afresh
}

// stream sends all bytes in one PATCH; those that are missing after a failure, in another.
func (w *worker) stream(ctx context.Context, t *tries, u *upload) outcome {
	for u.offset < u.content.size {
		q := request{what: "PATCH stream", method: http.MethodPatch, target: u.location}
		q.body, q.length = w.body(ctx, u, u.content.size)
		if u.disturbed { // the rest must land where it belongs, or nowhere
			q.header = map[string]string{"Content-Range": fmt.Sprintf("%d-%d", u.offset, u.content.size-1)}
		} else {
			q.length = -1
		}
		if o := w.patch(ctx, t, u, q, u.content.size); o != succeeded {
			return o
		}
	}
	return succeeded
}

// chunks sends the bytes up to an end, each chunk in a PATCH.
func (w *worker) chunks(ctx context.Context, t *tries, u *upload, end int64) outcome {
	size := max(1, end/int64(1+w.rng.IntN(4)))
	for u.offset < end {
		to := min(end, u.offset+size)
		q := request{what: "PATCH chunk", method: http.MethodPatch, target: u.location, header: map[string]string{
			"Content-Range": fmt.Sprintf("%d-%d", u.offset, to-1), "Content-Type": "application/octet-stream",
		}}
		q.body, q.length = w.body(ctx, u, to)
		if o := w.patch(ctx, t, u, q, to); o != succeeded {
			return o
		}
	}
	return succeeded
}

// patch sends bytes up to an end. After a failure it asks how far the upload is, and returns succeeded too.
func (w *worker) patch(ctx context.Context, t *tries, u *upload, q request, to int64) outcome {
	from := u.offset
	r, err := w.sendPart(ctx, u, q)
	switch {
	case err != nil:
		return failed
	case r.status == http.StatusAccepted:
		w.figures.moved("MB pushed", to-from)
		if got := r.header.Get("Range"); got != rangeTo(to) {
			w.fail("an upload is not where it must be, at %s: %s", got, r)
			return failed
		}
		u.location, u.offset = r.header.Get("Location"), to
		*t = tries{}
		return succeeded
	case r.status == http.StatusRequestedRangeNotSatisfiable && u.disturbed:
		return w.resume(ctx, t, u)
	default:
		return w.disturb(ctx, t, u, r)
	}
}

// disturb decides how to go on after a request of an upload that failed: with the upload, or another one.
func (w *worker) disturb(ctx context.Context, t *tries, u *upload, r *reply) outcome {
	u.disturbed = true
	if r.status == http.StatusNotFound && strings.Contains(r.text, "BLOB_UPLOAD_UNKNOWN") && w.isLost(u) {
		w.figures.count("uploads begun", "again, as their owner was killed")
		return afresh
	}
	if !w.again(ctx, t, r) {
		return failed
	}
	if w.rng.IntN(3) == 0 || w.isLost(u) && t.count%4 == 0 {
		w.cancel(ctx, u)
		return afresh
	}
	return w.resume(ctx, t, u)
}

// isLost reports whether a node was killed that may have owned the upload.
func (w *worker) isLost(u *upload) bool {
	for n, since := range u.owners {
		if w.rack.killedSince(n, since) {
			return true
		}
	}
	return false
}

// resume asks how far an upload is.
func (w *worker) resume(ctx context.Context, t *tries, u *upload) outcome {
	r, err := w.send(ctx, request{what: "GET upload", method: http.MethodGet, target: u.location}, w.waits())
	switch {
	case err != nil:
		return failed
	case r.status == http.StatusNoContent:
	case r.status == http.StatusNotFound && w.isLost(u):
		w.figures.count("uploads begun", "again, as their owner was killed")
		return afresh
	case !w.again(ctx, t, r):
		return failed
	default:
		return w.resume(ctx, t, u)
	}
	text, dashed := strings.CutPrefix(r.header.Get("Range"), "0-")
	end, err := strconv.ParseInt(text, 10, 64)
	if !dashed || err != nil || end >= u.content.size {
		w.fail("an upload of %d bytes is at %q: %s", u.content.size, r.header.Get("Range"), r)
		return failed
	}
	if u.location = r.header.Get("Location"); u.location == "" {
		w.fail("the status of an upload has no Location: %s", r)
		return failed
	}
	if end == 0 { // no byte, or one: nobody can tell by the answer
		u.offset = 0
		w.figures.count("uploads resumed", "at the beginning")
		if w.rng.IntN(2) == 0 {
			return afresh
		}
		return succeeded
	}
	u.offset = end + 1
	w.figures.count("uploads resumed", "in the middle")
	return succeeded
}

// finish sends the last bytes, if there are any, and makes a blob of the upload.
func (w *worker) finish(ctx context.Context, t *tries, u *upload, last int64) outcome {
	for {
		q := request{what: "PUT blob", method: http.MethodPut, target: withDigest(u.location, u.content)}
		if last > 0 {
			q.what = "PUT blob, with bytes"
			q.body, q.length = w.body(ctx, u, u.content.size)
		}
		r, err := w.sendPart(ctx, u, q)
		switch {
		case err != nil:
			return failed
		case r.status == http.StatusCreated:
			return w.stored(u, r, last)
		case r.status == http.StatusNotFound && w.isLost(u):
			w.figures.count("uploads begun", "again, as their owner was killed")
			return afresh
		}
		u.disturbed, w.undecided = true, true
		if !w.again(ctx, t, r) {
			return failed
		}
		// A body that broke off is not sent again to the same upload; one that was taken and not stored is.
		if last > 0 && r.cut != nil || t.count > 2 && w.rng.IntN(4) == 0 {
			w.cancel(ctx, u)
			return afresh
		}
	}
}

// stored checks the answer that acknowledges a blob.
func (w *worker) stored(u *upload, r *reply, bytes int64) outcome {
	w.figures.moved("MB pushed", bytes)
	if got := r.header.Get("Docker-Content-Digest"); got != u.content.digest.String() {
		w.fail("a push of %s was acknowledged as %q: %s", u.content.digest, got, r)
		return failed
	}
	return succeeded
}

// cancel gives an upload up, as some clients do. Nothing depends on it.
func (w *worker) cancel(ctx context.Context, u *upload) {
	if w.rng.IntN(2) == 0 {
		_, _ = w.send(ctx, request{what: "DELETE upload", method: http.MethodDelete, target: u.location}, false)
	}
}

// sendPart sends a request of an upload, and notes who may own it from now on.
func (w *worker) sendPart(ctx context.Context, u *upload, q request) (*reply, error) {
	l, err := w.rack.pick(ctx)
	if err != nil {
		return nil, err
	}
	if _, known := u.owners[l.node]; !known && u.offset == 0 {
		u.owners[l.node] = time.Now()
	}
	return w.sendTo(ctx, l, q, w.waits()), nil
}

// body is the content from where the upload is, to an end; large ones take their time now and then, so that
// more is cut in the middle.
func (w *worker) body(ctx context.Context, u *upload, to int64) (io.Reader, int64) {
	n := to - u.offset
	return w.slowly(ctx, io.LimitReader(u.content.from(u.offset), n), n), n
}

// rangeTo is how an upload's answers name its first bytes.
func rangeTo(end int64) string { return fmt.Sprintf("0-%d", max(0, end-1)) }

func blobTarget(repo string, c *content) string { return "/v2/" + repo + "/blobs/" + c.digest.String() }

func withDigest(location string, c *content) string {
	separator := "?"
	if strings.Contains(location, "?") {
		separator = "&"
	}
	return location + separator + "digest=" + url.QueryEscape(c.digest.String())
}

// slowly is a reader that takes up to 4 s for a large body.
func (w *worker) slowly(ctx context.Context, from io.Reader, size int64) io.Reader {
	if size < 1<<20 || w.rng.IntN(2) == 0 {
		return from
	}
	return paced(ctx, w.rng, from, size)
}

func paced(ctx context.Context, rng *rand.Rand, from io.Reader, size int64) io.Reader {
	return &slow{ctx: ctx, Reader: from, pause: time.Duration(rng.Int64N(int64(4*time.Second))) * slowStep / time.Duration(size)}
}

// slowStep is after how many bytes a slow reader pauses.
const slowStep = 256 << 10

type slow struct {
	io.Reader
	ctx   context.Context //nolint:containedctx // a reader has no other way to end early
	pause time.Duration
	left  int
}

// Read reads, and pauses after each step.
func (s *slow) Read(p []byte) (int, error) {
	if s.left <= 0 {
		wait(s.ctx, s.pause)
		s.left = slowStep
	}
	n, err := s.Reader.Read(p[:min(len(p), s.left)])
	s.left -= n
	return n, err
}
