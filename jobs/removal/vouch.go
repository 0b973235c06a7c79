package removal

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// hashedAtMost is how many bytes are hashed before the copies are vouched for: a crash, or another node that
// leaves, costs no more than that.
const hashedAtMost = 1 << 30

// holder is every node's part: it hashes its copies again.
type holder struct {
	Deps
	walk walk

	warned bool // in this run
}

// own is a copy of this node.
type own struct {
	digest fsm.Digest
	copy   fsm.CopyID
	size   int64
}

func (h *holder) run(ctx context.Context) error {
	h.warned = false
	return h.walk.run(ctx)
}

// vouch hashes and vouches for this node's copies of a page of blobs. One that is bad is a suspect, which
// will be given up, so that repair replaces it; one that cannot be read for another reason must not keep the
// others.
func (h *holder) vouch(ctx context.Context, _ blobstore.Incarnation, page []fsm.Digest) (bool, error) {
	todo, retirement, err := h.unvouched(page)
	if err != nil {
		return false, err
	}
	cmd := fsm.VouchCopies{Incarnation: [16]byte(h.Blobs.Incarnation()), Store: h.Store, Retirement: retirement}
	hashed := int64(0)
	for _, c := range todo {
		good, err := h.hash(ctx, c)
		if err != nil {
			return false, err
		}
		if good {
			cmd.Copies = append(cmd.Copies, fsm.BlobCopy{Digest: c.digest, Copy: c.copy})
		}
		if hashed += c.size; hashed < hashedAtMost {
			continue
		}
		if err := h.propose(ctx, cmd); err != nil {
			return false, err
		}
		hashed, cmd.Copies = 0, nil
	}
	return len(todo) > 0, h.propose(ctx, cmd)
}

// unvouched returns this node's copies that are needed and have to be hashed again, and the number of the
// retirement for which they are. None if this node's own copies do not count.
func (h *holder) unvouched(page []fsm.Digest) (todo []own, retirement uint64, err error) {
	err = h.State.View(func(v fsm.View) error {
		retirement = v.Retirement()
		need := v.Need(h.Store)
		for _, d := range page {
			b, _ := v.Blob(h.Store, d)
			if b.Vouched >= need {
				continue
			}
			for _, c := range b.Copies {
				if blobstore.Incarnation(c.Incarnation) == h.Blobs.Incarnation() && c.Counts && !c.Vouched {
					todo = append(todo, own{d, c.Copy, b.Size})
				}
			}
		}
		return nil
	})
	return todo, retirement, err
}

// hash reports whether a copy is good. It fails if the store as a whole cannot say.
func (h *holder) hash(ctx context.Context, c own) (bool, error) {
	at := blobstore.Location{Incarnation: h.Blobs.Incarnation(), Copy: blobstore.CopyID(c.copy)}
	err := h.Blobs.Verify(ctx, blobstore.Blob{Digest: c.digest.Unpack(), Size: c.size, Locations: []blobstore.Location{at}}, h.Pace)
	if err == nil {
		return true, nil
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	// A disk that has just gone answers for no copy (GC R13).
	if gone := h.Blobs.Check(ctx); gone != nil {
		return false, fmt.Errorf("hash copies again: %w", gone)
	}
	if errors.Is(err, blobstore.ErrCopyDamaged) || errors.Is(err, blobstore.ErrCopyUnknown) {
		h.Suspect(at.Copy)
		return false, nil
	}
	if !h.warned { // what is wrong with many is mostly the same
		h.warned = true
		h.Logger.Warn("copy cannot be hashed again and is tried later", "store", h.Store, "digest", c.digest.String(), "error", err)
	}
	return false, nil
}

// propose vouches for copies. What another retirement has overtaken is hashed once more in the next run.
func (h *holder) propose(ctx context.Context, cmd fsm.VouchCopies) error {
	if len(cmd.Copies) == 0 {
		return nil
	}
	done, err := fsm.Do(ctx, h.Proposer, cmd)
	switch {
	case errors.Is(err, fsm.ErrRetirement), errors.Is(err, fsm.ErrNodeNoMember):
		return nil
	case err != nil:
		return fmt.Errorf("vouch for copies: %w", err)
	}
	h.Logger.Info("copies hashed again and vouched for", "store", h.Store, "copies", done.Copies)
	return nil
}
