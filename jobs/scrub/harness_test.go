package scrub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	"github.com/seed-16d79997/zot/jobs/scrub"
	"github.com/seed-16d79997/zot/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// world is a cluster: a state that all nodes share, and a store on each with its jobs.
type world struct {
	t     *testing.T
	state *fsm.State
	nodes map[int]*shelf

	// proposed is called before a command of a job is applied; its error is the answer.
	proposed  func(payload []byte) error
	proposals int
}

// shelf is a store whose faults a test arranges, and the jobs of its node.
type shelf struct {
	*memory.Store
	world     *world
	n         int
	dir       string
	every     time.Duration
	suspects  *scrub.Suspects
	linked    linked
	lists     int // of linked
	settle    jobs.Job
	pass      jobs.Job
	said      bytes.Buffer // what the jobs logged
	hashed    []digest.Digest
	verifying func(b blobstore.Blob) error // called before a copy is hashed; its error is the answer
	offline   bool
	pace      blobstore.Pace
}

func (s *shelf) Verify(ctx context.Context, b blobstore.Blob, pace blobstore.Pace) error {
	s.hashed = append(s.hashed, b.Digest)
	if s.verifying != nil {
		if err := s.verifying(b); err != nil {
			return err
		}
	}
	err := s.Store.Verify(ctx, b, pace)
	if err == nil && len(b.Locations) > 0 {
		delete(s.linked, b.Locations[0].Copy)
	}
	return err
}

func (s *shelf) Check(ctx context.Context) error {
	if s.offline {
		return blobstore.ErrOffline
	}
	return s.Store.Check(ctx)
}

func node(n int) entry.Incarnation { return entry.Incarnation{0: byte(n), 15: byte(n)} }

const day = 24 * time.Hour

// newWorld is a cluster of so many members. W is 1.
func newWorld(t *testing.T, members, replicas int) *world {
	t.Helper()
	state, err := fsm.Open(fsm.Config{Dir: t.TempDir(), Incarnation: node(1), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	w := &world{t: t, state: state, nodes: map[int]*shelf{}}
	apply(w, fsm.SetStore{Name: fsm.DefaultStore, GCDelay: time.Hour, Replicas: replicas, WriteAcks: 1})
	for n := 1; n <= members; n++ {
		apply(w, fsm.NodeStarted{Node: entry.Node{Incarnation: node(n), Name: fmt.Sprint("zot-", n), Level: 1}})
		apply(w, fsm.NodeJoined{Incarnation: node(n)})
		store, err := memory.New(memory.Config{Incarnation: blobstore.Incarnation(node(n)), Capacity: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		w.nodes[n] = &shelf{Store: store, linked: linked{}, world: w, n: n, dir: t.TempDir(), every: day}
		w.nodes[n].restart()
	}
	return w
}

// restart starts the node again: its jobs are new, and what was in memory is gone.
func (s *shelf) restart() {
	t := s.world.t
	t.Helper()
	s.suspects = scrub.NewSuspects()
	all, err := scrub.New(scrub.Deps{
		Store: fsm.DefaultStore, Every: s.every, Dir: s.dir, State: s.world.state, Proposer: s.world, Blobs: s,
		Suspects: s.suspects, Linked: s.linked, Pace: s.pace, Logger: hclog.New(&hclog.LoggerOptions{Output: &s.said, Level: hclog.Debug}),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.settle = all[0]
	if s.every > 0 {
		s.pass = all[1]
	}
}

// suspect has the node look after a copy.
func (s *shelf) suspect(texts ...string) {
	s.world.t.Helper()
	for _, text := range texts {
		s.suspects.Add(s.copyOf(text))
	}
	s.do(s.settle)
}

// do does a job once, which must not fail.
func (s *shelf) do(j jobs.Job) {
	s.world.t.Helper()
	if err := j.Do(s.world.t.Context()); err != nil {
		s.world.t.Fatalf("%s: %v", j.Name, err)
	}
}

// rot damages the node's copy of a text.
func (s *shelf) rot(texts ...string) {
	s.world.t.Helper()
	for _, text := range texts {
		if err := s.Damage(s.copyOf(text), 0); err != nil {
			s.world.t.Fatal(err)
		}
	}
}

// copyOf is the node's recorded copy of a text.
func (s *shelf) copyOf(text string) (id blobstore.CopyID) {
	s.world.t.Helper()
	for _, c := range s.world.blob(text).Copies {
		if c.Incarnation == node(s.n) {
			return blobstore.CopyID(c.Copy)
		}
	}
	s.world.t.Fatalf("node %d has no copy of %q", s.n, text)
	return id
}

// has reports whether the log has a line with all of these.
func (s *shelf) has(all ...string) bool { return s.count(all...) > 0 }

// count is how many lines of the log have all of these.
func (s *shelf) count(all ...string) (n int) {
	for line := range strings.Lines(s.said.String()) {
		found := true
		for _, want := range all {
			found = found && strings.Contains(line, want)
		}
		if found {
			n++
		}
	}
	return n
}

// ledger is the file that says what was given up.
func (s *shelf) ledger() string { return filepath.Join(s.dir, "bad-copies-default.json") }

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

// apply applies a command of somebody else, which must not be refused.
func apply[R any](w *world, cmd fsm.CommandOf[R]) (r R) {
	w.t.Helper()
	payload, err := fsm.Encode(cmd)
	var result entry.Result
	if err == nil {
		result, err = w.append(payload)
	}
	if err == nil {
		r, err = fsm.Decode(cmd, result)
	}
	if err != nil {
		w.t.Fatalf("%T: %v", cmd, err)
	}
	return r
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
func (w *world) push(text string, on ...int) { w.pushTo(repository, text, on...) }

func (w *world) pushTo(repository, text string, on ...int) {
	w.t.Helper()
	cmd := fsm.BlobStored{Repository: repository, Store: fsm.DefaultStore, Digest: packed(text), Size: int64(len(text)), Stamp: w.state.Position().Time}
	for _, n := range on {
		cmd.Locations = append(cmd.Locations, w.write(text, n))
	}
	apply(w, cmd)
}

// image makes a manifest of blobs that are there, or an index of manifests.
func (w *world) image(repository, body, tag string, blobs, manifests []string) {
	w.t.Helper()
	cmd := fsm.PutManifest{
		Repository: repository, Store: fsm.DefaultStore, Digest: packed(body), Size: int64(len(body)), Body: []byte(body),
		MediaType: "application/vnd.oci.image.manifest.v1+json",
	}
	for _, b := range blobs {
		cmd.Blobs = append(cmd.Blobs, packed(b))
	}
	for _, m := range manifests {
		cmd.Manifests = append(cmd.Manifests, packed(m))
	}
	if tag != "" {
		cmd.Tags = []fsm.TagMove{{Tag: tag}}
	}
	apply(w, cmd)
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
	err := w.state.View(func(v fsm.View) error { b, _ = v.Blob(fsm.DefaultStore, packed(text)); return nil })
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// holders are the nodes that have a recorded copy of a blob.
func (w *world) holders(text string) string {
	w.t.Helper()
	var all []string
	for _, c := range w.blob(text).Copies {
		all = append(all, fmt.Sprint(c.Incarnation[0]))
	}
	return strings.Join(all, " ")
}

func remove(t *testing.T, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}
