package gcrace_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// repositories are those that the workers use.
func repositories() []string { return []string{"race/a", "race/b", "race/c", "race/d"} }

// enough is how many manifests there are, beyond which more are deleted than pushed.
const enough = 120

// worker is one client.
type worker struct {
	*race
	rng   *rand.Rand
	again bool // something of the push under way had to be repeated
}

func (r *race) worker(name string) *worker { return &worker{race: r, rng: r.random(name)} }

// work does one thing after the other until the load ends. What is begun is finished.
func (w *worker) work(ctx context.Context) {
	for ctx.Err() == nil && !w.over.Load() {
		w.one(ctx)
		wait(ctx, time.Duration(w.rng.IntN(30))*time.Millisecond)
	}
}

// one does one thing.
func (w *worker) one(ctx context.Context) {
	if f, due := w.fading.due(time.Now()); due {
		w.revive(ctx, f)
		return
	}
	known := w.shelves.count()
	h, some := w.shelves.some(w.rng)
	draw := w.rng.IntN(100)
	switch {
	case !some || draw < 40 && known < enough || draw < 15:
		w.push(ctx, w.someRepository(), w.gallery.some(w.rng))
	case draw < 45: // the same image in another repository, from where its blobs can be mounted
		w.push(ctx, w.someRepository(), h.image)
	case draw < 75:
		w.delete(ctx, h)
	case draw < 80:
		w.deleteTag(ctx, w.someRepository(), w.someTag())
	default:
		w.pull(ctx, h)
	}
}

func (w *worker) someRepository() string { return repositories()[w.rng.IntN(len(repositories()))] }

func (w *worker) someTag() string { return fmt.Sprintf("t%d", w.rng.IntN(6)) }

// push makes an image be in a repository, and begins again with its blobs when their promises ran out before
// its manifest came.
func (w *worker) push(ctx context.Context, repo string, img *image) {
	w.again = false
	h := held{repo, img}
	for began := time.Now(); ; w.again = true {
		if w.pushBlobs(ctx, repo, img) && w.putManifest(ctx, h) {
			w.figures.count("pushes", "done")
			if !w.again {
				w.figures.count("pushes", "at the first try")
			}
			return
		}
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > 2*patience {
			w.fail("a push does not succeed in %s: %s to %s", 2*patience, img.digest, repo)
			return
		}
	}
}

// pushBlobs makes all blobs of an image be there, and dawdles then as some clients do: mostly not at all, now
// and then until shortly before the first promise is over, and beyond.
func (w *worker) pushBlobs(ctx context.Context, repo string, img *image) bool {
	forced := w.rng.IntN(8) == 0 // the client does not ask whether they are there
	first := time.Time{}         // when the first promise was asked for
	for _, c := range img.blobs {
		began := time.Now()
		if first.IsZero() {
			first = began
		}
		if !w.pushBlob(ctx, repo, c, forced) {
			return false
		}
	}
	switch w.rng.IntN(20) {
	case 0, 1, 2, 3, 4, 5:
		wait(ctx, time.Until(first.Add(half-time.Duration(50+w.rng.IntN(700))*time.Millisecond)))
	case 6:
		wait(ctx, time.Duration(w.rng.Int64N(int64(2*lease))))
	}
	return ctx.Err() == nil
}

// ask sends a request of a push until it is decided.
func (w *worker) ask(ctx context.Context, q request) *reply {
	r, again := w.decided(ctx, q)
	w.again = w.again || again
	return r
}

// pushBlob makes a blob be in a repository: looks whether it is, mounts it, or uploads it. False when that came
// to nothing and is to be begun again, or the run is over.
func (w *worker) pushBlob(ctx context.Context, repo string, c *content, forced bool) bool {
	if !forced {
		promised := w.promises.of(link{repo, c.digest})
		r := w.ask(ctx, request{what: "HEAD blob", method: http.MethodHead, target: blobTarget(repo, c.digest.String())})
		switch {
		case r == nil:
			return false
		case r.status == http.StatusOK && r.header.Get("Content-Length") == fmt.Sprint(len(c.bytes)):
			w.promised(r, repo, c.digest, half)
			return true
		case r.status != http.StatusNotFound:
			w.fail("a HEAD that says nothing: %s", r)
			return false
		}
		w.missing(r, link{repo, c.digest}, promised)
		if w.rng.IntN(2) == 0 {
			if done, ok := w.mount(ctx, repo, c); done || !ok {
				return ok
			}
		}
	}
	if len(c.bytes) <= small && w.rng.IntN(2) == 0 {
		return w.uploadWhole(ctx, repo, c)
	}
	return w.upload(ctx, repo, c)
}

