package removal

import (
	"bytes"
	"context"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

const (
	// pageSize is how many blobs are looked at in one view, and dropped by one command at most.
	pageSize = 150
	// maxIdle is how many blobs in a row a run looks at in vain: a node with millions that wait for repair
	// must not keep a processor busy.
	maxIdle = 20_000
)

// stateRetired is the word for a node that is leaving: the number behind it is between the log and the state.
const stateRetired = "retired"

// walk goes through the blobs of one store that have a copy on a node which is leaving, node by node.
// Where it stopped it goes on in the next run; what it remembers, it can do without.
type walk struct {
	store string
	state State
	idle  int // how many blobs in a row a run looks at in vain
	// work does what there is to do for a page, and reports whether that was anything. Its error ends the
	// run; the next begins with the same page.
	work func(ctx context.Context, node blobstore.Incarnation, page []fsm.Digest) (bool, error)

	node  blobstore.Incarnation // that it is at
	after fsm.Digest            // the last blob of it that was worked on
	ended bool                  // the last run came to the end
}

// run goes on until it came to the end, or looked in vain for long.
func (w *walk) run(ctx context.Context) error {
	if w.ended {
		w.node, w.after, w.ended = blobstore.Incarnation{}, "", false
	}
	for idle := 0; idle < w.idle; {
		page, err := w.page()
		if err != nil {
			return err
		}
		if len(page) == 0 {
			w.ended = true
			return nil
		}
		did, err := w.work(ctx, w.node, page)
		if err != nil {
			return err
		}
		if idle += len(page); did {
			idle = 0
		}
		w.after = page[len(page)-1]
	}
	return nil
}

// page returns the next blobs, of the next node if there are no more of the one before.
func (w *walk) page() (page []fsm.Digest, err error) {
	err = w.state.View(func(v fsm.View) error {
		for _, n := range v.Nodes() { // in their order
			order := bytes.Compare(n.Incarnation[:], w.node[:])
			if n.State.String() != stateRetired || order < 0 {
				continue
			}
			if order > 0 {
				w.node, w.after = blobstore.Incarnation(n.Incarnation), ""
			}
			for _, name := range v.On(n.Incarnation, fsm.BlobName{Store: w.store, Digest: w.after}, pageSize) {
				if name.Store != w.store {
					break // they come store by store
				}
				page = append(page, name.Digest)
			}
			if len(page) > 0 {
				return nil
			}
		}
		return nil
	})
	return page, err
}
