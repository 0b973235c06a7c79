package gcrace_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// silence is how long a request may take at most. Load balancers wait so long for an answer to begin.
	silence = 50 * time.Second
	// patience is how long something may go on to fail while it is tried again.
	patience = 30 * time.Second
	// clock is how times are printed: as in the nodes' logs, to find them there.
	clock = "15:04:05.000"
)

// request is one request, before it is known who answers it.
type request struct {
	what   string // kind, in the figures
	method string
	target string // path and query
	kind   string // media type of the body
	body   []byte
}

// reply is what came of a request at one node.
type reply struct {
	request
	life   *life
	status int // 0 if no whole answer came
	header http.Header
	body   []byte
	cut    error // why no whole answer came
	began  time.Time
	ended  time.Time
}

// String is a line about the reply.
func (r *reply) String() string {
	end := fmt.Sprintf("%d %s", r.status, strings.TrimSpace(string(r.body[:min(len(r.body), 1000)])))
	if r.cut != nil {
		end = "cut: " + r.cut.Error()
	}
	return fmt.Sprintf("%s %s at %s, %s to %s (request %s): %s", r.method, r.target, r.life.node.name,
		r.began.UTC().Format(clock), r.ended.UTC().Format("05.000"), r.header.Get("X-Request-Id"), end)
}

// isStale reports whether the answer says that it may be old.
func (r *reply) isStale() bool { return r.header.Get("X-Zot-Consistency") == "stale" }

// undecided reports whether the request is to be repeated: the node was killed, or cannot answer at the moment.
func (r *reply) undecided() bool { return r.cut != nil || r.status == http.StatusServiceUnavailable }

// sendTo sends a request to a node.
func (r *race) sendTo(ctx context.Context, l *life, q request) *reply {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	a := &reply{request: q, life: l, began: time.Now(), header: http.Header{}}
	a.cut = a.exchange(ctx)
	a.ended = time.Now()
	outcome := fmt.Sprint(a.status)
	if a.cut != nil {
		a.status, outcome = 0, "cut"
	}
	r.figures.count(q.what, outcome)
	r.figures.took(q.what, a.ended.Sub(a.began))
	switch {
	case a.status >= 500 && a.status != http.StatusServiceUnavailable:
		r.fail("an error that is no 503: %s", a)
	case a.cut != nil && a.ended.Sub(a.began) >= silence:
		r.fail("no answer in %s: %s", silence, a)
	}
	return a
}

// exchange sends the request and takes the answer.
func (r *reply) exchange(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, r.method, "http://"+r.life.node.address+r.target, bytes.NewReader(r.request.body))
	if err != nil {
		return err
	}
	if r.kind != "" {
		request.Header.Set("Content-Type", r.kind)
	}
	answer, err := r.life.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	r.status, r.header = answer.StatusCode, answer.Header
	r.body, err = io.ReadAll(answer.Body)
	return err
}

// decided sends a request to the living node whose turn it is, and repeats it at the next until one decides
// it. Again reports whether it was repeated. Nil when the run is over, or nothing decides it for too long.
func (r *race) decided(ctx context.Context, q request) (a *reply, again bool) {
	for first := time.Now(); ; again = true {
		l, err := r.rack.pick(ctx)
		if err != nil {
			return nil, again
		}
		a := r.sendTo(ctx, l, q)
		switch {
		case ctx.Err() != nil:
			return nil, again
		case !a.undecided():
			return a, again
		case time.Since(first) > patience:
			r.fail("a request is not answered in %s: %s", patience, a)
			return nil, again
		}
		wait(ctx, 100*time.Millisecond)
	}
}

func blobTarget(repo, digest string) string { return "/v2/" + repo + "/blobs/" + digest }

func manifestTarget(repo, reference string) string { return "/v2/" + repo + "/manifests/" + reference }
