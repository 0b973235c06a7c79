package repair_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/memory"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/repair"
	"github.com/seed-16d79997/zot/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// world is a cluster: a state that all nodes share, a store on each, and the job of its leader. Whatever
// the job has done stands in events.
type world struct {
	watch *repair.Watch
	t     *testing.T
	state *fsm.State
	job   jobs.Job
	slice time.Duration // of the jobs that are made from now on; 0: an hour
	idle  int           // likewise
	aside int           // likewise
	few   int           // copies that they make at a time; 0: the usual
	said  bytes.Buffer  // what the job logged

	applying sync.Mutex // held while an entry is applied

	mu     sync.Mutex
	nodes  map[blobstore.Incarnation]*memory.Store
	down   map[blobstore.Incarnation]bool
	silent map[blobstore.Incarnation]time.Duration // for which a node has not answered
	room   map[blobstore.Incarnation]int64         // how much each node has in all; else a GiB
	full   map[blobstore.Incarnation]bool
	events []string
	views  int // of the job
	busy   int // fetches under way
	most   int // of them at once

	// Called in the middle of a step, before it does what it does; an error is the step's.
	fetching   func(ctx context.Context, to blobstore.Incarnation, b blobstore.Blob) error
	publishing func(ctx context.Context, to blobstore.Incarnation) error
	rounding   func() error
}

func node(n int) blobstore.Incarnation { return blobstore.Incarnation{0: byte(n), 15: byte(n)} }

