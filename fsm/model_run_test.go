package fsm_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"pgregory.net/rapid"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// commandsARun is how long one random history is: enough for leases to end and nodes to come and go.
const commandsARun = 500

// TestCommandsAgainstTheModel applies random histories to a naive model and to replicas that get them in
// different batches, and compares results, views, invariants and hashes. ZOT_MODEL_COMMANDS says how many
// commands; a failure is shrunk and printed with how to run it again.
func TestCommandsAgainstTheModel(t *testing.T) {
	commands := 5000
	if s := os.Getenv("ZOT_MODEL_COMMANDS"); s != "" {
		var err error
		if commands, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	if !explicit("rapid.checks") {
		if err := flag.Set("rapid.checks", strconv.Itoa(max(1, commands/commandsARun))); err != nil {
			t.Fatal(err)
		}
	}
	dirs, seen := t.TempDir(), map[string]int{}
	defer func() {
		for _, what := range sorted(seen) {
			if !t.Failed() {
				t.Logf("%7d %s", seen[what], what)
			}
		}
	}()
	rapid.Check(t, func(rt *rapid.T) {
		run := newRun(rt, dirs, seen)
		defer run.close()
		for run.index < commandsARun {
			run.batch()
		}
		run.catchUp()
		run.sameHash()
	})
	if commands >= 5000 {
		everyCommand(t, seen)
	}
}

// everyCommand fails for a command that no history had: a new one needs a place in the model.
func everyCommand(t *testing.T, seen map[string]int) {
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), "-1.golden")
		if !slices.ContainsFunc(sorted(seen), func(what string) bool { return strings.HasPrefix(what, name+" ") }) {
			t.Errorf("no %s in any history", name)
		}
	}
}

// explicit reports whether a flag was given on the command line.
func explicit(name string) (given bool) {
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	return given
}

// run is one random history.
type run struct {
	t     *rapid.T
	r     *rand.Rand // of the batch
	dirs  string
	seen  map[string]int // outcomes of commands, over all runs
	g     *generator
	m     *model
	index uint64

	first, second *fsm.State
	dir           map[*fsm.State]string
	who           map[*fsm.State]entry.Incarnation
	log           []entry.Entry // in order; a restore clears it
	batched       []judged      // what the model said of the last of them, until they are applied
}

// judged is an operation and what it must give.
type judged struct {
	op operation
	modelResult
}

func newRun(t *rapid.T, dirs string, seen map[string]int) *run {
	u, m := newUniverse(drawn(t)), newModel()
	r := &run{t: t, dirs: dirs, seen: seen, m: m, g: &generator{t: t, u: u, m: m, term: 1, date: 1_800_000_000_000}}
	r.dir, r.who = map[*fsm.State]string{}, map[*fsm.State]entry.Incarnation{}
	r.first, r.second = r.open(r.newDir(), node(201)), r.open(r.newDir(), node(202))
	for _, name := range u.stores {
		r.mustApply(r.g.must(r.storeOf(name, u)))
	}
	for _, i := range u.nodes[:3] {
		r.mustApply(r.nodeStarted(i))
		c := fsm.NodeJoined{Incarnation: i}
		r.mustApply(r.g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.nodeJoined(c) })))
	}
	return r
}

func (r *run) storeOf(name string, u *universe) (operation, error) {
	c := fsm.SetStore{Name: name, GCDelay: u.delays[0], Replicas: 3, WriteAcks: 2}
	if name == bucketStore {
		c.Replicas, c.WriteAcks, c.Place = 1, 1, theBucket
	}
	return operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.setStoreCommand(c) })
}

func (r *run) nodeStarted(i entry.Incarnation) operation {
	c := fsm.NodeStarted{Node: entry.Node{Incarnation: i, Name: "zot-" + i.Short(), Level: 1}}
	return r.g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.nodeStarted(c) }))
}

// mustApply applies one command that the run begins with.
func (r *run) mustApply(op operation) {
	r.index++
	r.add(entry.Entry{
		Index: r.index, Term: 1, Kind: entry.Command, Payload: op.payload,
		Envelope: entry.Envelope{Term: 1, Date: r.g.date},
	}, op)
	r.judge()
}

