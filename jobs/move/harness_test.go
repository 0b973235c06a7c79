package move_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/memory"
	"github.com/seed-16d79997/zot/blobstore/storetest"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/move"
	"github.com/seed-16d79997/zot/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// world is a node with some stores, and the job of its leader. What the job does to the stores and the log stands in
// events.
type world struct {
	t     *testing.T
	state *fsm.State
	job   jobs.Job
	few   int          // blobs that it moves at a time; 0: the usual
	said  bytes.Buffer // what the job logged

	applying sync.Mutex // held while an entry is applied

	mu     sync.Mutex
	stores map[string]*memory.Store
	events []string

	// Called in the middle of a step, before it does what it does, or after; an error is the step's.
	opening    func(store string, d digest.Digest) error
	publishing func() error
	proposing  func() error
	proposed   func() error
}

func self() entry.Incarnation { return entry.Incarnation{0: 1, 15: 1} }

// newWorld has the stores "default", "new" and "third".
func newWorld(t *testing.T) *world {
	t.Helper()
	state, err := fsm.Open(fsm.Config{Dir: t.TempDir(), Incarnation: self(), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	w := &world{t: t, state: state, stores: map[string]*memory.Store{}}
	apply(w, fsm.NodeStarted{Node: entry.Node{Incarnation: self(), Name: "zot-1", Level: 1}})
	apply(w, fsm.NodeJoined{Incarnation: self()})
	for _, name := range []string{"default", "new", "third"} {
		apply(w, fsm.SetStore{Name: name, GCDelay: time.Hour, Replicas: 1, WriteAcks: 1})
		store, err := memory.New(memory.Config{Incarnation: blobstore.Incarnation(self()), Capacity: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		w.stores[name] = store
	}
	w.lead()
	return w
}

// lead has another leader's job do the work from now on.
func (w *world) lead() {
	w.t.Helper()
	var err error
	w.job, err = move.New(move.Deps{
		State: w.state, Consistency: w, Proposer: w, Stores: w, Pace: func(ctx context.Context, _ int) error { return ctx.Err() },
		Logger: hclog.New(&hclog.LoggerOptions{Output: &w.said}), AtOnce: w.few,
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// run does the job once, and must go well.
func (w *world) run() {
	w.t.Helper()
	if err := w.job.Do(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) ReadIndex(context.Context) error { w.note("round"); return nil }

// Propose is the proposer of the term.
func (w *world) Propose(ctx context.Context, payload []byte) (entry.Result, error) {
	if err := ctx.Err(); err != nil {
		return entry.Result{}, err
	}
	w.note("propose")
	if w.proposing != nil {
		if err := w.proposing(); err != nil {
			return entry.Result{}, err
		}
	}
	r, err := w.append(payload)
	if w.proposed != nil {
		err = errors.Join(err, w.proposed())
	}
	return r, err
}

// append applies a payload as the next entry, a second of state time after the one before.
func (w *world) append(payload []byte) (entry.Result, error) {
	w.applying.Lock()
	defer w.applying.Unlock()
	if err := w.state.Admit(payload); err != nil {
		return entry.Result{}, err
	}
	at := w.state.Position()
	return w.state.Apply([]entry.Entry{{
		Index: at.Index + 1, Term: 1, Kind: entry.Command, Payload: payload,
		Envelope: entry.Envelope{Term: 1, Time: at.Time.Add(time.Second), Date: 1},
	}})[0], nil
}

// apply applies a command of somebody else, which must not be refused. It may be called from any goroutine.
func apply[R any](w *world, cmd fsm.CommandOf[R]) {
	payload, err := fsm.Encode(cmd)
	var result entry.Result
	if err == nil {
		result, err = w.append(payload)
	}
	if err == nil {
		_, err = fsm.Decode(cmd, result)
	}
	if err != nil {
		w.t.Errorf("%T: %v", cmd, err)
	}
}

// pass lets state time pass.
func (w *world) pass(d time.Duration) {
	for end := w.state.Position().Time.Add(d); w.state.Position().Time < end; {
		at := w.state.Position()
		payload, err := fsm.Encode(fsm.TermStarted{})
		if err != nil {
			w.t.Fatal(err)
		}
		w.state.Apply([]entry.Entry{{
			Index: at.Index + 1, Term: 1, Kind: entry.Command, Payload: payload,
			Envelope: entry.Envelope{Term: 1, Time: at.Time.Add(time.Minute), Date: 1},
		}})
	}
}

func (w *world) note(event string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, event)
}

// did returns what has happened since it was asked last.
func (w *world) did() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.events
	w.events = nil
	return all
}

// Store is one that notes what is done to it.
func (w *world) Store(name string) blobstore.Store {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.stores[name]; s != nil {
		return noted{s, name, w}
	}
	return nil
}

type noted struct {
	blobstore.Store
	name string
	*world
}

func (n noted) Open(ctx context.Context, b blobstore.Blob, offset, length int64) (blobstore.Reader, error) {
	n.note("open in " + n.name)
	if n.opening != nil {
		if err := n.opening(n.name, b.Digest); err != nil {
			return nil, err
		}
	}
	return n.Store.Open(ctx, b, offset, length)
}

func (n noted) Finish(ctx context.Context, id blobstore.UploadID, d digest.Digest) (int64, error) {
	n.note("finish in " + n.name)
	return n.Store.Finish(ctx, id, d)
}

func (n noted) Publish(ctx context.Context, id blobstore.UploadID) ([]blobstore.Location, error) {
	n.note("publish in " + n.name)
	if n.publishing != nil {
		if err := n.publishing(); err != nil {
			return nil, err
		}
	}
	return n.Store.Publish(ctx, id)
}

func packed(text string) fsm.Digest {
	d, err := fsm.Pack(digest.FromString(text))
	if err != nil {
		panic(err)
	}
	return d
}

// push stores a text in a store, for a repository.
func (w *world) push(store, repository, text string) {
	w.t.Helper()
	cmd := fsm.BlobStored{Repository: repository, Store: store, Digest: packed(text), Size: int64(len(text)), Stamp: w.state.Position().Time}
	b := storetest.Store(w.t, w.stores[store], fmt.Sprint(store, text, cmd.Stamp), []byte(text))
	for _, l := range b.Locations {
		cmd.Locations = append(cmd.Locations, fsm.Location{Incarnation: [16]byte(l.Incarnation), Copy: fsm.CopyID(l.Copy)})
	}
	apply(w, cmd)
}

func (w *world) moveTo(store string, repositories ...string) {
	for _, name := range repositories {
		apply(w, fsm.MoveRepository{Repository: name, To: store})
	}
}

// read is what a repository serves of a text, and from which store.
func (w *world) read(repository, text string) (from string) {
	w.t.Helper()
	b := blobstore.Blob{Digest: digest.FromString(text), Size: int64(len(text))}
	w.view(func(v fsm.View) {
		l, err := v.Link(repository, packed(text))
		if err != nil {
			w.t.Fatal(err)
		}
		from = l.Store
		record, _ := v.Blob(l.Store, packed(text))
		for _, c := range record.Copies {
			b.Locations = append(b.Locations, blobstore.Location{Incarnation: blobstore.Incarnation(c.Incarnation), Copy: blobstore.CopyID(c.Copy)})
		}
	})
	r, err := w.stores[from].Open(w.t.Context(), b, 0, -1)
	if err != nil {
		w.t.Fatalf("%s of %s in %s: %v", text, repository, from, err)
	}
	defer func() { _ = r.Close() }()
	if body, err := io.ReadAll(r); err != nil || string(body) != text {
		w.t.Errorf("%s of %s: %q, %v", text, repository, body, err)
	}
	return from
}

// expect fails unless a repository serves texts from a store.
func (w *world) expect(repository, store string, texts ...string) {
	w.t.Helper()
	for _, text := range texts {
		if from := w.read(repository, text); from != store {
			w.t.Errorf("%s of %s is in %s, want %s", text, repository, from, store)
		}
	}
}

// still is what is moving, and the state must be sound.
func (w *world) still(want ...string) {
	w.t.Helper()
	w.view(func(v fsm.View) {
		if have := v.Moving("", 10); !slices.Equal(have, want) {
			w.t.Errorf("moving are %v, want %v", have, want)
		}
		for _, line := range v.Check() {
			w.t.Error(line)
		}
	})
	for name, s := range w.stores {
		for u, err := range s.Uploads(w.t.Context(), blobstore.UploadID{}) {
			w.t.Errorf("store %s has upload %s, %v", name, u.ID, err)
		}
	}
}

func (w *world) view(read func(v fsm.View)) {
	w.t.Helper()
	if err := w.state.View(func(v fsm.View) error { read(v); return nil }); err != nil {
		w.t.Fatal(err)
	}
}
