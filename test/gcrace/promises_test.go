package gcrace_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// half is how long a client may rely on a blob that it was told is there, from when it sent the request (GC R16,
// T4). After that, it has to ask again.
const half = lease / 2

// link is what a promise is about: that a repository has a blob.
type link struct {
	repo   string
	digest digest.Digest
}

// promises is what the registry has promised, by this client's clock. State time never runs faster, so what
// it counts is never more than was promised. Its methods may be called concurrently.
type promises struct {
	mu    sync.Mutex
	until map[link]time.Time
}

func newPromises() *promises { return &promises{until: map[link]time.Time{}} }

// add notes a promise that holds until a time. It counts for requests that are sent from now on: one that is
// under way may have been judged before.
func (p *promises) add(l link, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until.After(p.until[l]) {
		p.until[l] = until
	}
}

// of is until when a link is promised now; the zero time if it never was.
func (p *promises) of(l link) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.until[l]
}

// forget drops what was over before a time.
func (p *promises) forget(before time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l, until := range p.until {
		if until.Before(before) {
			delete(p.until, l)
		}
	}
}

// isBroken reports whether "it is not there", answered at a time, breaks what was promised before the request
// was sent.
func isBroken(promised, answered time.Time) bool { return answered.Before(promised) }

// promised is what the answer to a request is worth: for how long, from when the request was sent, the link
// stays that it speaks of.
func (w *worker) promised(r *reply, repo string, d digest.Digest, lasts time.Duration) {
	w.promises.add(link{repo, d}, r.began.Add(lasts))
}

// missing judges an answer that says a blob is not there. It fails if it was promised to be.
func (w *worker) missing(r *reply, l link, promised time.Time) {
	if !isBroken(promised, r.ended) {
		w.figures.count("promises", "over when asked")
		return
	}
	w.figures.count("promises", "broken")
	w.fail("a blob was promised to be there for another %s, and is not: %s of %s: %s",
		promised.Sub(r.ended).Round(time.Millisecond), l.digest, l.repo, r)
}

// TestPromises checks when an answer breaks a promise.
func TestPromises(t *testing.T) {
	t.Parallel()
	base, l := time.Now(), link{"r", digest.FromString("layer")}
	at := func(d time.Duration) time.Time { return base.Add(d) }
	for name, c := range map[string]struct {
		made     []time.Time // until when
		answered time.Time
		want     bool
	}{
		"none was made":             {nil, at(0), false},
		"within it":                 {[]time.Time{at(half)}, at(half - time.Millisecond), true},
		"when it is over":           {[]time.Time{at(half)}, at(half), false},
		"a second one is longer":    {[]time.Time{at(half), at(lease)}, at(lease - time.Millisecond), true},
		"a second one takes naught": {[]time.Time{at(lease), at(half)}, at(lease - time.Millisecond), true},
	} {
		p := newPromises()
		for _, until := range c.made {
			p.add(l, until)
		}
		if got := isBroken(p.of(l), c.answered); got != c.want {
			t.Errorf("%s: broken %t, want %t", name, got, c.want)
		}
	}
	p := newPromises()
	for i := range 10 {
		p.add(link{fmt.Sprint(i), l.digest}, at(time.Duration(i)*time.Second))
	}
	p.forget(at(5 * time.Second))
	if n := len(p.until); n != 5 {
		t.Errorf("%d promises are kept", n)
	}
}

// A manifest that may be there must be among those that are deleted at the end: also one that was pushed again
// before the answer to the deletion of the former came.
func TestShelves(t *testing.T) {
	t.Parallel()
	s, h := newShelves(), held{"race/a", &image{digest: "sha256:a"}}
	s.put(h)
	puts := s.putsOf(h) // a delete is sent
	s.put(h)            // and a push of the same
	s.take(h, puts)     // the delete is answered
	if s.count() != 1 {
		t.Error("what was pushed since is forgotten")
	}
	s.take(h, s.putsOf(h))
	if s.count() != 0 {
		t.Error("what was deleted is there")
	}
}
