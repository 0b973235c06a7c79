package main

import "github.com/seed-16d79997/zot/fsm"

// maxCounted is how many blobs of a kind are counted: the cost of a status must not grow with the
// registry.
const maxCounted = 1000

// blobHealth is how the blobs of all stores are, as this node's state has it. Each number stops at
// maxCounted.
type blobHealth struct {
	Damaged       int `json:"damaged"`       // the last copy does not hash to its digest
	BelowReplicas int `json:"belowReplicas"` // fewer copies are recorded than there should be
}

func blobsOf(state *fsm.State) (b blobHealth, err error) {
	err = state.View(func(v fsm.View) error {
		for _, s := range v.Stores() {
			b.Damaged += len(v.Damaged(s.Name, "", maxCounted-b.Damaged))
			for n := 1; n < min(s.Numbers.Replicas, v.Members()); n++ {
				b.BelowReplicas += len(v.WithCopies(s.Name, n, "", maxCounted-b.BelowReplicas))
			}
		}
		return nil
	})
	return b, err
}
