package retention_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/retention"
)

// The numbers of all worlds.
const (
	lease    = time.Hour
	delay    = 24 * time.Hour
	interval = time.Hour
)

// world is a cluster: a state that all nodes share, and the leader's job. Its clock is that of a bubble.
type world struct {
	t      *testing.T
	state  *fsm.State
	config retention.Config
	deps   retention.Deps
	job    jobs.Job
	said   bytes.Buffer // what the job logged

	copies    uint64 // written so far
	term      uint64
	proposals int
	// proposed is called before a command of the job is applied: between its look and the command. Its error
	// is the answer.
	proposed func(payload []byte) error
}

func self() entry.Incarnation { return entry.Incarnation{1} }

// inWorld runs a test in a cluster of one, whose job has noted its first date.
func inWorld(t *testing.T, test func(w *world), policies ...retention.Policy) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		state, err := fsm.Open(fsm.Config{Dir: t.TempDir(), Incarnation: self(), NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		defer state.Close() //nolint:errcheck // nobody needs it any more
		w := &world{t: t, state: state, term: 1, config: retention.Config{Delay: delay, Policies: policies}}
		apply(w, fsm.NodeStarted{Node: entry.Node{Incarnation: self(), Name: "zot-0", Level: 1}})
		apply(w, fsm.NodeJoined{Incarnation: self()})
		for _, store := range []string{fsm.DefaultStore, "other"} {
			apply(w, fsm.SetStore{Name: store, GCDelay: lease, Replicas: 1, WriteAcks: 1})
		}
		w.restart()
		w.run()
		w.pass(time.Minute)
		test(w)
		w.check()
	})
}