// mount mounts a blob from another repository; done is false if it is not there.
func (w *worker) mount(ctx context.Context, repo string, c *content) (done, ok bool) {
	from := link{w.someRepository(), c.digest}
	for _, other := range repositories() { // rather one that has it
		if other != repo && w.promises.of(link{other, c.digest}).After(time.Now()) {
			from.repo = other
		}
	}
	promised := w.promises.of(from)
	r := w.ask(ctx, request{what: "POST mount", method: http.MethodPost, target: "/v2/" + repo + "/blobs/uploads/?" +
		url.Values{"mount": {c.digest.String()}, "from": {from.repo}}.Encode()})
	switch {
	case r == nil:
		return false, false
	case r.status == http.StatusCreated:
		w.promised(r, repo, c.digest, half)
		return true, true
	case r.status != http.StatusAccepted:
		w.fail("a mount failed: %s", r)
		return false, false
	}
	w.missing(r, from, promised)
	return false, true
}

// uploadWhole uploads a blob in one request.
func (w *worker) uploadWhole(ctx context.Context, repo string, c *content) bool {
	r := w.ask(ctx, request{
		what: "POST blob", method: http.MethodPost, target: "/v2/" + repo + "/blobs/uploads/?digest=" + c.digest.String(),
		kind: "application/octet-stream", body: c.bytes,
	})
	return w.stored(r, repo, c)
}

// upload uploads a blob in three requests, of which each may go to another node. The last is repeated until it
// is decided: what the first try stored, the second must find.
func (w *worker) upload(ctx context.Context, repo string, c *content) bool {
	began := time.Now()
	r := w.ask(ctx, request{what: "POST upload", method: http.MethodPost, target: "/v2/" + repo + "/blobs/uploads/"})
	if r == nil {
		return false
	}
	if r.status != http.StatusAccepted {
		w.fail("an upload cannot be begun: %s", r)
		return false
	}
	location := r.header.Get("Location")
	l, err := w.rack.pick(ctx)
	if err != nil {
		return false
	}
	r = w.sendTo(ctx, l, request{what: "PATCH upload", method: http.MethodPatch, target: location, kind: "application/octet-stream", body: c.bytes})
	switch {
	case ctx.Err() != nil:
		return false
	case r.undecided(): // how much of it arrived is not known: begin another one
		w.again = true
		wait(ctx, 100*time.Millisecond)
		return false
	case r.status != http.StatusAccepted:
		return w.lost(r, began)
	}
	separator := "?"
	if location = r.header.Get("Location"); strings.Contains(location, "?") {
		separator = "&"
	}
	r = w.ask(ctx, request{what: "PUT upload", method: http.MethodPut, target: location + separator + "digest=" + url.QueryEscape(c.digest.String())})
	if r != nil && r.status != http.StatusCreated {
		return w.lost(r, began)
	}
	return w.stored(r, repo, c)
}

// lost judges an answer that ends an upload: its owner may have been killed. It is begun again.
func (w *worker) lost(r *reply, began time.Time) bool {
	if r.status != http.StatusNotFound || !w.rack.killedSince(began) {
		w.fail("an upload failed: %s", r)
	}
	w.again = true
	w.figures.count("uploads", "lost with their owner")
	return false
}

// stored takes the answer that acknowledges a blob.
func (w *worker) stored(r *reply, repo string, c *content) bool {
	if r == nil {
		return false
	}
	if r.status != http.StatusCreated || r.header.Get("Docker-Content-Digest") != c.digest.String() {
		w.fail("a blob was not stored: %s", r)
		return false
	}
	w.promised(r, repo, c.digest, half)
	return true
}

// putManifest puts the manifest of an image whose blobs are there: under a tag, under several, or under none.
// False when its blobs are to be pushed again.
func (w *worker) putManifest(ctx context.Context, h held) bool {
	target := manifestTarget(h.repo, w.someTag())
	switch w.rng.IntN(4) {
	case 0:
		target = manifestTarget(h.repo, h.image.digest.String())
	case 1:
		target = manifestTarget(h.repo, h.image.digest.String()) + "?" + url.Values{"tag": {w.someTag(), "more"}}.Encode()
	}
	promised := map[digest.Digest]time.Time{}
	for _, c := range h.image.blobs {
		promised[c.digest] = w.promises.of(link{h.repo, c.digest})
	}
	w.shelves.put(h)
	r := w.ask(ctx, request{
		what: "PUT manifest", method: http.MethodPut, target: target, kind: ocispec.MediaTypeImageManifest, body: h.image.manifest,
	})
	w.shelves.put(h) // it may have been deleted between the two
	switch {
	case r == nil:
		return false
	case r.status == http.StatusNotFound:
		w.refused(r, h, promised)
		return false
	case r.status != http.StatusCreated || r.header.Get("Docker-Content-Digest") != h.image.digest.String():
		w.fail("a manifest was not put: %s", r)
		return false
	}
	inTime := true
	for _, c := range h.image.blobs {
		inTime = inTime && isBroken(promised[c.digest], r.ended)
		w.promised(r, h.repo, c.digest, lease) // from when the manifest goes again, at the earliest
	}
	if inTime {
		w.figures.add("promises", "kept", len(h.image.blobs))
		w.figures.count("PUT manifest", "in time")
	}
	return true
}

