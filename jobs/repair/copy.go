package repair

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// publishing bounds how long a target may take to give a copy its name, which moves no bytes. One that
// died just then must not hold a worker for ever.
const publishing = time.Minute

// errTarget is the error of a target that cannot take a copy now: the next may fare better.
var errTarget = errors.New("node cannot take a copy")

// repair makes the copy of a blob that is planned for it, on the best target that takes it.
func (r *repairer) repair(ctx context.Context, d fsm.Digest, of planner, b *burst) {
	var p plan
	err := r.State.View(func(v fsm.View) error { // anew: it may be long since its page was read
		p = of(v, r.roster(v), d)
		return nil
	})
	for _, to := range p.targets {
		if ctx.Err() != nil {
			return
		}
		b.begin()
		if err = r.copyTo(ctx, to, d, p, b); !errors.Is(err, errTarget) {
			break
		}
	}
	switch {
	case ctx.Err() != nil: // nobody's fault, and nobody's to hear of
	case err != nil:
		r.blobs.put(d)
		b.fail(d, err)
	default:
		r.blobs.drop(d)
	}
}

// copyTo makes a copy of a blob on a node and records it. The stamp is taken after the bytes have come,
// which may take hours, and before the file gets its name: from its name on it may be listed and marked by
// the sweeper there (GC R2, R11).
//
// What is fetched is published whatever the state says by then, for that gives the upload's room free; a
// copy that is then not recorded is swept. It is proposed once: whether or not it came to be recorded,
// the next run sees it in the state, and another copy has another id (GC R6).
func (r *repairer) copyTo(ctx context.Context, to blobstore.Incarnation, d fsm.Digest, p plan, b *burst) error {
	id, err := r.Copies.Fetch(ctx, to, p.blob)
	if err != nil {
		return r.blame(to, err)
	}
	cmd := fsm.AddCopy{Store: r.Store, Digest: d, Instead: p.instead}
	if err := r.Consistency.ReadIndex(ctx); err != nil {
		return fmt.Errorf("stamp a copy: %w", err)
	}
	err = r.State.View(func(v fsm.View) error {
		cmd.Stamp = v.Time()
		return nil
	})
	if err != nil {
		return err
	}
	at, err := r.publish(ctx, to, id)
	if err != nil {
		return r.blame(to, err)
	}
	r.nodes.drop(to)
	cmd.Location = fsm.Location{Incarnation: [16]byte(at.Incarnation), Copy: fsm.CopyID(at.Copy)}
	added, err := fsm.Do(ctx, r.Proposer, cmd)
	switch {
	case errors.Is(err, fsm.ErrBlobUnknown): // collected meanwhile
		return nil
	case err != nil:
		return fmt.Errorf("record a copy: %w", err)
	case added.Recorded:
		b.copied(p.blob.Size)
	}
	return nil
}

func (r *repairer) publish(ctx context.Context, to blobstore.Incarnation, id blobstore.UploadID) (blobstore.Location, error) {
	ctx, cancel := context.WithTimeout(ctx, publishing)
	defer cancel()
	return r.Copies.PublishAt(ctx, to, id)
}

// blame sets a target aside for an error, unless that is its sources': no other target would fare better.
func (r *repairer) blame(to blobstore.Incarnation, err error) error {
	for _, e := range []error{blobstore.ErrUnreachable, blobstore.ErrCopyUnknown, blobstore.ErrCopyDamaged, blobstore.ErrDigestMismatch} {
		if errors.Is(err, e) {
			return err
		}
	}
	r.nodes.put(to)
	return fmt.Errorf("%w: %s: %w", errTarget, to, err)
}
