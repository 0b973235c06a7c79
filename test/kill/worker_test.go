package kill_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// repositories are those that the workers use.
func repositories() []string { return []string{"kill/a", "kill/b", "kill/c"} }

// tags are those of each repository.
func tags() []string { return []string{"t0", "t1", "t2", "t3", "t4"} }

// worker is one client.
type worker struct {
	*bout
	id    int
	rng   *rand.Rand
	hasty bool // never waits for a node that is stopped

	undecided bool // a request to store or to delete a blob got no answer: it may take effect at any time later
}

// waits draws whether the client waits for a node that is stopped, or gives up.
func (w *worker) waits() bool { return !w.hasty && w.rng.IntN(2) == 0 }

// work does one thing after the other until the load ends. What is begun is finished.
func (w *worker) work(ctx context.Context) {
	for ctx.Err() == nil && !w.isOver() {
		w.one(ctx)
		wait(ctx, time.Duration(w.rng.IntN(100))*time.Millisecond)
	}
}

// one does one thing.
func (w *worker) one(ctx context.Context) {
	repo, tag := w.someTag()
	old := w.gallery.someImage(w.rng)
	draw := w.rng.IntN(100)
	switch {
	case draw < 25 || old == nil:
		w.push(ctx, "pushes of new images", repo, w.gallery.newImage(w.rng), tag, false)
	case draw < 45: // it is there, or in another repository, or it was deleted
		w.push(ctx, "pushes of old images", repo, old, tag, false)
	case draw < 52:
		w.push(ctx, "pushes of old images", repo, old, tag, true)
	case draw < 57:
		w.delete(ctx, &operation{key: key{repo, tag}, call: call{action: remove}})
	case draw < 61:
		w.delete(ctx, &operation{key: key{repo, old.digest.String()}, call: call{action: remove, value: old.number}})
	case draw < 64:
		w.deleteBlob(ctx, repo)
	case draw < 65:
		w.deleteUsed(ctx)
	case draw < 67:
		w.abandon(ctx, repo)
	default:
		w.pullTag(ctx, repo, tag)
	}
}

func (w *worker) someTag() (repo, tag string) {
	return repositories()[w.rng.IntN(len(repositories()))], tags()[w.rng.IntN(len(tags()))]
}

// push makes an image be in a repository under a tag. Forced uploads blobs that are there already, too: their old
// copies go then, also from under those who read them.
func (w *worker) push(ctx context.Context, what, repo string, img *image, tag string, forced bool) {
	if !w.pushParts(ctx, repo, img, forced) {
		return
	}
	more := []string{tag}
	if w.rng.IntN(8) == 0 {
		_, other := w.someTag()
		more = append(more, other)
	}
	if w.putManifest(ctx, repo, img, more...) {
		w.figures.count(what, "done")
	}
}

// pushParts pushes what a manifest names.
func (w *worker) pushParts(ctx context.Context, repo string, img *image, forced bool) bool {
	for _, c := range img.blobs {
		if !w.pushBlob(ctx, repo, c, forced && (c.size < 4<<20 || w.rng.IntN(2) == 0)) {
			return false
		}
	}
	for _, p := range img.parts {
		if !w.pushParts(ctx, repo, p, forced) || !w.putManifest(ctx, repo, p) {
			return false
		}
	}
	return true
}

