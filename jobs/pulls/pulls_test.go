package pulls_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/pulls"
	"github.com/seed-16d79997/zot/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// world is a state, and the counter of a node.
type world struct {
	t       *testing.T
	state   *fsm.State
	counter *pulls.Counter
	job     jobs.Job
	said    bytes.Buffer

	proposals int
	fails     func(proposal int) error // nil: none does
}

func newWorld(t *testing.T) *world {
	t.Helper()
	state, err := fsm.Open(fsm.Config{Dir: t.TempDir(), Incarnation: entry.Incarnation{1}, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	w := &world{t: t, state: state}
	w.counter, w.job, err = pulls.New(pulls.Deps{Proposer: w, Logger: hclog.New(&hclog.LoggerOptions{Output: &w.said})})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Propose is the proposer of the job, unless it fails.
func (w *world) Propose(ctx context.Context, payload []byte) (entry.Result, error) {
	w.proposals++
	if err := ctx.Err(); err != nil {
		return entry.Result{}, err
	}
	if w.fails != nil {
		if err := w.fails(w.proposals); err != nil {
			return entry.Result{}, err
		}
	}
	return w.append(payload), nil
}

func (w *world) append(payload []byte) entry.Result {
	w.t.Helper()
	if err := w.state.Admit(payload); err != nil {
		w.t.Fatal(err)
	}
	at := w.state.Position()
	return w.state.Apply([]entry.Entry{{
		Index: at.Index + 1, Term: 1, Kind: entry.Command, Payload: payload,
		Envelope: entry.Envelope{Term: 1, Time: at.Time.Add(time.Millisecond), Date: int64(at.Index) + 1},
	}})[0]
}

// put makes a manifest.
func (w *world) put(repository, text string) fsm.Digest {
	w.t.Helper()
	d, err := fsm.Pack(digest.FromString(text))
	if err != nil {
		w.t.Fatal(err)
	}
	payload, err := fsm.Encode(fsm.PutManifest{Repository: repository, Store: fsm.DefaultStore, Digest: d, Size: int64(len(text)), Body: []byte(text), MediaType: "index"})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.state.Explain(w.append(payload)); err != nil {
		w.t.Fatal(err)
	}
	return d
}

// expect compares how often a manifest was pulled, as the state says, and when.
func (w *world) expect(repository string, d fsm.Digest, want uint64, date int64) {
	w.t.Helper()
	err := w.state.View(func(v fsm.View) error {
		if count, newest := v.Pulls(repository, d); count != want || newest != date {
			w.t.Errorf("%s was pulled %d times, on %d; want %d, on %d", repository, count, newest, want, date)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// record does the job once.
func (w *world) record() {
	w.t.Helper()
	if err := w.job.Do(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func TestPullsAreRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other := w.put("a", "one"), w.put("a", "other")
	w.put("b", "one")
	w.record()
	if w.proposals != 0 {
		t.Error("a proposal that nobody pulled for")
	}
	var pulling sync.WaitGroup
	for range 4 {
		pulling.Go(func() {
			for range 100 {
				w.counter.Pulled("a", one)
			}
			w.counter.Pulled("a", other)
		})
	}
	pulling.Wait()
	w.expect("a", one, 0, 0)
	w.counter.Pulled("gone", one)
	w.record()
	w.expect("a", one, 400, 4)
	w.expect("a", other, 4, 4)
	w.expect("b", one, 0, 0)
	w.record()
	if w.proposals != 1 {
		t.Errorf("%d proposals", w.proposals)
	}
	w.counter.Pulled("a", one)
	w.record()
	w.expect("a", one, 401, 5)
	w.expect("a", other, 4, 4)
}

// What could not be recorded is recorded the next time.
func TestPullsOutliveAFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var all []fsm.Digest
	for n := range 1200 {
		all = append(all, w.put("a", fmt.Sprint(n)))
		w.counter.Pulled("a", all[n])
	}
	lost := errors.New("no leader")
	w.fails = func(proposal int) error {
		if proposal == 2 {
			return lost
		}
		return nil
	}
	if err := w.job.Do(t.Context()); !errors.Is(err, lost) || w.proposals != 2 {
		t.Errorf("error %v after %d proposals", err, w.proposals)
	}
	w.counter.Pulled("a", all[0])
	w.record()
	if w.proposals != 4 { // 700 manifests were left, or 701
		t.Errorf("%d proposals", w.proposals)
	}
	sum := uint64(0)
	err := w.state.View(func(v fsm.View) error {
		for _, d := range all {
			n, _ := v.Pulls("a", d)
			sum += n
		}
		return nil
	})
	if err != nil || sum != 1201 {
		t.Errorf("%d pulls, %v", sum, err)
	}
}

// However many manifests are pulled, no more are held; those that are stay counted.
func TestCountsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.put("a", "first")
	w.counter.Pulled("a", first)
	for n := range 12_000 {
		w.counter.Pulled(fmt.Sprint(n), first)
	}
	w.counter.Pulled("a", first)
	w.record()
	w.expect("a", first, 2, 21) // in the last of the commands
	if w.proposals != 20 {
		t.Errorf("%d proposals", w.proposals)
	}
	if !strings.Contains(w.said.String(), "pulls_omitted=2001 manifests_counted=10000") {
		t.Errorf("said %s", w.said.String())
	}
	w.record()
	if w.proposals != 20 || strings.Count(w.said.String(), "omitted") != 1 {
		t.Errorf("%d proposals, said %s", w.proposals, w.said.String())
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	if _, _, err := pulls.New(pulls.Deps{}); err == nil {
		t.Error("without a proposer a counter was made")
	}
}

func BenchmarkPulled(b *testing.B) {
	w := &world{}
	counter, _, err := pulls.New(pulls.Deps{Proposer: w})
	if err != nil {
		b.Fatal(err)
	}
	d := fsm.Digest(strings.Repeat("d", 33))
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			counter.Pulled("team/app", d)
		}
	})
}
