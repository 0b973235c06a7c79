package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// scripted is a node whose answers a test makes.
type scripted struct {
	*alone
	t    *testing.T
	file string // its configuration

	mu     sync.Mutex
	blobs  map[string]string                                      // by digest
	pull   func(digest string, w http.ResponseWriter) (done bool) // instead; may be nil
	push   func(w http.ResponseWriter) (done bool)
	states int // that were taken
	refuse int // so many proposals are not taken
}

// newScripted has a store and one member.
func newScripted(t *testing.T) *scripted {
	t.Helper()
	s := &scripted{alone: newAlone(t), t: t, blobs: map[string]string{}}
	s.do(t, fsm.NodeStarted{Node: entry.Node{Incarnation: entry.Incarnation{1}, Name: "zot-0", Level: 1}})
	s.do(t, fsm.NodeJoined{Incarnation: entry.Incarnation{1}})
	s.do(t, fsm.SetStore{Name: fsm.DefaultStore, GCDelay: time.Hour, Replicas: 1, WriteAcks: 1})
	s.file = serveSocket(t, s.handler())
	return s
}

// ReadIndex says that the state is the newest.
func (s *scripted) ReadIndex(context.Context) error { return nil }

// Propose is that of alone, unless it is not to be.
func (s *scripted) Propose(ctx context.Context, payload []byte) (entry.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse > 0 {
		s.refuse--
		return entry.Result{}, errors.New("no leader")
	}
	return s.alone.Propose(ctx, payload)
}

func (s *scripted) handler() http.Handler {
	mux := http.NewServeMux()
	own := snapshots{s.State, s, hclog.NewNullLogger()}.handler()
	mux.Handle("/snapshot/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/snapshot/state" {
			s.mu.Lock()
			s.states++
			s.mu.Unlock()
		}
		own.ServeHTTP(w, r)
	}))
	mux.HandleFunc("GET /v2/app/blobs/{digest}", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if d := r.PathValue("digest"); s.pull == nil || !s.pull(d, w) {
			s.answer(d, w)
		}
	})
	mux.HandleFunc("POST /v2/app/blobs/uploads/", func(w http.ResponseWriter, r *http.Request) {
		content, err := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.push != nil && s.push(w) {
			return
		}
		if d := r.URL.Query().Get("digest"); err != nil || digestOf(content) != d {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.store(string(content)) //nolint:contextcheck // that of the test
		w.WriteHeader(http.StatusCreated)
	})
	return mux
}

