package gcrace_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs/sweep"
	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// drain is how long it may take until all is collected and removed after the last delete: the lease, a run of
// the collector, and two of the sweepers of unknown files, which look every 30 s.
const drain = 3 * time.Minute

// audit asks every node, when nobody writes any more, for every manifest that may be there, and for all its
// blobs if it is (invariant 2).
func (r *race) audit(ctx context.Context) {
	began := time.Now()
	for r.isUnsettled(ctx) {
		if time.Since(began) > 2*patience {
			r.fail("the nodes have not applied the same after %s", 2*patience)
		}
		if wait(ctx, 50*time.Millisecond); ctx.Err() != nil {
			return
		}
	}
	all := r.shelves.list()
	visible := make([][]held, size)
	var auditing sync.WaitGroup
	for i, n := range r.rack.nodes {
		auditing.Go(func() { visible[i] = r.auditNode(ctx, n, all) })
	}
	auditing.Wait()
	for i, there := range visible {
		if ctx.Err() == nil && !slices.Equal(there, visible[0]) {
			r.fail("%s has %d manifests, %s has %d or others", r.rack.nodes[0].name, len(visible[0]), r.rack.nodes[i].name, len(there))
		}
	}
	r.figures.add("manifests at the end", "whole on all nodes", len(visible[0]))
}

// isUnsettled reports whether a node is down or behind.
func (r *race) isUnsettled(ctx context.Context) bool {
	for _, n := range r.rack.nodes {
		if !r.rack.isLiving(n) {
			return true
		}
		s, err := n.status(ctx)
		if err != nil || len(s.Members) != size {
			return true
		}
		for _, m := range s.Members {
			if m.Applied == nil || *m.Applied != *s.Members[0].Applied {
				return true
			}
		}
	}
	return false
}

// auditNode returns the manifests that a node shows, of which it must have every blob.
func (r *race) auditNode(ctx context.Context, n *node, all []held) (visible []held) {
	l := r.rack.lifeOf(n)
	for _, h := range all {
		a := r.sendTo(ctx, l, request{what: "audit manifest", method: http.MethodGet, target: manifestTarget(h.repo, h.image.digest.String())})
		switch {
		case ctx.Err() != nil:
			return visible
		case a.status == http.StatusNotFound:
			continue
		case a.status != http.StatusOK || string(a.body) != string(h.image.manifest):
			r.fail("no answer, or a wrong one, while all is well: %s", a)
			return visible
		}
		visible = append(visible, h)
		for _, c := range h.image.blobs {
			a := r.sendTo(ctx, l, request{what: "audit blob", method: http.MethodGet, target: blobTarget(h.repo, c.digest.String())})
			if ctx.Err() == nil && (a.status != http.StatusOK || string(a.body) != string(c.bytes)) {
				r.fail("invariant 2: %s shows manifest %s of %s and has not this blob of it: %s", n.name, h.image.digest, h.repo, a)
				return visible
			}
		}
	}
	return visible
}

// verify has a node compare all of them, as an operator does.
func (r *race) verify(ctx context.Context) {
	n := r.rack.nodes[0]
	out, err := exec.CommandContext(ctx, n.zot, "cluster", "verify", "--hash", "--config", n.file).CombinedOutput()
	if err != nil && ctx.Err() == nil {
		r.fail("zot cluster verify: %v\n%s", err, out)
		return
	}
	r.say("zot cluster verify: %s", out)
}

// deleteAll deletes every manifest that may be there.
func (r *race) deleteAll(ctx context.Context) {
	all := r.shelves.list()
	r.say("%d manifests that may be there are deleted", len(all))
	parts := make([][]held, workers)
	for i, h := range all {
		parts[i%workers] = append(parts[i%workers], h)
	}
	var deleting sync.WaitGroup
	for i, part := range parts {
		w := r.worker(fmt.Sprint("deleter ", i))
		deleting.Go(func() {
			for _, h := range part {
				w.delete(ctx, h)
			}
		})
	}
	deleting.Wait()
}