// restart makes the job anew: another one leads.
func (w *world) restart() {
	w.t.Helper()
	policies, err := retention.Compile(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	d := w.deps
	d.Store, d.Policies, d.State, d.Proposer, d.Every = fsm.DefaultStore, policies, w.state, w, interval
	d.Logger = hclog.New(&hclog.LoggerOptions{Output: &w.said})
	if w.job, err = retention.New(d); err != nil {
		w.t.Fatal(err)
	}
	w.term++
}

// run does the job once.
func (w *world) run() {
	w.t.Helper()
	if err := w.job.Do(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// walk has a walk be due and does the job once.
func (w *world) walk() {
	w.t.Helper()
	w.pass(interval)
	w.run()
}

// meanwhile has something happen between the job's look and its next command of a kind.
func (w *world) meanwhile(command string, do func()) {
	w.proposed = func(payload []byte) error {
		if nameOf(payload) == command {
			w.proposed = nil
			do()
		}
		return nil
	}
}

// nameOf is the wire name of a command.
func nameOf(payload []byte) string { return string(payload[1 : 1+int(payload[0])]) }

// Propose is the proposer of the job.
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

// append applies a payload as the next entry, at the date that the clock shows.
func (w *world) append(payload []byte) (entry.Result, error) {
	if err := w.state.Admit(payload); err != nil {
		return entry.Result{}, err
	}
	return w.state.Apply([]entry.Entry{w.entry(payload, w.state.Position().Time.Add(time.Millisecond), 1)})[0], nil
}

func (w *world) entry(payload []byte, at entry.Time, offset uint64) entry.Entry {
	return entry.Entry{
		Index: w.state.Position().Index + offset, Term: w.term, Kind: entry.Command, Payload: payload,
		Envelope: entry.Envelope{Term: w.term, Time: at, Date: time.Now().UnixMilli()},
	}
}

// apply applies a command of somebody else, which must not be refused.
func apply[R any](w *world, cmd fsm.CommandOf[R]) R {
	w.t.Helper()
	payload, err := fsm.Encode(cmd)
	var result entry.Result
	var r R
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

// pass lets time pass, on the clock and in the state.
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
	time.Sleep(d)
}

// push puts a manifest of a blob, and tags.
func (w *world) push(repository, text string, tags ...string) fsm.Digest {
	w.t.Helper()
	return w.put(manifest(repository, text), tags...)
}

// put puts a manifest, whose blobs are pushed first.
func (w *world) put(cmd fsm.PutManifest, tags ...string) fsm.Digest {
	w.t.Helper()
	for _, d := range append(cmd.Blobs, packed("config")) {
		w.copies++
		var id fsm.CopyID
		binary.BigEndian.PutUint64(id[8:], w.copies)
		apply(w, fsm.BlobStored{
			Repository: cmd.Repository, Store: fsm.DefaultStore, Digest: d, Size: 6, Stamp: w.state.Position().Time,
			Locations: []fsm.Location{{Incarnation: self(), Copy: id}},
		})
	}
	for _, t := range tags {
		cmd.Tags = append(cmd.Tags, fsm.TagMove{Tag: t})
	}
	apply(w, cmd)
	return cmd.Digest
}

// manifest is the command that puts a manifest of one blob.
func manifest(repository, text string) fsm.PutManifest {
	return fsm.PutManifest{
		Repository: repository, Store: fsm.DefaultStore, Digest: packed(text), Size: int64(len(text)), Body: []byte(text),
		MediaType: "application/vnd.oci.image.manifest.v1+json", Blobs: []fsm.Digest{packed("config")},
	}
}

// about is a manifest of repository a whose subject is another.
func about(text string, subject fsm.Digest) fsm.PutManifest {
	cmd := manifest("a", text)
	cmd.Subject, cmd.ArtifactType, cmd.Annotations = subject, "application/signature", map[string]string{"by": text}
	return cmd
}

// index is a manifest that lists another.
func index(repository, text string, child fsm.Digest) fsm.PutManifest {
	cmd := manifest(repository, text)
	cmd.Blobs, cmd.Manifests = nil, []fsm.Digest{child}
	return cmd
}

func packed(text string) fsm.Digest {
	d, err := fsm.Pack(digest.FromString(text))
	if err != nil {
		panic(err)
	}
	return d
}

// tags are the tags of a repository.
func (w *world) tags(repository string) string {
	w.t.Helper()
	var names []string
	w.view(func(v fsm.View) {
		for _, t := range v.Tags(repository, "", 10_000) {
			names = append(names, t.Name)
		}
	})
	return strings.Join(names, " ")
}

// expectTags compares the tags of a repository with what they should be.
func (w *world) expectTags(repository string, want ...string) {
	w.t.Helper()
	slices.Sort(want)
	if got := w.tags(repository); got != strings.Join(want, " ") {
		w.t.Errorf("tags of %s: %q, want %q", repository, got, want)
	}
}

// expect says whether a manifest should be there.
func (w *world) expect(repository, text string, want bool) {
	w.t.Helper()
	w.view(func(v fsm.View) {
		if _, is := v.Manifest(repository, packed(text)); is != want {
			w.t.Errorf("manifest %s of %s is there: %t, want %t", text, repository, is, want)
		}
	})
}

// expectSaid says how often a text should be in the log.
func (w *world) expectSaid(text string, want int) {
	w.t.Helper()
	if n := strings.Count(w.said.String(), text); n != want {
		w.t.Errorf("%q was said %d times, want %d: %s", text, n, want, w.said.String())
	}
}

// history is all that repository a remembers of its tags: it shows if one was gone for a moment.
func (w *world) history() (text string) {
	w.t.Helper()
	w.view(func(v fsm.View) {
		tags := v.DeletedTags("a")
		for _, t := range v.Tags("a", "", 10_000) {
			tags = append(tags, t.Name)
		}
		for _, t := range tags {
			text += fmt.Sprintf("%s: %+v\n", t, v.TagHistory("a", t))
		}
	})
	return text
}

// content is what is in repository a.
func (w *world) content() (text string) {
	w.t.Helper()
	w.view(func(v fsm.View) {
		text = fmt.Sprintf("%+v %+v", v.Tags("a", "", 10_000), v.Manifests("a", "", 10_000))
	})
	return text
}

// check looks for what does not fit together in the state (invariants 2 and 3).
func (w *world) check() {
	w.t.Helper()
	w.view(func(v fsm.View) {
		for _, finding := range v.Check() {
			w.t.Error(finding)
		}
	})
}

func (w *world) view(fn func(v fsm.View)) {
	w.t.Helper()
	if err := w.state.View(func(v fsm.View) error { fn(v); return nil }); err != nil {
		w.t.Fatal(err)
	}
}

// everywhere is a policy for all repositories.
func everywhere(p retention.Policy) retention.Policy {
	p.Repositories = []string{"**"}
	return p
}

// newest keeps so many tags.
func newest(n int) retention.Policy {
	return everywhere(retention.Policy{KeepTags: []retention.KeepTags{{Rules: retention.Rules{MostRecentlyPushed: n}}}})
}

// untagged keeps tags and nothing else.
func untagged() retention.Policy {
	return everywhere(retention.Policy{DeleteUntagged: true, DeleteReferrers: true})
}

func numbered(n int) string { return fmt.Sprintf("v%04d", n) }
