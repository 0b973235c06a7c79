package gc_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs/gc"
)

func TestGarbageGoesAndAllElseStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 100 {
		repository := fmt.Sprint("kept/", i%7)
		w.push(repository, fmt.Sprint("kept ", i))
		apply(w, manifest(repository, fmt.Sprint("manifest ", i), fmt.Sprint("kept ", i)))
	}
	const garbage = 200 // more than some commands take
	for i := range garbage {
		w.push(fmt.Sprint("gone/", i%90), fmt.Sprint("gone ", i))
	}
	w.push("kept/0", "shared")
	apply(w, fsm.Mount{From: "kept/0", To: "gone/0", Digest: packed("shared"), Store: fsm.DefaultStore})
	apply(w, manifest("kept/0", "manifest of shared", "shared"))
	w.pass(lease)
	w.push("young/a", "young")
	w.run()
	for i := range garbage {
		w.view(func(v fsm.View) {
			if _, known := v.Blob(fsm.DefaultStore, packed(fmt.Sprint("gone ", i))); known {
				t.Errorf("blob %d is left", i)
			}
		})
		if w.exists(fmt.Sprint("gone/", i%90)) {
			t.Errorf("repository gone/%d is left", i%90)
		}
	}
	w.expect("kept/0", "shared", true, true)
	w.expect("young/a", "young", true, true)
	for i := range 100 {
		w.expect(fmt.Sprint("kept/", i%7), fmt.Sprint("kept ", i), true, true)
	}
	if got := w.doomed(); got != [3]int{garbage, garbage, garbage} {
		t.Errorf("%v copies are doomed", got)
	}
	want := fmt.Sprintf("links=%d blobs=%d copies=%d bytes=%d repositories=90", garbage+1, garbage, 3*garbage, 3*(10*len("gone 0")+90*len("gone 10")+100*len("gone 100")))
	if got := w.said.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, want) {
		t.Errorf("said %q, want one line with %q", got, want)
	}
}

func TestNoGarbageCostsNoCommandAndNoLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push("a", "layer")
	apply(w, manifest("a", "manifest", "layer"))
	w.push("b", "young")
	w.run()
	if w.proposals != 0 || w.said.Len() > 0 {
		t.Errorf("%d proposals, said %q", w.proposals, w.said.String())
	}
}

// A blob goes with its last link, whichever repository that is in.
func TestBlobGoesWithItsLastLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push("a", "layer")
	w.pass(lease / 2)
	w.push("b", "layer")
	w.pass(lease / 2)
	w.run()
	w.expect("a", "layer", true, false)
	w.expect("b", "layer", true, true)
	w.pass(lease / 2)
	w.run()
	w.expect("b", "layer", false, false)
}

// A repository goes with the history of its deleted tags, and not before its links have.
func TestRepositoryGoesWhenNothingIsInIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push("a", "layer")
	for i := range 150 {
		cmd := manifest("a", "manifest", "layer")
		cmd.Tags = []fsm.TagMove{{Tag: fmt.Sprint("t", i)}}
		apply(w, cmd)
		apply(w, fsm.DeleteTag{Repository: "a", Tag: fmt.Sprint("t", i)})
	}
	apply(w, fsm.DeleteManifest{Repository: "a", Digest: packed("manifest")})
	w.pass(lease - time.Minute)
	w.run()
	if !w.exists("a") {
		t.Fatal("it went while the lease of its blob ran")
	}
	w.pass(time.Minute)
	w.run()
	if w.exists("a") {
		t.Error("it is left")
	}
}

// One command takes the history of 300 deleted tags: the rest is for the next one, in the same run.
func TestRepositoriesWithMuchHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, repository := range []string{"a", "b", "c"} {
		w.push(repository, "layer")
		for i := range 180 {
			cmd := manifest(repository, "manifest", "layer")
			cmd.Tags = []fsm.TagMove{{Tag: fmt.Sprint("t", i)}}
			apply(w, cmd)
			apply(w, fsm.DeleteTag{Repository: repository, Tag: fmt.Sprint("t", i)})
		}
		apply(w, fsm.DeleteManifest{Repository: repository, Digest: packed("manifest")})
	}
	w.pass(lease)
	w.run()
	for _, repository := range []string{"a", "b", "c"} {
		if w.exists(repository) {
			t.Errorf("repository %s is left", repository)
		}
	}
}

