package scrub_test

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/scrub"
)

// linked are copies that nobody has hashed. A shelf's Verify takes them off.
type linked map[blobstore.CopyID]bool

func (l linked) IsUnsummed(id blobstore.CopyID) bool { return l[id] }

func (l linked) Unsummed(context.Context) iter.Seq2[blobstore.CopyID, error] {
	all := slices.SortedFunc(maps.Keys(l), func(a, b blobstore.CopyID) int { return cmp.Compare(a.String(), b.String()) })
	return func(yield func(blobstore.CopyID, error) bool) {
		for _, id := range all {
			if !yield(id, nil) {
				return
			}
		}
	}
}

// counted counts how often the names of all copies are read.
type counted struct {
	linked

	lists *int
}

func (c counted) Unsummed(ctx context.Context) iter.Seq2[blobstore.CopyID, error] {
	*c.lists++
	return c.linked.Unsummed(ctx)
}

// link makes the node's copy of a text one that nobody has hashed.
func (s *shelf) link(text string) { s.linked[s.copyOf(text)] = true }

// firstOf is the job that hashes what was linked, of a process that has just started.
func (s *shelf) firstOf(woken <-chan struct{}) jobs.Job {
	s.world.t.Helper()
	j, err := scrub.NewFirst(scrub.Deps{
		Store: fsm.DefaultStore, Dir: s.dir, State: s.world.state, Proposer: s.world, Blobs: s, Suspects: s.suspects, Linked: counted{s.linked, &s.lists}, Pace: s.pace,
	}, woken)
	if err != nil {
		s.world.t.Fatal(err)
	}
	return j
}

func TestLinkedCopiesAreHashed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	n := w.nodes[1]
	for _, text := range []string{"one", "two", "known already"} {
		w.push(text, 1)
	}
	n.link("one")
	n.link("two")
	early := w.write("not recorded yet", 1)
	n.linked[blobstore.CopyID(early.Copy)] = true
	woken := make(chan struct{}, 1)
	j := n.firstOf(woken)
	n.do(j)
	if len(n.hashed) != 2 || len(n.linked) != 1 {
		t.Fatalf("hashed %v, left %v", n.hashed, n.linked)
	}
	apply(w, fsm.BlobStored{
		Repository: repository, Store: fsm.DefaultStore, Digest: packed("not recorded yet"), Size: 16,
		Locations: []fsm.Location{early}, Stamp: w.state.Position().Time, Unsummed: true,
	})
	n.do(j) // its time has come, though nobody woke it
	if len(n.linked) > 0 {
		t.Errorf("left %v", n.linked)
	}
	n.link("one")
	n.do(j)
	if len(n.linked) != 1 {
		t.Error("names of all copies were read though nobody had said that there is anything new")
	}
	woken <- struct{}{}
	j.Early(t.Context())
	n.do(j)
	if len(n.linked) > 0 {
		t.Errorf("left %v", n.linked)
	}
}

// Files that were bad when they were linked say nothing about this disk: any number is given up, and the last copy of
// a blob is damaged until somebody pushes it.
func TestLinkedCopiesThatAreBad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 2)
	n := w.nodes[1]
	var texts []string
	for i := range 20 {
		texts = append(texts, fmt.Sprint("blob ", i))
		w.push(texts[i], 1, 2)
		n.link(texts[i])
	}
	w.push("sole", 1)
	n.link("sole")
	n.rot(append(texts, "sole")...)
	woken := make(chan struct{}, 1)
	j := n.firstOf(woken)
	n.do(j)
	n.do(n.settle)
	for _, text := range texts {
		if w.holders(text) != "2" {
			t.Errorf("%s is on %s", text, w.holders(text))
		}
	}
	if !w.blob("sole").Damaged {
		t.Error("the blob without a good copy is not damaged")
	}
	hashed, lists := len(n.hashed), n.lists
	woken <- struct{}{}
	j.Early(t.Context())
	n.do(j)
	n.do(j)
	if len(n.hashed) != hashed || n.lists != lists+1 {
		t.Errorf("what is known to be bad is looked at again and again: %d lists", n.lists-lists)
	}
}