// putManifest puts the manifest of an image whose blobs are there: one tag in the path, or the digest with
// tags beside it, if there are any.
func (w *worker) putManifest(ctx context.Context, repo string, img *image, names ...string) bool {
	target := "/v2/" + repo + "/manifests/" + img.digest.String()
	switch len(names) {
	case 0:
	case 1:
		target = "/v2/" + repo + "/manifests/" + names[0]
	default:
		target += "?" + url.Values{"tag": names}.Encode()
	}
	what := "PUT manifest"
	if img.isLarge() {
		what = "PUT manifest, a large one"
	}
	for t := new(tries); ; {
		q := request{
			what: what, method: http.MethodPut, target: target, header: map[string]string{"Content-Type": img.mediaType},
			body: strings.NewReader(string(img.manifest)), length: int64(len(img.manifest)),
		}
		r, err := w.send(ctx, q, w.waits())
		if err != nil {
			return false
		}
		o := w.operation(r, key{repo, img.digest.String()}, call{put, img.number})
		if r.status == http.StatusCreated {
			o.verdict = done
		} else {
			o.ended, o.note = forever, noteOf(r)
		}
		w.history.add(o)
		for _, name := range names {
			one := *o
			one.name = name
			w.history.add(&one)
		}
		switch {
		case r.status == http.StatusCreated && r.header.Get("Docker-Content-Digest") == img.digest.String():
			w.ledger.put(img)
			return true
		case !w.again(ctx, t, r):
			return false
		}
	}
}

// operation is what the history knows of a request and its reply so far.
func (w *worker) operation(r *reply, k key, c call) *operation {
	return &operation{
		key: k, call: c, client: w.id, node: r.life.node.name, began: r.began.Sub(w.began), ended: r.ended.Sub(w.began), stale: r.isStale(),
	}
}

// noteOf is what a printed history says of a reply that did not decide anything.
func noteOf(r *reply) string {
	if r.cut != nil {
		return fmt.Sprintf(" (cut: %v)", r.cut)
	}
	return fmt.Sprintf(" (%d, request %s)", r.status, r.header.Get("X-Request-Id"))
}

// delete deletes a tag, or a manifest by digest.
func (w *worker) delete(ctx context.Context, as *operation) {
	target := "/v2/" + as.repo + "/manifests/" + as.name
	record, what := w.history.add, "DELETE tag"
	if as.value != 0 {
		record, what = w.history.deleted, "DELETE manifest"
	}
	for t := new(tries); ; {
		r, err := w.send(ctx, request{what: what, method: http.MethodDelete, target: target}, w.waits())
		if err != nil {
			return
		}
		o := w.operation(r, as.key, as.call)
		switch r.status {
		case http.StatusAccepted:
			o.verdict = done
		case http.StatusNotFound:
			o.verdict = refused
		default:
			o.ended, o.note = forever, noteOf(r)
		}
		record(o)
		if o.verdict != unknown || !w.again(ctx, t, r) {
			return
		}
	}
}

// pullTag pulls what a tag names, each request from the node whose turn it is, as a client behind a load
// balancer does.
func (w *worker) pullTag(ctx context.Context, repo, tag string) {
	method := http.MethodGet
	if w.rng.IntN(4) == 0 {
		method = http.MethodHead
	}
	saw, ok := w.readManifest(ctx, method, key{repo, tag})
	if !ok || saw == 0 {
		return
	}
	img := w.gallery.image(saw)
	if w.rng.IntN(2) == 0 {
		w.readManifest(ctx, http.MethodGet, key{repo, img.digest.String()})
	}
	if w.pullParts(ctx, repo, img) {
		w.figures.count("pulls of images", map[bool]string{false: "done", true: "done, of an index"}[len(img.parts) > 0])
	}
}

// pullParts pulls what a manifest names: all of it is there, whatever became of the manifest meanwhile.
func (w *worker) pullParts(ctx context.Context, repo string, img *image) bool {
	for _, c := range img.blobs {
		if c.size > 8<<20 && w.rng.IntN(3) == 0 {
			continue // the machine has other things to do, too
		}
		if !w.pullBlob(ctx, repo, c) {
			return false
		}
	}
	for _, p := range img.parts {
		saw, ok := w.readManifest(ctx, http.MethodGet, key{repo, p.digest.String()})
		if ok && saw == 0 {
			w.fail("%s lists %s in %s, which is not there", img.digest, p.digest, repo)
		}
		if saw == 0 || !w.pullParts(ctx, repo, p) {
			return false
		}
	}
	return true
}

