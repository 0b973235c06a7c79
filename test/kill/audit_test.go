package kill_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// repairs is how long all copies that are missing may take to be made: whoever repairs looks every half minute.
const repairs = 5 * time.Minute

// audit asks every node, when all live again and nobody writes any more, for all that there should be: every
// tag, every manifest and every blob that was acknowledged.
func (b *bout) audit(ctx context.Context) {
	if !b.settled(ctx) {
		return
	}
	b.say("all nodes have applied the same; every one is asked for everything")
	var auditing sync.WaitGroup
	finds := make([]map[key]value, b.size)
	for i, n := range b.rack.nodes {
		auditing.Go(func() { finds[i] = b.auditNode(ctx, n, b.worker(100+i)) })
	}
	auditing.Wait()
	if ctx.Err() != nil {
		return
	}
	for k, saw := range finds[0] {
		for i, found := range finds {
			if found[k] != saw {
				b.fail("at the end %s is %d at %s and %d at %s:\n%s", k, saw, b.rack.nodes[0].name, found[k], b.rack.nodes[i].name, b.history.of(k))
			}
		}
	}
	b.repaired(ctx)
	b.verify(ctx)
}

// verify has a node compare all of them, as an operator does.
func (b *bout) verify(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	n, began := b.rack.nodes[0], time.Now()
	out, err := exec.CommandContext(ctx, n.zot, "cluster", "verify", "--config", n.file).CombinedOutput()
	if err != nil && ctx.Err() == nil {
		b.fail("zot cluster verify: %v\n%s", err, out)
		return
	}
	b.figures.took("zot cluster verify", time.Since(began))
	b.say("zot cluster verify: %s", out)
}

// repaired waits until each blob has as many copies as it should have: those that were pushed while a node was
// down have fewer.
func (b *bout) repaired(ctx context.Context) {
	below := -1
	for began := time.Now(); ctx.Err() == nil; wait(ctx, 200*time.Millisecond) {
		s, err := b.rack.nodes[0].status(ctx)
		switch {
		case err != nil:
			continue
		case s.Blobs.Damaged > 0:
			b.fail("%d blobs are damaged", s.Blobs.Damaged)
			return
		case s.Blobs.BelowReplicas == 0:
			b.figures.took("from the audit to all copies", time.Since(began))
			return
		case time.Since(began) > repairs:
			b.fail("%d blobs have still too few copies %s after all nodes have returned", s.Blobs.BelowReplicas, repairs)
			return
		}
		if below < 0 {
			below = s.Blobs.BelowReplicas
			b.say("%d blobs have fewer copies than they should", below)
		}
	}
}

// settled waits until all nodes live, are voting members, and have applied the same.
func (b *bout) settled(ctx context.Context) bool {
	began := time.Now()
	for ; ; wait(ctx, 50*time.Millisecond) {
		why := b.unsettled(ctx)
		if why == "" {
			b.figures.took("from the last write to one state", time.Since(began))
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if time.Since(began) > 2*patience {
			b.fail("the nodes do not settle: %s", why)
			return false
		}
	}
}

// unsettled says what is missing, as any of the nodes sees it.
func (b *bout) unsettled(ctx context.Context) string {
	for _, n := range b.rack.nodes {
		s, err := n.status(ctx)
		switch {
		case err != nil:
			return fmt.Sprintf("%s: %v", n.name, err)
		case len(s.Members) != b.size:
			return fmt.Sprintf("%s knows %d members", n.name, len(s.Members))
		}
		for _, m := range s.Members {
			if m.Applied == nil || m.State != "member" || !m.Voter || *m.Applied != *s.Members[0].Applied {
				return fmt.Sprintf("%s has %s not as the others", n.name, m.Name)
			}
		}
	}
	return ""
}

// auditNode asks one node for everything. What it says of registers goes into the history; it must have all
// blobs.
func (b *bout) auditNode(ctx context.Context, n *node, w *worker) map[key]value {
	l := b.rack.living(ctx, n, patience)
	if l == nil {
		b.fail("%s does not live", n.name)
		return nil
	}
	found := map[key]value{}
	for _, k := range b.keys() {
		r := b.fresh(ctx, l, request{what: "audit of manifests", method: http.MethodGet, target: "/v2/" + k.repo + "/manifests/" + k.name})
		if r == nil {
			return nil
		}
		saw, ok := w.readReply(r, k, settling)
		if !ok {
			b.fail("no answer while all is well: %s", r)
			return nil
		}
		found[k] = saw
	}
	whole := map[digest.Digest]bool{}
	for _, repo := range append(repositories(), probeRepository) {
		for _, c := range b.ledger.of(repo) {
			end := c.size
			if whole[c.digest] {
				end = 1 // of another repository, the same copy
			}
			if ctx.Err() != nil || !b.auditBlob(ctx, l, repo, c, end) {
				return found
			}
			whole[c.digest] = true
		}
	}
	return found
}

// fresh repeats a request until its answer is not marked stale: what a digest names may be answered at once by a
// node that has to wait for its turn on a busy machine. Nil if the run is over.
func (b *bout) fresh(ctx context.Context, l *life, q request) *reply {
	for began := time.Now(); ; {
		r := b.sendTo(ctx, l, q, true)
		switch {
		case ctx.Err() != nil:
			return nil
		case r.cut != nil, r.isStale() && time.Since(began) > patience:
			b.fail("no answer, or an old one, while all is well: %s", r)
			return nil
		case !r.isStale():
			return r
		}
		wait(ctx, 50*time.Millisecond)
	}
}

// auditBlob pulls the first bytes of a blob.
func (b *bout) auditBlob(ctx context.Context, l *life, repo string, c *content, end int64) bool {
	q := request{what: "audit of blobs", method: http.MethodGet, target: blobTarget(repo, c), sink: func(body io.Reader) error {
		n, err := compare(body, c, 0, end)
		b.figures.moved("MB audited", n)
		return err
	}}
	want := http.StatusOK
	if end < c.size {
		want, q.header = http.StatusPartialContent, map[string]string{"Range": fmt.Sprintf("bytes=0-%d", end-1)}
	}
	r := b.sendTo(ctx, l, q, true)
	if r.status == want && r.cut == nil {
		return true
	}
	if ctx.Err() == nil {
		b.fail("a blob that was acknowledged is not there at the end: %s", r)
	}
	return false
}

// keys are all registers, in order.
func (b *bout) keys() []key {
	b.history.mu.Lock()
	defer b.history.mu.Unlock()
	var all []key
	for k := range b.history.registers {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b key) int { return strings.Compare(a.String(), b.String()) })
	return all
}
