package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/hashicorp/raft"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cluster/peer"
)

const (
	pathHash      = "/hash"
	codeForgotten = "forgotten"
)

// errNoHash is for a check that this node has not applied, or has forgotten.
var errNoHash = errors.New("no state hash is kept of that check")

// hashWatch is what a majority noted at an earlier hash check. Only the leader's tick loop uses it.
type hashWatch struct {
	index uint64
	sum   []byte
}

// tick appends a hash check every tick, so that state time does not stand still when nobody writes
// (GC T2) and all nodes compare their states (invariant 7). It returns when ctx ends.
func (n *Node) tick(ctx context.Context, p termProposer) {
	n.hashes = hashWatch{}
	for ctx.Err() == nil {
		began := time.Now()
		if err := n.checkHashes(ctx, p); err != nil && ctx.Err() == nil {
			n.log.Warn("state hashes were not compared", "error", err)
		}
		// The tick is asked for again and again: it may become shorter meanwhile.
		for left := time.Duration(1); left > 0 && ctx.Err() == nil; {
			if n.config.State.Fenced() != "" {
				n.handOver()
			}
			if left = n.config.State.Tick() - time.Since(began); left > 0 {
				pause(ctx, min(left, time.Second), nil)
			}
		}
	}
}

// checkHashes commits a check that carries the majority's hash of the one before, then learns the
// majority's hash of this one.
func (n *Node) checkHashes(ctx context.Context, p termProposer) error {
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	payload := n.config.Roster.HashCheck(n.hashes.index, n.hashes.sum)
	n.hashes = hashWatch{}
	_, index, err := n.lead(ctx, entry.RequestID{}, payload, p.tenure.term)
	if err != nil {
		return err
	}
	n.hashes = n.majority(ctx, index)
	return nil
}

// majority asks all voters for their hash at a check; the zero value if no majority agrees.
func (n *Node) majority(ctx context.Context, index uint64) hashWatch {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	servers := n.servers()
	sums := make(chan []byte, len(servers))
	voters := 0
	for _, s := range servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		n.spawn(func() { sums <- n.hashOf(ctx, s, index) }, func() { sums <- nil })
	}
	var got [][]byte
	for range voters {
		sum := <-sums
		same := 1
		for _, other := range got {
			if bytes.Equal(sum, other) {
				same++
			}
		}
		if sum != nil && same > voters/2 {
			return hashWatch{index, sum}
		}
		got = append(got, sum)
	}
	return hashWatch{}
}

// hashOf is a node's hash at a check, nil if it has none; a node that lags is waited for.
func (n *Node) hashOf(ctx context.Context, s raft.Server, index uint64) []byte {
	body := binary.BigEndian.AppendUint64(nil, index)
	if s.ID == serverID(n.config.Incarnation) {
		sum, err := n.handleHash(ctx, peer.Caller{}, body)
		if err != nil {
			return nil
		}
		return sum
	}
	sum, err := n.call(ctx, s.Address, pathHash, body)
	if err != nil {
		return nil
	}
	return sum
}

func (n *Node) handleHash(ctx context.Context, _ peer.Caller, body []byte) ([]byte, error) {
	if len(body) != 8 {
		return nil, &peer.RemoteError{Code: codeUnacceptble, Message: "a hash is asked for by log index"}
	}
	index := binary.BigEndian.Uint64(body)
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := n.applied.wait(ctx, index); err != nil {
		return nil, &peer.RemoteError{Code: codeForgotten, Message: errNoHash.Error()}
	}
	sum, ok := n.config.State.Hash(index)
	if !ok {
		return nil, &peer.RemoteError{Code: codeForgotten, Message: errNoHash.Error()}
	}
	return sum, nil
}