// readManifest reads what a tag names, or whether a manifest is there; ok is false if there was no answer.
func (w *worker) readManifest(ctx context.Context, method string, k key) (saw value, ok bool) {
	byDigest := strings.Contains(k.name, ":")
	what := method + " manifest by tag"
	if byDigest {
		what = method + " manifest by digest"
	}
	q := request{what: what, method: method, target: "/v2/" + k.repo + "/manifests/" + k.name, header: map[string]string{
		"Accept": ocispec.MediaTypeImageManifest + ", " + ocispec.MediaTypeImageIndex,
	}}
	r := w.pull(ctx, q, w.waits())
	if r == nil {
		return 0, false
	}
	return w.readReply(r, k, read)
}

// readReply records what a reply says of a register.
func (w *worker) readReply(r *reply, k key, as action) (saw value, ok bool) {
	o := w.operation(r, k, call{action: as})
	o.verdict = done
	switch r.status {
	case http.StatusOK:
		saw, ok = w.recognise(r)
		if !ok {
			w.fail("a manifest that is not one of ours: %s", r)
			return 0, false
		}
		o.saw = saw
		if o.stale {
			w.figures.count(r.what, "stale")
		}
	case http.StatusNotFound:
		if o.stale {
			w.fail("not found, from old state: %s", r)
		}
	case http.StatusServiceUnavailable:
		o.note = noteOf(r)
		w.history.doubt(o)
		return 0, false
	default:
		w.fail("a pull failed: %s", r)
		return 0, false
	}
	w.history.add(o)
	return saw, true
}

// recognise returns the image whose manifest was answered, if all of the answer says so.
func (w *worker) recognise(r *reply) (value, bool) {
	d := digest.Digest(r.header.Get("Docker-Content-Digest"))
	number, ours := w.gallery.numberOf(d)
	if !ours || r.header.Get("Content-Type") != w.gallery.image(number).mediaType {
		return 0, false
	}
	want := w.gallery.image(number).manifest
	if r.header.Get("Content-Length") != fmt.Sprint(len(want)) {
		return 0, false
	}
	return number, r.method == http.MethodHead || r.text == string(want) && json.Valid([]byte(r.text))
}

// pullBlob pulls a blob that must be there, all of it or a part.
func (w *worker) pullBlob(ctx context.Context, repo string, c *content) bool {
	q := request{what: "GET blob", method: http.MethodGet, target: blobTarget(repo, c)}
	offset, end, want := int64(0), c.size, http.StatusOK
	if w.rng.IntN(3) == 0 {
		offset = w.rng.Int64N(c.size)
		end = offset + 1 + w.rng.Int64N(c.size-offset)
		q.what, want = "GET blob, a range", http.StatusPartialContent
		q.header = map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", offset, end-1)}
	}
	q.sink = func(body io.Reader) error {
		n, err := compare(w.slowly(ctx, body, end-offset), c, offset, end)
		w.figures.moved("MB pulled", n)
		return err
	}
	r := w.pull(ctx, q, w.waits())
	if r != nil && r.status != want {
		w.fail("a pull failed of what was acknowledged: %s", r)
		return false
	}
	return r != nil
}

// compare reads what must be a part of a content, and no byte more. Its error is a *wrongError for other
// bytes.
func compare(body io.Reader, c *content, offset, end int64) (n int64, err error) {
	var got, want [pageSize]byte
	for at := offset; at < end; {
		part := min(pageSize-at%pageSize, end-at)
		m, err := io.ReadFull(body, got[:part])
		n += int64(m)
		_, _ = c.ReadAt(want[:m], at) // within its size
		if string(got[:m]) != string(want[:m]) {
			return n, &wrongError{fmt.Sprintf("other bytes than were pushed, in the page at %d of %d", at, c.size)}
		}
		if err != nil {
			return n, fmt.Errorf("after %d of %d bytes: %w", at-offset+int64(m), end-offset, err)
		}
		at += part
	}
	if m, err := body.Read(got[:1]); m > 0 || err != io.EOF {
		return n, &wrongError{fmt.Sprintf("more bytes than %d: %v", end-offset, err)}
	}
	return n, nil
}