func (s *scripted) answer(d string, w http.ResponseWriter) {
	content, there := s.blobs[d]
	if !there {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = io.WriteString(w, content)
}

// store records a copy of a blob, as an upload does. The caller holds mu, or is alone.
func (s *scripted) store(content string) fsm.Digest {
	s.t.Helper()
	d, err := fsm.Pack(digest.Digest(digestOf([]byte(content))))
	if err != nil {
		s.t.Fatal(err)
	}
	s.blobs[d.String()] = content
	s.do(s.t, fsm.BlobStored{
		Repository: "app", Store: fsm.DefaultStore, Digest: d, Size: int64(len(content)), Stamp: s.Position().Time,
		Locations: []fsm.Location{{Incarnation: entry.Incarnation{1}, Copy: fsm.CopyID([]byte(d[1:17]))}},
	})
	return d
}

// image pushes an image that has blobs.
func (s *scripted) image(contents ...string) fsm.Digest {
	s.t.Helper()
	body := strings.Join(contents, "+")
	d, err := fsm.Pack(digest.Digest(digestOf([]byte(body))))
	if err != nil {
		s.t.Fatal(err)
	}
	put := fsm.PutManifest{Repository: "app", Store: fsm.DefaultStore, Digest: d, Size: int64(len(body)), MediaType: "m", Body: []byte(body)}
	for _, c := range contents {
		put.Blobs = append(put.Blobs, s.store(c))
	}
	slices.Sort(put.Blobs)
	if _, err := fsm.Do(s.t.Context(), s.alone, put); err != nil {
		s.t.Fatal(err)
	}
	return d
}

// saved saves the node's blobs in a place.
func (s *scripted) saved(place string) (described, error) {
	s.t.Helper()
	node, err := newSnapshotClient(s.file)
	if err != nil {
		s.t.Fatal(err)
	}
	to := &saver{node: node, to: directory{place}, tmp: s.t.TempDir(), show: newDisplay(io.Discard)}
	return to.run(s.t.Context())
}

// broken answers with half of a blob, and then nothing.
func broken(w http.ResponseWriter, content string) bool {
	w.Header().Set("Content-Length", fmt.Sprint(len(content)))
	_, _ = io.WriteString(w, content[:len(content)/2])
	panic(http.ErrAbortHandler)
}

func TestSaveFromANodeInTrouble(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		pull    func(s *scripted, image fsm.Digest) func(d string, w http.ResponseWriter) bool
		missing string // why the one blob is; "" if it is not
		blobs   int
		states  int
	}{
		"nothing happens": {func(*scripted, fsm.Digest) func(string, http.ResponseWriter) bool {
			return nil
		}, "", 2, 2},
		"a blob is collected meanwhile": {func(s *scripted, image fsm.Digest) func(string, http.ResponseWriter) bool {
			return func(d string, w http.ResponseWriter) bool {
				if d != digestOf([]byte("goes")) {
					return false
				}
				s.do(t, fsm.DeleteManifest{Repository: "app", Digest: image})
				w.WriteHeader(http.StatusNotFound)
				return true
			}
		}, "", 1, 2},
		"a blob is not found, whatever the state says": {func(*scripted, fsm.Digest) func(string, http.ResponseWriter) bool {
			return func(d string, w http.ResponseWriter) bool {
				if d == digestOf([]byte("goes")) {
					w.WriteHeader(http.StatusNotFound)
					return true
				}
				return false
			}
		}, "404", 2, snapshotRounds},
		"a blob cannot be had": {func(*scripted, fsm.Digest) func(string, http.ResponseWriter) bool {
			return func(d string, w http.ResponseWriter) bool {
				if d == digestOf([]byte("goes")) {
					w.WriteHeader(http.StatusServiceUnavailable)
					return true
				}
				return false
			}
		}, "503", 2, 2},
		"other bytes come": {func(*scripted, fsm.Digest) func(string, http.ResponseWriter) bool {
			return func(d string, w http.ResponseWriter) bool {
				if d == digestOf([]byte("goes")) {
					_, _ = io.WriteString(w, "gone")
					return true
				}
				return false
			}
		}, errBytes.Error(), 2, 2},
		"answers break off": {func(s *scripted, _ fsm.Digest) func(string, http.ResponseWriter) bool {
			left := 3
			return func(d string, w http.ResponseWriter) bool {
				left--
				return left >= 0 && broken(w, s.blobs[d])
			}
		}, "", 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScripted(t)
			s.image("stays")
			s.pull = test.pull(s, s.image("goes"))
			place := t.TempDir()
			d, err := s.saved(place)
			if err != nil {
				t.Fatal(err)
			}
			if d.Blobs != test.blobs || s.states != test.states {
				t.Errorf("%d blobs, of %d states that were taken; want %d of %d", d.Blobs, s.states, test.blobs, test.states)
			}
			why := ""
			for _, m := range d.Missing {
				why += m.Why
			}
			if (why == "") != (test.missing == "") || !strings.Contains(why, test.missing) {
				t.Errorf("missing: %+v, want %q", d.Missing, test.missing)
			}
			_, err = os.Stat(filepath.Join(place, blobFile(digestOf([]byte("goes")))))
			if there := err == nil; there != (test.missing == "" && test.blobs == 2) {
				t.Errorf("the blob is there: %t", there)
			}
			left, err := os.ReadDir(filepath.Join(place, tmpName))
			if err != nil || len(left) > 0 {
				t.Errorf("%v is left, %v", left, err)
			}
		})
	}
}

// restoring restores the newest snapshot of a place into a node.
func (s *scripted) restoring(place string) (restored, error) {
	s.t.Helper()
	node, err := newSnapshotClient(s.file)
	if err != nil {
		s.t.Fatal(err)
	}
	from, err := openSource(s.t.Context(), place, placeFlags{})
	if err != nil {
		s.t.Fatal(err)
	}
	r := &restorer{node: node, from: from, tmp: s.t.TempDir(), show: newDisplay(io.Discard)}
	return r.run(s.t.Context())
}

func TestRestoreIntoANodeInTrouble(t *testing.T) {
	t.Parallel()
	old, place := newScripted(t), t.TempDir()
	old.image("a", "b")
	if _, err := old.saved(place); err != nil {
		t.Fatal(err)
	}
	fresh := newScripted(t)
	fresh.refuse = 3
	busy := 3
	fresh.push = func(w http.ResponseWriter) bool {
		if busy--; busy >= 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return busy >= 0
	}
	done, err := fresh.restoring(place)
	if err != nil || done.blobs != 2 || len(done.missing) != 0 || done.already {
		t.Errorf("%+v, %v", done, err)
	}
	if len(fresh.blobs) != 2 {
		t.Errorf("the node has %v", fresh.blobs)
	}

	// Nothing is taken any more: it ends, and says that it can go on.
	fresh = newScripted(t)
	fresh.push = func(w http.ResponseWriter) bool { w.WriteHeader(http.StatusInsufficientStorage); return true }
	if _, err := fresh.restoring(place); err == nil || !strings.Contains(err.Error(), "goes on from there") {
		t.Errorf("a full node: %v", err)
	}
	fresh.mu.Lock()
	fresh.push = nil // a request that was given up may come to its end now
	fresh.mu.Unlock()
	if done, err := fresh.restoring(place); err != nil || len(done.missing) > 0 || !done.already {
		t.Errorf("%+v, %v", done, err)
	}
	fresh.mu.Lock()
	defer fresh.mu.Unlock()
	if len(fresh.blobs) != 2 {
		t.Errorf("the node has %v", fresh.blobs)
	}
}