func (r *run) newDir() string {
	dir, err := os.MkdirTemp(r.dirs, "")
	if err != nil {
		r.t.Fatal(err)
	}
	return dir
}

func (r *run) open(dir string, i entry.Incarnation) *fsm.State {
	s, err := fsm.Open(fsm.Config{Dir: dir, Incarnation: i, NoSync: true, Logger: hclog.NewNullLogger()})
	if err != nil {
		r.t.Fatal(err)
	}
	r.dir[s], r.who[s] = dir, i
	return s
}

// shut closes a state, and removes it unless it is to be opened again.
func (r *run) shut(s *fsm.State, remove bool) {
	if err := s.Close(); err != nil {
		r.t.Fatal(err)
	}
	if remove {
		if err := os.RemoveAll(r.dir[s]); err != nil {
			r.t.Fatal(err)
		}
	}
	delete(r.dir, s)
}

func (r *run) close() {
	for _, s := range []*fsm.State{r.first, r.second} {
		if _, isOpen := r.dir[s]; isOpen {
			r.shut(s, true)
		}
	}
}

// batch makes up some entries, applies them, and compares; then perhaps something happens to a replica.
func (r *run) batch() {
	r.r = drawn(r.t)
	for range between(r.r, 1, 16) {
		r.index++
		r.add(r.g.next(r.index))
	}
	r.judge()
	switch between(r.r, 0, 39) {
	case 0:
		r.reopen()
	case 1:
		r.replaceSecond()
	case 2:
		r.restoreBackup()
	case 3, 4, 5, 6:
		r.catchUp()
		r.sameHash()
	case 7, 8:
		r.deliverAgain()
	case 9, 10:
		r.compact()
	}
	if chance(r.r, 25) {
		r.sound()
	}
}

// add puts an entry into the log, and notes what the model says of it.
func (r *run) add(e entry.Entry, op operation) {
	r.t.Logf("%d at %d: %s %+v", e.Index, e.Envelope.Time, op.name, op.command)
	r.log = append(r.log, e)
	r.batched = append(r.batched, judged{op, r.m.apply(e, op)})
}

// judge applies the entries that were added since, and compares results and views with the model.
func (r *run) judge() {
	entries := r.log[len(r.log)-len(r.batched):]
	for i, result := range r.first.Apply(entries) {
		r.compare(entries[i], r.batched[i], result)
	}
	r.batched = nil
	if reason := r.first.Fenced(); reason != "" {
		r.t.Fatalf("fenced: %s", reason)
	}
	r.sameViews()
}

func (r *run) compare(e entry.Entry, want judged, have entry.Result) {
	what := want.op.name + " at " + strconv.FormatUint(e.Index, 10)
	if have.Outcome != want.outcome {
		r.t.Fatalf("%s: outcome %d (%v), the model says %d %s", what, have.Outcome, r.first.Explain(have), want.outcome, want.code)
	}
	r.seen[want.op.name+" "+strconv.Itoa(int(have.Outcome))+" "+want.code]++
	switch {
	case e.Kind == entry.Configuration:
	case have.Outcome == entry.Refused:
		if err := r.first.Explain(have); !errors.Is(err, &fsm.Refusal{Code: want.code}) {
			r.t.Fatalf("%s: refused with %v, the model says %s", what, err, want.code)
		}
	case have.Outcome == entry.Applied:
		value, err := want.op.decode(have)
		if err != nil || !reflect.DeepEqual(value, want.value) {
			r.t.Fatalf("%s: %+v, %v, the model says %+v", what, value, err, want.value)
		}
	}
}

