package gc_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/gc"
	"github.com/seed-16d79997/zot/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// lease is the gcDelay of all stores here.
const lease = time.Hour

// world is a cluster: a state that all nodes share, and the leader's job.
type world struct {
	t     *testing.T
	state *fsm.State
	job   jobs.Job
	said  bytes.Buffer // what the job logged

	copies    uint64 // written so far
	proposals int
	// proposed is called before a command of the job is applied: between its look and the command. Its error
	// is the answer.
	proposed func() error
	// answer stands in for the state's, if it is set.
	answer func() entry.Result
}

func node(n int) entry.Incarnation { return entry.Incarnation{0: byte(n), 15: byte(n)} }

// newWorld is a cluster of three members, each of which has a copy of each blob.
func newWorld(t *testing.T) *world {
	t.Helper()
	state, err := fsm.Open(fsm.Config{Dir: t.TempDir(), Incarnation: node(1), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	w := &world{t: t, state: state}
	t.Cleanup(w.check)
	for n := 1; n <= 3; n++ {
		apply(w, fsm.NodeStarted{Node: entry.Node{Incarnation: node(n), Name: fmt.Sprint("zot-", n), Level: 1}})
		apply(w, fsm.NodeJoined{Incarnation: node(n)})
	}
	for _, store := range []string{fsm.DefaultStore, "other"} {
		apply(w, fsm.SetStore{Name: store, GCDelay: lease, Replicas: 3, WriteAcks: 2})
	}
	w.restart()
	return w
}

// restart makes the job anew: another one leads.
func (w *world) restart() {
	w.t.Helper()
	job, err := gc.New(gc.Deps{
		Store: fsm.DefaultStore, State: w.state, Proposer: w, Every: time.Hour, Logger: hclog.New(&hclog.LoggerOptions{Output: &w.said}),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.job = job
}

// run does the job once.
func (w *world) run() {
	w.t.Helper()
	if err := w.job.Do(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// meanwhile has something happen between the job's first look and its command.
func (w *world) meanwhile(do func()) {
	w.proposed = func() error {
		w.proposed = nil
		do()
		return nil
	}
}

// Propose is the proposer of the job.
func (w *world) Propose(ctx context.Context, payload []byte) (entry.Result, error) {
	if err := ctx.Err(); err != nil {
		return entry.Result{}, err
	}
	w.proposals++
	if w.proposed != nil {
		if err := w.proposed(); err != nil {
			return entry.Result{}, err
		}
	}
	if w.answer != nil {
		return w.answer(), nil
	}
	return w.append(payload)
}

// append applies a payload as the next entry, a millisecond of state time after the one before.
func (w *world) append(payload []byte) (entry.Result, error) {
	if err := w.state.Admit(payload); err != nil {
		return entry.Result{}, err
	}
	return w.state.Apply([]entry.Entry{w.entry(payload, w.state.Position().Time.Add(time.Millisecond), 1)})[0], nil
}

func (w *world) entry(payload []byte, at entry.Time, offset uint64) entry.Entry {
	return entry.Entry{
		Index: w.state.Position().Index + offset, Term: 1, Kind: entry.Command, Payload: payload,
		Envelope: entry.Envelope{Term: 1, Time: at, Date: 1},
	}
}

// try applies a command of somebody else and returns its refusal.
func try[R any](w *world, cmd fsm.CommandOf[R]) (R, error) {
	w.t.Helper()
	var zero R
	payload, err := fsm.Encode(cmd)
	if err != nil {
		return zero, err
	}
	result, err := w.append(payload)
	if err != nil {
		return zero, err
	}
	return fsm.Decode(cmd, result)
}

// apply applies a command that must not be refused.
func apply[R any](w *world, cmd fsm.CommandOf[R]) R {
	w.t.Helper()
	r, err := try(w, cmd)
	if err != nil {
		w.t.Fatalf("%T: %v", cmd, err)
	}
	return r
}

// pass lets state time pass.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	payload, err := fsm.Encode(fsm.TermStarted{})
	if err != nil {
		w.t.Fatal(err)
	}
	now := w.state.Position().Time
	var batch []entry.Entry
	for end := now.Add(d); now < end; {
		now = min(end, now.Add(w.state.Tick()))
		batch = append(batch, w.entry(payload, now, uint64(len(batch))+1))
	}
	w.state.Apply(batch)
}

// stored is the command that ends an upload of a text, with new copies on all three nodes.
func (w *world) stored(repository, store, text string) fsm.BlobStored {
	cmd := fsm.BlobStored{Repository: repository, Store: store, Digest: packed(text), Size: int64(len(text)), Stamp: w.state.Position().Time}
	for n := 1; n <= 3; n++ {
		w.copies++
		var id fsm.CopyID
		binary.BigEndian.PutUint64(id[8:], w.copies)
		cmd.Locations = append(cmd.Locations, fsm.Location{Incarnation: node(n), Copy: id})
	}
	return cmd
}

// push makes a blob.
func (w *world) push(repository, text string) {
	w.t.Helper()
	apply(w, w.stored(repository, fsm.DefaultStore, text))
}

// manifest is the command that puts a manifest of some blobs.
func manifest(repository, text string, blobs ...string) fsm.PutManifest {
	cmd := fsm.PutManifest{
		Repository: repository, Store: fsm.DefaultStore, Digest: packed(text), Size: int64(len(text)), Body: []byte(text),
		MediaType: "application/vnd.oci.image.manifest.v1+json",
	}
	for _, b := range blobs {
		cmd.Blobs = append(cmd.Blobs, packed(b))
	}
	return cmd
}

func packed(text string) fsm.Digest {
	d, err := fsm.Pack(digest.FromString(text))
	if err != nil {
		panic(err)
	}
	return d
}

// expect compares what there is of a blob with what should be: its record, and its link in a repository.
func (w *world) expect(repository, text string, blob, link bool) {
	w.t.Helper()
	w.view(func(v fsm.View) {
		if _, known := v.Blob(fsm.DefaultStore, packed(text)); known != blob {
			w.t.Errorf("the record of %q: %t, want %t", text, known, blob)
		}
		if _, err := v.Link(repository, packed(text)); (err == nil) != link {
			w.t.Errorf("the link of %s to %q: %v, want %t", repository, text, err, link)
		}
	})
}

// check looks, at the end of a test, for what does not fit together in the state (invariants 2 and 3).
func (w *world) check() {
	w.t.Helper()
	w.view(func(v fsm.View) {
		for _, finding := range v.Check() {
			w.t.Error(finding)
		}
	})
}

// doomed is how many copies each node has to remove.
func (w *world) doomed() (count [3]int) {
	w.t.Helper()
	w.view(func(v fsm.View) {
		for n := range count {
			count[n] = len(v.Doomed(node(n+1), fsm.DoomedCopy{}, 1_000_000))
		}
	})
	return count
}

func (w *world) view(fn func(v fsm.View)) {
	w.t.Helper()
	if err := w.state.View(func(v fsm.View) error { fn(v); return nil }); err != nil {
		w.t.Fatal(err)
	}
}

// exists reports whether a repository is known.
func (w *world) exists(repository string) (known bool) {
	w.t.Helper()
	w.view(func(v fsm.View) {
		_, err := v.Repository(repository)
		if err != nil && !errors.Is(err, fsm.ErrRepositoryUnknown) {
			w.t.Error(err)
		}
		known = err == nil
	})
	return known
}
