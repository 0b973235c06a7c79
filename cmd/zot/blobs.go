package main

import (
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// maxCounted is how many blobs or copies of a kind are counted: the cost of a status must not grow with the
// registry.
const maxCounted = 1000

// blobHealth is how the blobs of all stores are, as this node's state has it. Each number stops at
// maxCounted.
type blobHealth struct {
	Damaged       int `json:"damaged"`       // the last copy does not hash to its digest
	AtOneCopy     int `json:"atOneCopy"`     // one copy is recorded, and there should be more
	BelowReplicas int `json:"belowReplicas"` // fewer copies are recorded than there should be
	Doomed        int `json:"doomed"`        // copies, not blobs, whose files are still to be removed
}

func blobsOf(state *fsm.State) (b blobHealth, err error) {
	err = state.View(func(v fsm.View) error {
		several := map[string]bool{}
		for _, i := range v.Uncleared() { // what is recorded on a node that is gone is one copy fewer
			b.BelowReplicas += len(v.On(i, fsm.BlobName{}, maxCounted-b.BelowReplicas))
		}
		for _, s := range v.Stores() {
			want := min(s.Numbers.Replicas, v.Members())
			several[s.Name] = want > 1
			b.Damaged += len(v.Damaged(s.Name, "", maxCounted-b.Damaged))
			for n := 1; n < want; n++ {
				b.BelowReplicas += len(v.WithCopies(s.Name, n, "", maxCounted-b.BelowReplicas))
			}
		}
		for _, node := range v.Nodes() {
			if node.State == entry.Dropped {
				continue
			}
			for _, name := range v.Sole(node.Incarnation, fsm.BlobName{}, maxCounted-b.AtOneCopy) {
				if several[name.Store] {
					b.AtOneCopy++
				}
			}
			b.Doomed += len(v.Doomed(node.Incarnation, fsm.DoomedCopy{}, maxCounted-b.Doomed))
		}
		return nil
	})
	return b, err
}
