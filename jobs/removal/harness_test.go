package removal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/memory"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/removal"
	"github.com/seed-16d79997/zot/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// world is a cluster: a state that all nodes share, a store on each with its job, and the jobs of the leader.
type world struct {
	t     *testing.T
	state *fsm.State
	nodes map[int]*shelf
	vouch map[int]jobs.Job
	drop  jobs.Job
	clear jobs.Job
	said  bytes.Buffer // what the jobs logged
	idle  int          // for the jobs that are made from now on

	proposals int // of jobs
	suspects  int // that jobs have found
	// proposed is called before a command of a job is applied; its error is the answer.
	proposed func(payload []byte) error
}

// shelf is a store whose faults a test arranges.
type shelf struct {
	*memory.Store
	hashed    int
	verifying func(b blobstore.Blob) error // called before a copy is hashed; its error is the answer
	offline   bool
}

func (s *shelf) Verify(ctx context.Context, b blobstore.Blob, pace blobstore.Pace) error {
	s.hashed++
	if s.verifying != nil {
		if err := s.verifying(b); err != nil {
			return err
		}
	}
	return s.Store.Verify(ctx, b, pace)
}

func (s *shelf) Check(ctx context.Context) error {
	if s.offline {
		return blobstore.ErrOffline
	}
	return s.Store.Check(ctx)
}

func node(n int) entry.Incarnation { return entry.Incarnation{0: byte(n), 15: byte(n)} }

