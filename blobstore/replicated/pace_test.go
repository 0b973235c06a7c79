package replicated_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/seed-16d79997/zot/blobstore/replicated"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

// counted is a pace that holds nothing back and counts.
type counted struct {
	mu      sync.Mutex
	waited  int // bytes
	served  int // clients so far
	serving int
	err     error
}

func (c *counted) Wait(_ context.Context, n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waited += n
	return c.err
}

func (c *counted) Serve() func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.served++
	c.serving++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.serving--
	}
}

// is compares what was counted.
func (c *counted) is(t *testing.T, who string, waited, served int) {
	t.Helper()
	eventually(t, who+" serves nobody any more", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.serving == 0
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waited != waited || c.served != served {
		t.Errorf("%s: %d bytes waited, %d clients were served, want %d and %d", who, c.waited, c.served, waited, served)
	}
}

// withPaces are three nodes with a pace each.
func withPaces(t *testing.T) (*nodes, []*counted) {
	t.Helper()
	var all []*counted
	n := start(t, options{count: 3, replicas: 3, need: 3, timing: calm(), pace: func() replicated.Pace {
		all = append(all, &counted{})
		return all[len(all)-1]
	}})
	return n, all
}

// A missing copy is made at the pace of both ends: of the node that writes, and of the one that reads.
func TestCopiesAreMadeAtThePaceOfBothEnds(t *testing.T) {
	t.Parallel()
	n, pace := withPaces(t)
	p := storetest.Bytes(1, large)
	b := n.onNodes(t, p, 2)
	_, err := n.all[0].store.Fetch(t.Context(), n.all[1].member.Incarnation, b)
	must(t, err)
	first, cost := 256<<10, 256<<10 // the first goes out with the answer's head; the other is for the files
	pace[0].is(t, "whoever asked", 0, 0)
	pace[1].is(t, "the new holder", cost+len(p), 0)
	pace[2].is(t, "the source", len(p)-first, 0)
}

func TestFetchEndsWhereItMayNotGoOn(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]int{"writer": 1, "source": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, pace := withPaces(t)
			b := n.onNodes(t, storetest.Bytes(1, large), 2)
			pace[end].err = errors.New("not now")
			if _, err := n.all[0].store.Fetch(t.Context(), n.all[1].member.Incarnation, b); err == nil {
				t.Error("fetched")
			}
			n.nothingLeft(t)
		})
	}
}

// Clients of other nodes are clients: what a node reads and writes for them waits for nothing, and holds back
// what is for no client.
func TestClientsOfOtherNodesAreServed(t *testing.T) {
	t.Parallel()
	n, pace := withPaces(t)
	p := storetest.Bytes(1, large)
	r, err := n.all[0].store.Open(t.Context(), n.onNodes(t, p, 2), 0, -1)
	must(t, err)
	_, err = io.Copy(io.Discard, r)
	must(t, errors.Join(err, r.Close()))
	pace[2].is(t, "the source of a pull", 0, 1)
	storetest.Store(t, n.all[0].store, "u", p)
	for i := range pace {
		pace[i].mu.Lock()
		if served := pace[i].served; pace[i].waited != 0 || (served == 0) != (i == 0) {
			t.Errorf("node %d: %d bytes waited, %d clients were served", i, pace[i].waited, served)
		}
		pace[i].mu.Unlock()
	}
}