// drained waits until no repository is left, and no copy on any disk.
func (r *race) drained(ctx context.Context) {
	began := time.Now()
	for why := "?"; why != ""; {
		if time.Since(began) > drain {
			r.fail("%s after everything was deleted there is still %s", drain, why)
		}
		if wait(ctx, 500*time.Millisecond); ctx.Err() != nil {
			return
		}
		why = r.left(ctx)
	}
	r.figures.took("from the last delete to nothing", time.Since(began))
}

// left says what is left, as clients and disks see it.
func (r *race) left(ctx context.Context) string {
	for _, repo := range repositories() {
		for _, n := range r.rack.nodes {
			a := r.sendTo(ctx, r.rack.lifeOf(n), request{what: "is a repository left", method: http.MethodGet, target: "/v2/" + repo + "/tags/list"})
			if a.status != http.StatusNotFound {
				return fmt.Sprintf("repository %s at %s: %s", repo, n.name, a)
			}
		}
	}
	for _, n := range r.rack.nodes {
		if files := filesBelow(filepath.Join(n.root, "copies")); len(files) > 0 {
			return fmt.Sprintf("%d copies at %s, such as %s", len(files), n.name, files[0])
		}
	}
	if files := r.inBucket(); len(files) > 0 {
		return fmt.Sprintf("%d objects in the bucket, such as %s", len(files), files[0])
	}
	return ""
}

// inBucket lists the copies in the bucket, and what lies beside them.
func (r *race) inBucket() (files []string) {
	if r.bucket == nil {
		return nil
	}
	for _, file := range filesBelow(r.bucket.Path(prefix)) {
		if filepath.Base(file) != "marker" {
			files = append(files, file)
		}
	}
	return files
}

// filesBelow lists the files of a directory and all below it; one that goes meanwhile is none.
func filesBelow(dir string) (files []string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return nil
	})
	return files
}

// remains are what a node that has ended left behind. Both are open until close is called.
type remains struct {
	node  *node
	state *fsm.State
	store blobstore.Store
}

func (r *race) open(ctx context.Context, n *node) (o remains, err error) {
	left, err := harness.OpenRemains(ctx, n.root, r.bucket, prefix)
	return remains{n, left.State, left.Store}, err
}

func (o remains) close() error { return errors.Join(o.store.Close(), o.state.Close()) }

// examine opens what each node left behind.
func (r *race) examine(ctx context.Context, look func(o remains) error) {
	for _, n := range r.rack.nodes {
		o, err := r.open(ctx, n)
		if err == nil {
			err = errors.Join(look(o), o.close())
		}
		if err != nil {
			r.fail("look into what %s left: %v", n.name, err)
		}
	}
}

// autopsy looks into the files of all nodes after the load: each state fits together, and each copy that is
// recorded on a node lies there, whole (invariants 2, 3 and 5).
func (r *race) autopsy(ctx context.Context) {
	ctx = context.WithoutCancel(ctx) // one failure must not hide another
	r.examine(ctx, func(o remains) error {
		return o.state.View(func(v fsm.View) error {
			r.checkState(v, o.node)
			self := entry.Incarnation(o.store.Incarnation())
			for after := fsm.Digest(""); ; {
				page := v.BlobsOn(fsm.DefaultStore, self, after, 1000)
				if len(page) == 0 {
					return nil
				}
				for _, after = range page {
					r.checkCopy(ctx, v, o, after)
				}
			}
		})
	})
}

func (r *race) checkState(v fsm.View, n *node) {
	for _, finding := range v.Check() {
		r.fail("the state of %s does not fit together: %s", n.name, finding)
	}
}

// checkCopy reads the copy of a blob that is recorded on a node.
func (r *race) checkCopy(ctx context.Context, v fsm.View, o remains, d fsm.Digest) {
	record, _ := v.Blob(fsm.DefaultStore, d)
	blob := blobstore.Blob{Digest: d.Unpack(), Size: record.Size}
	for _, c := range record.Copies {
		blob.Locations = append(blob.Locations, blobstore.Location{Incarnation: blobstore.Incarnation(c.Incarnation), Copy: blobstore.CopyID(c.Copy)})
	}
	if err := o.store.Verify(ctx, blob, nil); err != nil && ctx.Err() == nil {
		r.fail("invariant 5: the copy of %s that is recorded on %s: %v", blob.Digest, o.node.name, err)
	}
	r.figures.count("copies on disk", "whole")
}