// newWorld is a cluster of so many members, and a store with so many replicas.
func newWorld(t *testing.T, members, replicas int) *world {
	t.Helper()
	state, err := fsm.Open(fsm.Config{Dir: t.TempDir(), Incarnation: entry.Incarnation(node(1)), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	w := &world{
		t: t, state: state, nodes: map[blobstore.Incarnation]*memory.Store{}, down: map[blobstore.Incarnation]bool{},
		silent: map[blobstore.Incarnation]time.Duration{}, room: map[blobstore.Incarnation]int64{}, full: map[blobstore.Incarnation]bool{},
	}
	apply(w, fsm.SetStore{Name: fsm.DefaultStore, GCDelay: time.Hour, Replicas: replicas, WriteAcks: 1})
	for n := range members {
		w.join(n+1, "")
	}
	w.watch = repair.NewWatch(fsm.DefaultStore, w, w.log())
	w.lead()
	return w
}

func (w *world) log() hclog.Logger { return hclog.New(&hclog.LoggerOptions{Output: &w.said}) }

// lead has another leader's job do the work from now on; all look at the nodes through the same watch.
func (w *world) lead() {
	w.t.Helper()
	var err error
	d := repair.Deps{
		Store: fsm.DefaultStore, State: w, Consistency: w, Proposer: w, Copies: w, Watch: w.watch, Logger: w.log(), AtOnce: w.few,
	}
	d.Hurry(cmp.Or(w.slice, time.Hour), w.idle) // no run ends early because the machine is slow
	d.Remember(w.aside)
	w.job, err = repair.New(d)
	if err != nil {
		w.t.Fatal(err)
	}
}

// join makes a node a member.
func (w *world) join(n int, zone string) {
	w.t.Helper()
	i := entry.Incarnation(node(n))
	apply(w, fsm.NodeStarted{Node: entry.Node{Incarnation: i, Name: fmt.Sprint("zot-", n), Zone: zone, Level: 1}})
	apply(w, fsm.NodeJoined{Incarnation: i})
	store, err := memory.New(memory.Config{Incarnation: node(n), Capacity: 1 << 30})
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[node(n)] = store
}

// run does the job once.
func (w *world) run() {
	w.t.Helper()
	if err := w.job.Do(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// View is the state as the job sees it.
func (w *world) View(fn func(v fsm.View) error) error {
	w.mu.Lock()
	w.views++
	w.mu.Unlock()
	return w.state.View(fn)
}

// Propose is the proposer of the term.
func (w *world) Propose(ctx context.Context, payload []byte) (entry.Result, error) {
	if err := ctx.Err(); err != nil {
		return entry.Result{}, err
	}
	w.note("propose")
	return w.append(payload)
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

// pass lets time pass, for those too who do not answer.
func (w *world) pass(d time.Duration) {
	w.passes(d)
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, down := range w.down {
		if down {
			w.silent[i] += d
		}
	}
}

// passes lets state time pass.
func (w *world) passes(d time.Duration) {
	payload, err := fsm.Encode(fsm.TermStarted{})
	if err != nil {
		w.t.Error(err)
		return
	}
	w.applying.Lock()
	defer w.applying.Unlock()
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

func (w *world) note(event string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, event)
}

// count is how many events begin with a word.
func (w *world) count(event string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if strings.HasPrefix(e, event) {
			n++
		}
	}
	return n
}

func (w *world) ReadIndex(context.Context) error {
	w.note("round")
	if w.rounding != nil {
		return w.rounding()
	}
	return nil
}

func (w *world) Reachable(i blobstore.Incarnation) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nodes[i] != nil && !w.down[i]
}

// setDown says whether a node answers.
func (w *world) setDown(n int, down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down[node(n)] = down
	w.silent[node(n)] = 0
}

func (w *world) Silence(i blobstore.Incarnation) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.silent[i]
}

func (w *world) UsageOf(i blobstore.Incarnation) (u blobstore.Usage, room bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	u.Total = 1 << 30
	if total, set := w.room[i]; set {
		u.Total = total
	}
	return u, !w.full[i]
}

func (w *world) store(i blobstore.Incarnation) *memory.Store {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nodes[i]
}

func (w *world) Fetch(ctx context.Context, to blobstore.Incarnation, b blobstore.Blob) (blobstore.UploadID, error) {
	w.note("fetch " + b.Digest.String())
	w.mu.Lock()
	w.busy++
	w.most = max(w.most, w.busy)
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.busy--
	}()
	if w.fetching != nil {
		if err := w.fetching(ctx, to, b); err != nil {
			return blobstore.UploadID{}, err
		}
	}
	body, err := w.read(ctx, b)
	if err != nil {
		return blobstore.UploadID{}, err
	}
	id := blobstore.UploadID(blobstore.NewCopyID())
	err = w.store(to).CreateUpload(ctx, id, "", 1)
	if err == nil {
		_, err = w.store(to).Append(ctx, id, 0, bytes.NewReader(body), 1)
	}
	if err == nil {
		_, err = w.store(to).Finish(ctx, id, b.Digest)
	}
	return id, err
}

// read is a blob as one of its holders has it.
func (w *world) read(ctx context.Context, b blobstore.Blob) ([]byte, error) {
	failed := []error{blobstore.ErrUnreachable}
	for _, l := range b.Locations {
		if !w.Reachable(l.Incarnation) {
			continue
		}
		from, err := w.store(l.Incarnation).Open(ctx, b, 0, -1)
		if err == nil {
			return io.ReadAll(from)
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}

func (w *world) PublishAt(ctx context.Context, to blobstore.Incarnation, id blobstore.UploadID) (blobstore.Location, error) {
	w.note("publish")
	if w.publishing != nil {
		if err := w.publishing(ctx, to); err != nil {
			return blobstore.Location{}, err
		}
	}
	made, err := w.store(to).Publish(ctx, id)
	if err = errors.Join(err, w.store(to).RemoveUpload(ctx, id)); err != nil {
		return blobstore.Location{}, err
	}
	return made[0], nil
}

// write makes a copy of a text on each of some nodes.
func (w *world) write(text string, on ...int) (locations []fsm.Location) {
	ctx, d := w.t.Context(), digest.FromString(text)
	for _, n := range on {
		s, id := w.store(node(n)), blobstore.UploadID(blobstore.NewCopyID())
		err := s.CreateUpload(ctx, id, "", 1)
		if err == nil {
			_, err = s.Append(ctx, id, 0, strings.NewReader(text), 1)
		}
		if err == nil {
			_, err = s.Finish(ctx, id, d)
		}
		var made []blobstore.Location
		if err == nil {
			made, err = s.Publish(ctx, id)
		}
		if err = errors.Join(err, s.RemoveUpload(ctx, id)); err != nil {
			w.t.Error(err)
			return nil
		}
		locations = append(locations, fsm.Location{Incarnation: entry.Incarnation(node(n)), Copy: fsm.CopyID(made[0].Copy)})
	}
	return locations
}

const repository = "a/b"

// push makes a blob with copies on some nodes.
func (w *world) push(text string, on ...int) {
	apply(w, fsm.BlobStored{
		Repository: repository, Store: fsm.DefaultStore, Digest: packed(text), Size: int64(len(text)),
		Locations: w.write(text, on...), Stamp: w.state.Position().Time,
	})
}

// collect deletes a blob and has it collected.
func (w *world) collect(text string) {
	apply(w, fsm.DeleteBlob{Repository: repository, Digest: packed(text)})
	apply(w, fsm.CollectBlobs{Store: fsm.DefaultStore, Digests: []fsm.Digest{packed(text)}})
}

func packed(text string) fsm.Digest {
	d, err := fsm.Pack(digest.FromString(text))
	if err != nil {
		panic(err)
	}
	return d
}

// blob is what the state knows of a blob.
func (w *world) blob(text string) (b fsm.Blob) {
	w.t.Helper()
	err := w.state.View(func(v fsm.View) error {
		b, _ = v.Blob(fsm.DefaultStore, packed(text))
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// holders are the nodes with a recorded copy of a blob that counts and is really there.
func (w *world) holders(text string) (all []int) {
	w.t.Helper()
	b := w.blob(text)
	for _, c := range b.Copies {
		at := blobstore.Location{Incarnation: blobstore.Incarnation(c.Incarnation), Copy: blobstore.CopyID(c.Copy)}
		whole := blobstore.Blob{Digest: digest.FromString(text), Size: b.Size, Locations: []blobstore.Location{at}}
		if err := w.store(at.Incarnation).Verify(w.t.Context(), whole, nil); err != nil {
			w.t.Errorf("recorded copy of %q on node %d: %v", text, c.Incarnation[0], err)
		}
		if c.Counts {
			all = append(all, int(c.Incarnation[0]))
		}
	}
	slices.Sort(all)
	return all
}

// expect compares where a blob is with where it should be.
func (w *world) expect(text string, want ...int) {
	w.t.Helper()
	if have := w.holders(text); !slices.Equal(have, want) {
		w.t.Errorf("%q is on %v, want %v", text, have, want)
	}
}