// named finds the blobs in the message of a refusal.
var named = regexp.MustCompile(`blob (sha256:[0-9a-f]{64})`)

// refused judges a manifest that was refused because blobs are missing. That is right for those whose promise
// was over. A body that is a blob itself was stored with the same request.
func (w *worker) refused(r *reply, h held, promised map[digest.Digest]time.Time) {
	var answer struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(r.body, &answer) != nil || len(answer.Errors) != 1 || answer.Errors[0].Code != "MANIFEST_BLOB_UNKNOWN" {
		w.fail("a manifest was refused: %s", r)
		return
	}
	missing := named.FindAllStringSubmatch(answer.Errors[0].Message, -1)
	if len(missing) == 0 {
		w.fail("a manifest was refused for no blob: %s", r)
	}
	for _, m := range missing {
		d := digest.Digest(m[1])
		until, ours := promised[d]
		if !ours {
			until = r.began.Add(half)
		}
		w.missing(r, link{h.repo, d}, until)
	}
	w.figures.count("PUT manifest", "too late")
}

// delete deletes a manifest with all its tags.
func (w *worker) delete(ctx context.Context, h held) {
	puts := w.shelves.putsOf(h)
	r, _ := w.decided(ctx, request{what: "DELETE manifest", method: http.MethodDelete, target: manifestTarget(h.repo, h.image.digest.String())})
	switch {
	case r == nil:
	case r.status == http.StatusAccepted:
		over := r.ended.Add(lease + time.Duration(w.rng.Int64N(int64(interval))))
		w.fading.add(fading{h.repo, h.image.blobs[0], over})
		w.shelves.take(h, puts)
	case r.status == http.StatusNotFound:
		w.shelves.take(h, puts)
	default:
		w.fail("a manifest was not deleted: %s", r)
	}
}

// revive pushes a blob whose lease is just over, so that the collector is about to take it, or has taken it,
// or is at it. What the push was promised must hold, whichever it is.
func (w *worker) revive(ctx context.Context, f fading) {
	if !w.uploadWhole(ctx, f.repo, f.content) {
		return
	}
	w.figures.count("blobs pushed at their end", "done")
	if w.rng.IntN(2) == 0 {
		wait(ctx, time.Duration(w.rng.IntN(200))*time.Millisecond)
	}
	w.pullBlob(ctx, f.repo, f.content)
}

func (w *worker) deleteTag(ctx context.Context, repo, tag string) {
	r, _ := w.decided(ctx, request{what: "DELETE tag", method: http.MethodDelete, target: manifestTarget(repo, tag)})
	if r != nil && r.status != http.StatusAccepted && r.status != http.StatusNotFound {
		w.fail("a tag was not deleted: %s", r)
	}
}

// pull pulls an image if its manifest is there. A blob of a manifest that a node has just shown stays for a lease
// at least, whoever deletes the manifest meanwhile.
func (w *worker) pull(ctx context.Context, h held) {
	r, _ := w.decided(ctx, request{what: "GET manifest", method: http.MethodGet, target: manifestTarget(h.repo, h.image.digest.String())})
	switch {
	case r == nil || r.status == http.StatusNotFound:
		return
	case r.status != http.StatusOK || string(r.body) != string(h.image.manifest):
		w.fail("a manifest was not pulled: %s", r)
		return
	case r.isStale(): // it may be long gone
		return
	}
	for _, c := range h.image.blobs {
		w.promised(r, h.repo, c.digest, lease)
	}
	for _, c := range h.image.blobs {
		if !w.pullBlob(ctx, h.repo, c) {
			return
		}
	}
	w.figures.count("pulls", "whole")
}

func (w *worker) pullBlob(ctx context.Context, repo string, c *content) bool {
	promised := w.promises.of(link{repo, c.digest})
	r, _ := w.decided(ctx, request{what: "GET blob", method: http.MethodGet, target: blobTarget(repo, c.digest.String())})
	switch {
	case r == nil:
		return false
	case r.status == http.StatusNotFound:
		w.missing(r, link{repo, c.digest}, promised)
		return false
	case r.status != http.StatusOK || digest.FromBytes(r.body) != c.digest:
		w.fail("a blob was not pulled: %s", r)
		return false
	}
	if isBroken(promised, r.ended) {
		w.figures.count("promises", "kept")
	}
	return true
}