func TestOtherStoresAreNotCollected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 50 { // more than a page
		text := fmt.Sprint("blob ", i)
		apply(w, w.stored(fmt.Sprint("other/", i), "other", text))
		if i < 45 { // and vacant, once nobody collects for the store any more
			apply(w, fsm.DeleteBlob{Repository: fmt.Sprint("other/", i), Digest: packed(text)})
		}
	}
	w.push("this/one", "layer")
	w.pass(lease)
	w.run()
	if w.exists("this/one") {
		t.Error("the repository of this store is left")
	}
	for i := range 50 {
		if !w.exists(fmt.Sprint("other/", i)) {
			t.Errorf("repository %d of the other store is gone", i)
		}
	}
	if got := w.doomed(); got != [3]int{1, 1, 1} {
		t.Errorf("%v copies are doomed", got)
	}
}

// A leader that dies between any two steps: who leads next goes on where the state is.
func TestCollectionGoesOnAfterACrash(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 100 {
		w.push(fmt.Sprint("r/", i), fmt.Sprint("blob ", i))
	}
	for i := range 60 {
		apply(w, fsm.DeleteBlob{Repository: fmt.Sprint("r/", i), Digest: packed(fmt.Sprint("blob ", i))})
	}
	w.pass(lease)
	crash := errors.New("crash")
	w.proposed = func() error {
		if w.proposals%2 == 0 {
			return crash
		}
		return nil
	}
	for range 20 {
		if err := w.job.Do(t.Context()); err != nil && !errors.Is(err, crash) {
			t.Fatal(err)
		}
		w.restart()
	}
	for i := range 100 {
		w.expect(fmt.Sprint("r/", i), fmt.Sprint("blob ", i), false, false)
		if w.exists(fmt.Sprint("r/", i)) {
			t.Errorf("repository %d is left", i)
		}
	}
}

// Invariant 10: what a deposed leader proposes fails, and its job ends with it.
func TestDeposedLeaderCollectsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push("a", "layer")
	w.pass(lease)
	deposed := errors.New("not the leader")
	w.proposed = func() error { return deposed }
	if err := w.job.Do(t.Context()); !errors.Is(err, deposed) || w.proposals != 1 {
		t.Errorf("%v after %d proposals", err, w.proposals)
	}
	w.proposed = nil
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.job.Do(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	w.expect("a", "layer", true, false)
}

// Should Apply pass over what the look finds, again and again, the run ends all the same.
func TestWhatIsPassedOverIsNotTriedForEver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 100 {
		w.push(fmt.Sprint("links/", i), fmt.Sprint("expired ", i))
		w.push(fmt.Sprint("blobs/", i), fmt.Sprint("unlinked ", i))
		apply(w, fsm.DeleteBlob{Repository: fmt.Sprint("blobs/", i), Digest: packed(fmt.Sprint("unlinked ", i))})
	}
	w.pass(lease)
	nothing, err := fsm.Encode(fsm.CollectBlobs{Store: fsm.DefaultStore, Digests: []fsm.Digest{packed("unknown")}})
	if err != nil {
		t.Fatal(err)
	}
	w.answer = func() entry.Result {
		result, err := w.append(nothing)
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	w.run()
	if w.proposals != 1+3+3 { // the first page of links; all pages of blobs and of repositories
		t.Errorf("%d proposals", w.proposals)
	}
	if w.said.Len() > 0 {
		t.Errorf("said %q", w.said.String())
	}
}

func TestNewRefusesHalfACollector(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	whole := gc.Deps{Store: fsm.DefaultStore, State: w.state, Proposer: w, Every: time.Hour}
	for name, part := range map[string]func(d *gc.Deps){
		"no name":     func(d *gc.Deps) { d.Store = "" },
		"no state":    func(d *gc.Deps) { d.State = nil },
		"no proposer": func(d *gc.Deps) { d.Proposer = nil },
		"no interval": func(d *gc.Deps) { d.Every = 0 },
	} {
		d := whole
		part(&d)
		if _, err := gc.New(d); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if job, err := gc.New(whole); err != nil || job.Every != time.Hour {
		t.Errorf("%+v, %v", job, err)
	}
}