// empty looks into the files of all nodes after everything was deleted: no record is left, and two days later
// no file.
func (r *race) empty(ctx context.Context) {
	ctx = context.WithoutCancel(ctx) // one failure must not hide another
	r.examine(ctx, func(o remains) error {
		if err := o.state.View(func(v fsm.View) error { r.checkState(v, o.node); return nil }); err != nil {
			return err
		}
		r.figures.add("uploads left by crashes", "files", len(unended(o.node)))
		if err := o.daysLater(ctx); err != nil {
			return err
		}
		for _, dir := range []string{"copies", "uploads"} {
			for _, file := range filesBelow(filepath.Join(o.node.root, dir)) {
				r.fail("a file is left: %s", file)
			}
		}
		for _, file := range r.inBucket() {
			r.fail("a copy is left in the bucket: %s", file)
		}
		for up, err := range o.store.Uploads(ctx, blobstore.UploadID{}) {
			r.fail("an upload is left: %+v, %v", up, err)
		}
		return nil
	})
	for _, n := range r.rack.nodes {
		if err := r.noRecords(filepath.Join(n.root, "node", fsm.FileName)); err != nil {
			r.fail("look for records in the state of %s: %v", n.name, err)
		}
	}
}

// unended are uploads that nobody ended: of the others only the id is kept for a day.
func unended(n *node) (files []string) {
	for _, file := range filesBelow(filepath.Join(n.root, "uploads")) {
		if filepath.Ext(file) == "" {
			files = append(files, file)
		}
	}
	return files
}

// daysLater lets two days of state time pass on a node that has ended, as a leader without anything to do lets
// them, and sweeps its store after each: what crashes have left of uploads goes then. One that was killed before
// its time was written counts from the first day.
func (o remains) daysLater(ctx context.Context) error {
	all, err := sweep.New(sweep.Deps{Store: fsm.DefaultStore, Blobs: o.store, State: o.state, Consistency: alone{}, Proposer: alone{}})
	if err != nil {
		return err
	}
	for range 2 {
		if err := o.pass(25 * time.Hour); err != nil {
			return err
		}
		for _, j := range all {
			if err := j.Do(ctx); err != nil {
				return fmt.Errorf("%s: %w", j.Name, err)
			}
		}
	}
	return nil
}

// pass lets state time pass.
func (o remains) pass(d time.Duration) error {
	payload, err := fsm.Encode(fsm.TermStarted{})
	if err != nil {
		return err
	}
	for end := o.state.Position().Time.Add(d); o.state.Position().Time < end; {
		at := o.state.Position()
		batch := make([]entry.Entry, 5000)
		for i := range batch {
			at.Index++
			at.Time = at.Time.Add(2 * o.state.Tick())
			batch[i] = entry.Entry{
				Index: at.Index, Term: at.Term, Kind: entry.Command, Payload: payload, Envelope: entry.Envelope{Term: at.Term, Time: at.Time, Date: 1},
			}
		}
		o.state.Apply(batch)
	}
	return nil
}

// alone is a node that has ended: its state is as new as it can be, and it proposes nothing.
type alone struct{}

// ReadIndex returns at once.
func (alone) ReadIndex(context.Context) error { return nil }

// Propose fails: nothing is doomed any more that could be confirmed.
func (alone) Propose(context.Context, []byte) (entry.Result, error) {
	return entry.Result{}, errors.New("something was left to be confirmed")
}

// noRecords fails for every record of a state that is not about nodes, stores, requests or jobs. It reads the
// file itself: a view shows what it was made to show.
func (r *race) noRecords(path string) error {
	stays := []string{"local", "meta", "nodes", "stores", "requests", "expiries", "jobs"}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: patience})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // it was only read
	return db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			if n := b.Stats().KeyN; n > 0 && !slices.Contains(stays, string(name)) {
				key, _ := b.Cursor().First()
				r.fail("%d records are left in bucket %s of %s, such as %q", n, name, path, strings.ToValidUTF8(string(key), "?"))
			}
			return nil
		})
	})
}
