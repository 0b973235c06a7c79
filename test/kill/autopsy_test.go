package kill_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// quiet is how long nothing is written when a new leader has done what it does first.
const quiet = 2 * time.Second

// takeHash has all nodes note the hash of their states after the load: a new leader has them do so first of
// all. It remembers the log index that the load came to.
func (b *bout) takeHash(ctx context.Context) {
	before, err := b.rack.nodes[0].status(ctx)
	if err != nil || len(before.Members) == 0 || before.Members[0].Applied == nil {
		b.fail("the nodes' log indices cannot be asked for: %v", err)
		return
	}
	b.loaded = *before.Members[0].Applied
	if b.size == 1 {
		return // nobody to compare with
	}
	for began := time.Now(); ctx.Err() == nil; {
		// It may not be there to be given up, between two leaders: then whoever comes next is a new one.
		failed := b.rack.nodes[0].giveUpLeadership(ctx)
		if b.quieted(ctx) > b.loaded+1 { // a new leader writes its term first, and then the check
			return
		}
		if time.Since(began) > 2*patience {
			b.fail("no new leader has written anything in %s: %v", 2*patience, failed)
		}
	}
}

// quieted waits until nothing is written for a while, and returns the log index that all nodes have applied
// then; 0 if the run is over.
func (b *bout) quieted(ctx context.Context) uint64 {
	for last := uint64(0); b.settled(ctx); {
		s, err := b.rack.nodes[0].status(ctx)
		if err != nil || s.Leader == "" || len(s.Members) == 0 || s.Members[0].Applied == nil {
			wait(ctx, 50*time.Millisecond)
			continue
		}
		if now := *s.Members[0].Applied; now != last {
			last = now
		} else {
			return now
		}
		wait(ctx, quiet)
	}
	return 0
}

// remains are what a node that has ended left behind.
type remains struct {
	node        *node
	incarnation blobstore.Incarnation
	applied     uint64
	hashes      map[uint64][]byte // as noted, by log index
}

// autopsy looks into the files of all nodes, which have ended: the hashes of their states are equal, each
// state fits together, and each copy that is recorded lies where it is said to, whole.
func (b *bout) autopsy() {
	var all []remains
	for _, n := range b.rack.nodes {
		r, err := b.examine(n)
		if err != nil {
			b.fail("open what %s left: %v", n.name, err)
			return
		}
		all = append(all, r)
	}
	if b.size > 1 {
		b.compareHashes(all)
	}
}

// compareHashes compares the hashes that two and more nodes noted at the same log index. All must have noted
// one after the load.
func (b *bout) compareHashes(all []remains) {
	compared, last := 0, 0
	for index, hash := range all[0].hashes {
		everywhere := true
		for _, r := range all[1:] {
			other, noted := r.hashes[index]
			everywhere = everywhere && noted
			if noted && !bytes.Equal(hash, other) {
				b.fail("invariant 7: at log index %d the state hash is %x at %s and %x at %s", index, hash, all[0].node.name, other, r.node.name)
			}
			compared++
		}
		if everywhere && index > b.loaded {
			last++
		}
	}
	if last == 0 {
		b.fail("the nodes have noted no hash that could be compared after log index %d", b.loaded)
	}
	b.figures.count("state hashes", fmt.Sprintf("compared %d, on all nodes after the load", compared))
}

// examine opens the state and the store of a node.
func (b *bout) examine(n *node) (r remains, err error) {
	r = remains{node: n, hashes: map[uint64][]byte{}}
	left, err := harness.OpenRemains(context.Background(), n.root, b.bucket, prefix)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, left.Close()) }()
	r.incarnation = blobstore.Incarnation(left.Incarnation)
	r.applied = left.State.Position().Index
	for index := uint64(1); index <= r.applied; index++ {
		if hash, noted := left.State.Hash(index); noted {
			r.hashes[index] = hash
		}
	}
	if why := left.State.Fenced(); why != "" {
		b.fail("%s is fenced: %s", n.name, why)
	}
	return r, left.State.View(func(v fsm.View) error {
		for _, finding := range v.Check() {
			b.fail("the state of %s does not fit together: %s", n.name, finding)
		}
		b.checkPromises(v, n)
		b.checkCopies(v, n, left.Store)
		return nil
	})
}

// checkPromises checks that each acknowledged blob, and the body of each large manifest, is recorded with as many
// copies as its acknowledgement promises (invariant 1).
func (b *bout) checkPromises(v fsm.View, n *node) {
	for _, promised := range b.ledger.promised() {
		d, err := fsm.Pack(promised)
		if err != nil {
			b.fail("%s: %v", promised, err)
			return
		}
		if blob, known := v.Blob(fsm.DefaultStore, d); !known || blob.Counting < b.acks() {
			b.fail("invariant 1: by the state of %s %s has %d copies, %d were promised", n.name, promised, blob.Counting, b.acks())
		}
	}
}

// checkCopies reads each copy that is recorded on the node, or in the bucket (invariant 5).
func (b *bout) checkCopies(v fsm.View, n *node, store blobstore.Store) {
	self := entry.Incarnation(store.Incarnation())
	for after := fsm.Digest(""); ; {
		page := v.BlobsOn(fsm.DefaultStore, self, after, 1000)
		if len(page) == 0 {
			return
		}
		for _, after = range page {
			record, _ := v.Blob(fsm.DefaultStore, after)
			blob := blobstore.Blob{Digest: after.Unpack(), Size: record.Size}
			for _, c := range record.Copies {
				blob.Locations = append(blob.Locations, blobstore.Location{
					Incarnation: blobstore.Incarnation(c.Incarnation), Copy: blobstore.CopyID(c.Copy),
				})
			}
			if err := store.Verify(context.Background(), blob, nil); err != nil {
				b.fail("invariant 5: the copy of %s that is recorded on %s: %v", blob.Digest, n.name, err)
			}
			b.figures.count("copies on disk", "whole")
		}
	}
}
