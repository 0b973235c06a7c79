package sweep_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/memory"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/sweep"
)

// world is one node: a state that is the whole cluster, and a store whose faults a test arranges.
type world struct {
	t     *testing.T
	state *fsm.State
	blobs *shelf
	all   []jobs.Job

	// proposed is called before a command of the job is applied; round before a round ends. What either
	// returns is the answer.
	proposed func(payload []byte) error
	round    func() error
}

func self() entry.Incarnation { return entry.Incarnation{1} }

// newWorld is a node with a store in memory.
func newWorld(t *testing.T) *world {
	t.Helper()
	store, err := memory.New(memory.Config{Incarnation: blobstore.Incarnation(self()), Capacity: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	return newWorldOn(t, store)
}

// newWorldOn is a node with a store of any kind.
func newWorldOn(t *testing.T, store blobstore.Store) *world {
	t.Helper()
	state, err := fsm.Open(fsm.Config{Dir: t.TempDir(), Incarnation: self(), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	w := &world{t: t, state: state, blobs: &shelf{Store: store, stuck: map[blobstore.CopyID]bool{}}}
	w.apply(fsm.NodeStarted{Node: entry.Node{Incarnation: self(), Name: "zot-0", Level: 1}})
	w.apply(fsm.NodeJoined{Incarnation: self()})
	w.apply(fsm.SetStore{Name: fsm.DefaultStore, GCDelay: time.Hour, Replicas: 1, WriteAcks: 1})
	w.restart()
	return w
}

// restart makes the jobs anew: what they had in memory is gone.
func (w *world) restart() {
	w.t.Helper()
	all, err := sweep.New(sweep.Deps{Store: fsm.DefaultStore, Blobs: w.blobs, State: w.state, Consistency: w, Proposer: w})
	if err != nil {
		w.t.Fatal(err)
	}
	w.all = all
}

// The jobs, in the order of New.
const (
	doomed = iota
	unknown
	uploads
)

// run does one job once.
func (w *world) run(job int) {
	w.t.Helper()
	if err := w.all[job].Do(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// ReadIndex is the round of the jobs.
func (w *world) ReadIndex(context.Context) error {
	if w.round != nil {
		return w.round()
	}
	return nil
}

// Propose is the proposer of the jobs.
func (w *world) Propose(ctx context.Context, payload []byte) (entry.Result, error) {
	if err := ctx.Err(); err != nil {
		return entry.Result{}, err
	}
	if w.proposed != nil {
		if err := w.proposed(payload); err != nil {
			return entry.Result{}, err
		}
	}
	return w.append(payload), nil
}

// append applies a payload as the next entry, a second of state time after the one before.
func (w *world) append(payload []byte) entry.Result {
	w.t.Helper()
	if err := w.state.Admit(payload); err != nil {
		w.t.Fatal(err)
	}
	at := w.state.Position()
	return w.state.Apply([]entry.Entry{{
		Index: at.Index + 1, Term: 1, Kind: entry.Command, Payload: payload,
		Envelope: entry.Envelope{Term: 1, Time: at.Time.Add(time.Second), Date: 1},
	}})[0]
}

// apply applies a command of somebody else, which must not be refused.
func (w *world) apply(cmd fsm.Command) {
	w.t.Helper()
	payload, err := fsm.Encode(cmd)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.state.Explain(w.append(payload)); err != nil {
		w.t.Fatal(err)
	}
}

// pass lets state time pass.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	payload, err := fsm.Encode(fsm.TermStarted{})
	if err != nil {
		w.t.Fatal(err)
	}
	at := w.state.Position()
	var batch []entry.Entry
	for end, now := at.Time.Add(d), at.Time; now < end; {
		now = min(end, now.Add(w.state.Tick()))
		batch = append(batch, entry.Entry{
			Index: at.Index + 1 + uint64(len(batch)), Term: 1, Kind: entry.Command, Payload: payload,
			Envelope: entry.Envelope{Term: 1, Time: now, Date: 1},
		})
	}
	w.state.Apply(batch)
}

func (w *world) now() entry.Time { return w.state.Position().Time }

// write makes a copy of a text in the store, which the state does not know yet, and returns the command
// that records it.
func (w *world) write(text string) fsm.BlobStored {
	w.t.Helper()
	ctx, id := w.t.Context(), blobstore.UploadID(blobstore.NewCopyID())
	d := digest.FromString(text)
	packed, err := fsm.Pack(d)
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := fsm.BlobStored{Repository: "a/b", Store: fsm.DefaultStore, Digest: packed, Size: int64(len(text)), Stamp: w.now()}
	err = w.blobs.CreateUpload(ctx, id, "", blobstore.Time(w.now()))
	if err == nil {
		_, err = w.blobs.Append(ctx, id, 0, strings.NewReader(text), blobstore.Time(w.now()))
	}
	if err == nil {
		_, err = w.blobs.Finish(ctx, id, d)
	}
	var made []blobstore.Location
	if err == nil {
		made, err = w.blobs.Publish(ctx, id)
	}
	if err = errors.Join(err, w.blobs.RemoveUpload(ctx, id)); err != nil {
		w.t.Fatal(err)
	}
	cmd.Locations = []fsm.Location{{Incarnation: self(), Copy: fsm.CopyID(made[0].Copy)}}
	return cmd
}

// copyOf is the copy that a command records.
func copyOf(cmd fsm.BlobStored) blobstore.CopyID { return blobstore.CopyID(cmd.Locations[0].Copy) }

// doom makes a copy that is doomed: another push of the same bytes took its place.
func (w *world) doom(text string) blobstore.CopyID {
	w.t.Helper()
	old := w.write(text)
	w.apply(old)
	w.apply(w.write(text))
	return copyOf(old)
}

// stateOf is what the state knows of a copy.
func (w *world) stateOf(id blobstore.CopyID) (state fsm.CopyState) {
	w.t.Helper()
	err := w.state.View(func(v fsm.View) error {
		state, _ = v.Copy(fsm.DefaultStore, fsm.Location{Incarnation: self(), Copy: fsm.CopyID(id)})
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return state
}

// expect compares what is left of a copy with what should be: its file, and what the state knows.
func (w *world) expect(id blobstore.CopyID, file bool, known fsm.CopyState) {
	w.t.Helper()
	if has := w.blobs.has(id); has != file {
		w.t.Errorf("file of copy %s: %t, want %t", id, has, file)
	}
	if state := w.stateOf(id); state != known {
		w.t.Errorf("state of copy %s: %d, want %d", id, state, known)
	}
}

// shelf is a store whose marker can be gone, whose copies can be stuck, and whose listing can take long.
type shelf struct {
	blobstore.Store
	listing func() // called when a listing begins

	mu      sync.Mutex
	offline bool
	stuck   map[blobstore.CopyID]bool // cannot be removed
}

var errStuck = errors.New("operation not permitted")

func (s *shelf) setOffline(offline bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offline = offline
}

func (s *shelf) fault(ids ...blobstore.CopyID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.offline {
		return blobstore.ErrOffline
	}
	if slices.ContainsFunc(ids, func(id blobstore.CopyID) bool { return s.stuck[id] }) {
		return errStuck
	}
	return nil
}

func (s *shelf) RemoveCopies(ctx context.Context, ids ...blobstore.CopyID) error {
	if err := s.fault(ids...); err != nil {
		return err
	}
	return s.Store.RemoveCopies(ctx, ids...)
}

func (s *shelf) RemoveUpload(ctx context.Context, id blobstore.UploadID) error {
	if err := s.fault(); err != nil {
		return err
	}
	return s.Store.RemoveUpload(ctx, id)
}

func (s *shelf) Copies(ctx context.Context, after blobstore.CopyID) iter.Seq2[blobstore.CopyID, error] {
	return func(yield func(blobstore.CopyID, error) bool) {
		if err := s.fault(); err != nil {
			yield(blobstore.CopyID{}, err)
			return
		}
		if s.listing != nil {
			s.listing()
		}
		s.Store.Copies(ctx, after)(yield)
	}
}

// has reports whether a copy's file is there.
func (s *shelf) has(id blobstore.CopyID) bool {
	for have, err := range s.Store.Copies(context.Background(), blobstore.CopyID{}) {
		if err == nil && have == id {
			return true
		}
	}
	return false
}

// restore puts a backup in the place of the state, as if it had been saved when stream was, and as if the files of the
// cluster into which it is restored were still there.
func (w *world) restore(stream []byte) {
	w.t.Helper()
	saved, err := fsm.OpenSaved(w.t.TempDir(), bytes.NewReader(stream))
	if err != nil {
		w.t.Fatal(err)
	}
	var at entry.Position
	err = saved.View(func(v fsm.View) error { at = v.Position(); return nil })
	if err = errors.Join(err, w.state.Stage(bytes.NewReader(stream)), w.state.Install(entry.Stamp{Index: at.Index, Term: at.Term})); err != nil {
		w.t.Fatal(err)
	}
	begin, err := saved.Begin()
	if err = errors.Join(err, saved.Close()); err != nil {
		w.t.Fatal(err)
	}
	w.apply(begin)
	w.apply(fsm.EndRestore{Backup: begin.Backup})
}

// backup is the state as it is now.
func (w *world) backup() []byte {
	w.t.Helper()
	s, err := w.state.OpenSnapshot()
	if err != nil {
		w.t.Fatal(err)
	}
	stream, err := io.ReadAll(s)
	if err = errors.Join(err, s.Close()); err != nil {
		w.t.Fatal(err)
	}
	return stream
}