// newWorld is a cluster of so many members. W is 2.
func newWorld(t *testing.T, members, replicas int) *world {
	t.Helper()
	state, err := fsm.Open(fsm.Config{Dir: t.TempDir(), Incarnation: node(1), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	w := &world{t: t, state: state, nodes: map[int]*shelf{}, vouch: map[int]jobs.Job{}, idle: 1000}
	apply(w, fsm.SetStore{Name: fsm.DefaultStore, GCDelay: time.Hour, Replicas: replicas, WriteAcks: 2})
	for n := 1; n <= members; n++ {
		apply(w, fsm.NodeStarted{Node: entry.Node{Incarnation: node(n), Name: fmt.Sprint("zot-", n), Level: 1}})
		apply(w, fsm.NodeJoined{Incarnation: node(n)})
		store, err := memory.New(memory.Config{Incarnation: blobstore.Incarnation(node(n)), Capacity: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		w.nodes[n] = &shelf{Store: store}
	}
	w.restart()
	return w
}

// restart makes all jobs anew: a node was started again, another one leads.
func (w *world) restart() {
	w.t.Helper()
	deps := removal.Deps{Store: fsm.DefaultStore, State: w.state, Proposer: w, Logger: hclog.New(&hclog.LoggerOptions{Output: &w.said})}
	deps.LookAtMost(w.idle)
	var errs [3]error
	w.drop, errs[0] = removal.NewDrop(deps)
	w.clear, errs[1] = removal.NewClear(deps)
	for n, store := range w.nodes {
		deps.Blobs = store
		deps.Suspect = func(id blobstore.CopyID) { w.giveUp(n, id) }
		w.vouch[n], errs[2] = removal.NewVouch(deps)
		if err := errors.Join(errs[:]...); err != nil {
			w.t.Fatal(err)
		}
	}
}

// run does jobs once, one after the other.
func (w *world) run(all ...jobs.Job) {
	w.t.Helper()
	for _, j := range all {
		if err := j.Do(w.t.Context()); err != nil {
			w.t.Fatalf("%s: %v", j.Name, err)
		}
	}
}

// Propose is the proposer of the jobs.
func (w *world) Propose(ctx context.Context, payload []byte) (entry.Result, error) {
	if err := ctx.Err(); err != nil {
		return entry.Result{}, err
	}
	w.proposals++
	if w.proposed != nil {
		if err := w.proposed(payload); err != nil {
			return entry.Result{}, err
		}
	}
	return w.append(payload)
}

// append applies a payload as the next entry, a second of state time after the one before.
func (w *world) append(payload []byte) (entry.Result, error) {
	if err := w.state.Admit(payload); err != nil {
		return entry.Result{}, err
	}
	at := w.state.Position()
	return w.state.Apply([]entry.Entry{{
		Index: at.Index + 1, Term: 1, Kind: entry.Command, Payload: payload,
		Envelope: entry.Envelope{Term: 1, Time: at.Time.Add(time.Second), Date: 1},
	}})[0], nil
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

// giveUp is what becomes of a node's bad copy.
func (w *world) giveUp(n int, id blobstore.CopyID) {
	w.t.Helper()
	at := fsm.Location{Incarnation: node(n), Copy: fsm.CopyID(id)}
	var d fsm.Digest
	w.view(func(v fsm.View) { _, d = v.Copy(fsm.DefaultStore, at) })
	w.suspects++
	if _, err := try(w, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: d, Location: at}); err != nil {
		w.t.Error(err)
	}
}

// retire begins the removal of a node.
func (w *world) retire(n int) {
	w.t.Helper()
	apply(w, fsm.RetireNode{Incarnation: node(n)})
}

// leaves tries the end of node 3, as cluster does when it is retired.
func (w *world) leaves() error {
	_, err := try(w, fsm.DropNode{Incarnation: node(3)})
	return err
}

// write makes a copy of a text on a node that the state does not know yet.
func (w *world) write(text string, n int) fsm.Location {
	w.t.Helper()
	ctx, s, id := w.t.Context(), w.nodes[n], blobstore.UploadID(blobstore.NewCopyID())
	err := s.CreateUpload(ctx, id, "", 1)
	if err == nil {
		_, err = s.Append(ctx, id, 0, strings.NewReader(text), 1)
	}
	if err == nil {
		_, err = s.Finish(ctx, id, digest.FromString(text))
	}
	var made []blobstore.Location
	if err == nil {
		made, err = s.Publish(ctx, id)
	}
	if err = errors.Join(err, s.RemoveUpload(ctx, id)); err != nil {
		w.t.Fatal(err)
	}
	return fsm.Location{Incarnation: node(n), Copy: fsm.CopyID(made[0].Copy)}
}

const repository = "a/b"

// push makes a blob with copies on some nodes.
func (w *world) push(text string, on ...int) {
	w.t.Helper()
	cmd := fsm.BlobStored{Repository: repository, Store: fsm.DefaultStore, Digest: packed(text), Size: int64(len(text)), Stamp: w.state.Position().Time}
	for _, n := range on {
		cmd.Locations = append(cmd.Locations, w.write(text, n))
	}
	apply(w, cmd)
}

// repair makes one more copy of a blob, as the job of the leader does.
func (w *world) repair(text string, n int) {
	w.t.Helper()
	at := w.write(text, n)
	if got := apply(w, fsm.AddCopy{Store: fsm.DefaultStore, Digest: packed(text), Location: at, Stamp: w.state.Position().Time}); !got.Recorded {
		w.t.Fatalf("the copy of %q on node %d is not recorded", text, n)
	}
}

// copyOn is a node's recorded copy of a blob.
func (w *world) copyOn(text string, n int) (id blobstore.CopyID) {
	w.t.Helper()
	for _, c := range w.blob(text).Copies {
		if c.Incarnation == node(n) {
			return blobstore.CopyID(c.Copy)
		}
	}
	w.t.Fatalf("node %d has no copy of %q", n, text)
	return id
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
	w.view(func(v fsm.View) { b, _ = v.Blob(fsm.DefaultStore, packed(text)) })
	return b
}

// on is how many blobs have a location on a node.
func (w *world) on(n int) (count int) {
	w.t.Helper()
	w.view(func(v fsm.View) { count = len(v.On(node(n), fsm.BlobName{}, 1_000_000)) })
	return count
}

func (w *world) view(fn func(v fsm.View)) {
	w.t.Helper()
	if err := w.state.View(func(v fsm.View) error { fn(v); return nil }); err != nil {
		w.t.Fatal(err)
	}
}