// sameViews compares all that the views say with the model.
func (r *run) sameViews() {
	var have, haveToo, wantToo []string
	if err := r.first.View(func(v fsm.View) error {
		have = describe(viewFacts{v}, r.g.u)
		haveToo, wantToo = describePeople(v, r.m, r.g.u)
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	have, want := append(have, haveToo...), append(describe(modelFacts{r.m}, r.g.u), wantToo...)
	for i := range want {
		if have[i] != want[i] {
			r.t.Fatalf("after entry %d the state says\n%s\nand the model\n%s", r.index, have[i], want[i])
		}
	}
}

// sound checks the invariants that the state can show by itself.
func (r *run) sound() {
	if err := r.first.View(func(v fsm.View) error {
		for _, line := range v.Check() {
			r.t.Errorf("after entry %d: %s", r.index, line)
		}
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	if r.t.Failed() {
		r.t.FailNow()
	}
}

// catchUp brings the second replica to the end of the log, in batches of its own.
func (r *run) catchUp() {
	for {
		at := r.second.Position().Index
		rest := r.log[sort.Search(len(r.log), func(i int) bool { return r.log[i].Index > at }):]
		if len(rest) == 0 {
			return
		}
		r.second.Apply(rest[:between(r.r, 1, min(40, len(rest)))])
	}
}

// sameHash compares the state hashes of both replicas, which must be at the same entry (invariant 7).
func (r *run) sameHash() {
	r.index++
	op := r.g.must(operationOf(fsm.HashCheck{}, nothing))
	r.add(entry.Entry{
		Index: r.index, Term: r.g.term, Kind: entry.Command, Payload: op.payload,
		Envelope: entry.Envelope{Term: r.g.term, Time: r.m.now, Date: r.g.date},
	}, op)
	r.judge()
	r.catchUp()
	one, ok := r.first.Hash(r.index)
	two, too := r.second.Hash(r.index)
	if !ok || !too || !bytes.Equal(one, two) {
		r.t.Fatalf("at entry %d the hashes are %x and %x", r.index, one, two)
	}
}

// deliverAgain applies entries that were applied before: nothing may come of it (invariant 8).
func (r *run) deliverAgain() {
	before := r.first.Position()
	for _, result := range r.first.Apply(r.log[max(0, len(r.log)-20):]) {
		if !reflect.DeepEqual(result, entry.Result{}) {
			r.t.Fatalf("an entry that was applied before gave %+v", result)
		}
	}
	if after := r.first.Position(); !reflect.DeepEqual(before, after) {
		r.t.Fatalf("position went from %+v to %+v", before, after)
	}
	r.sameViews()
}

// reopen closes the first replica and opens it again.
func (r *run) reopen() {
	dir, before := r.dir[r.first], r.first.Position()
	r.shut(r.first, false)
	r.first = r.open(dir, node(201))
	if after := r.first.Position(); !reflect.DeepEqual(before, after) {
		r.t.Fatalf("position was %+v and is %+v", before, after)
	}
	r.sameViews()
}

// compact compacts both replicas, the first while it goes on.
func (r *run) compact() {
	for _, s := range []*fsm.State{r.first, r.second} {
		s.CompactInSteps(between(r.r, 1, 2000))
		if err := s.Compact(context.Background(), func(context.Context, int) error {
			if s == r.first && chance(r.r, 5) {
				for range between(r.r, 1, 4) {
					r.index++
					r.add(r.g.next(r.index))
				}
				r.judge()
			}
			return nil
		}); err != nil {
			r.t.Fatal(err)
		}
	}
	r.sameViews()
	r.sound()
	r.sameHash()
	if chance(r.r, 20) {
		r.reopen()
	}
}

// replaceSecond puts a new replica in the place of the second, from a snapshot of the first, which has
// gone on meanwhile.
func (r *run) replaceSecond() {
	snapshot := r.snapshot()
	defer snapshot.close(r.t)
	r.index++
	r.add(r.g.next(r.index))
	r.judge()
	r.shut(r.second, true)
	r.second = r.open(r.newDir(), node(203))
	p := snapshot.Position()
	r.install(r.second, snapshot, entry.Stamp{
		Index: p.Index, Term: p.Term, Configuration: p.Configuration, ConfigurationIndex: p.ConfigurationIndex,
	})
	r.catchUp()
	r.sameHash()
}

type openSnapshot struct{ *fsm.Snapshot }

func (s openSnapshot) close(t *rapid.T) {
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func (r *run) snapshot() openSnapshot {
	s, err := r.first.OpenSnapshot()
	if err != nil {
		r.t.Fatal(err)
	}
	return openSnapshot{s}
}

func (r *run) install(s *fsm.State, snapshot openSnapshot, stamp entry.Stamp) {
	if err := s.Stage(snapshot); err != nil {
		r.t.Fatal(err)
	}
	if err := s.Install(stamp); err != nil {
		r.t.Fatal(err)
	}
}
