package api

import (
	"context"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// maxCommits is how many uploads' commits are remembered. One that is forgotten costs the client that repeats
// its PUT a new upload, and nothing else: new copies get new ids.
const maxCommits = 4096

// commits remembers what was proposed for each upload of late, so that a repeated PUT repeats the request id
// (GC R6). It lets one PUT of an upload after the other.
type commits struct {
	mu    sync.Mutex
	byID  map[blobstore.UploadID]*commit
	order []blobstore.UploadID // of byID, the oldest first
}

// commit is the proposal of one upload. Its fields belong to who has entered.
type commit struct {
	turn  chan struct{} // holds a token while nobody is inside
	began int64         // where the upload was when a PUT's body without an offset was begun to be taken; or anyOffset

	repository string
	digest     digest.Digest // "": nothing is proposed
	command    fsm.BlobStored
	proposer   fsm.Proposer // bound to one request id
}

func newCommits() *commits { return &commits{byID: map[blobstore.UploadID]*commit{}} }

// enter waits until nobody else is at work on the upload. The caller leaves.
//
// It fails with the context's error.
func (c *commits) enter(ctx context.Context, id blobstore.UploadID) (*commit, error) {
	one := c.find(id)
	select {
	case <-one.turn:
		return one, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// find returns the commit of an upload, and forgets the oldest if there are too many.
func (c *commits) find(id blobstore.UploadID) *commit {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one, ok := c.byID[id]; ok {
		return one
	}
	if len(c.order) == maxCommits {
		delete(c.byID, c.order[0])
		c.order = c.order[1:]
	}
	one := &commit{turn: make(chan struct{}, 1), began: anyOffset}
	one.turn <- struct{}{}
	c.byID[id] = one
	c.order = append(c.order, id)
	return one
}

func (c *commit) leave() { c.turn <- struct{}{} }

// is reports whether it is this digest that was proposed for this repository.
func (c *commit) is(repository string, d digest.Digest) bool {
	return c.digest != "" && c.digest == d && c.repository == repository
}

func (c *commit) set(repository string, d digest.Digest, cmd fsm.BlobStored, p fsm.Proposer) {
	c.repository, c.digest, c.command, c.proposer = repository, d, cmd, p
}
