package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

const (
	afterRestore   = 7 * 24 * time.Hour // no unknown file is removed for so long after a restore (GC R11)
	removalTime    = 30 * time.Second   // the sweeper takes less for what was doomed before, by far
	removalPoll    = 500 * time.Millisecond
	maxDoomed      = 1000            // doomed copies that are watched
	recordingTime  = 5 * time.Second // from the file of a copy to its record, nearly always
	unknownPage    = 1000            // files that are looked up in one view
	sweepingMargin = 2 * time.Minute // what the sweeper may be late
)

// ownCopy is a copy that the state has on this node.
type ownCopy struct {
	digest fsm.Digest
	copy   fsm.CopyID
	size   int64
	held   int // how many copies the blob has that can be read
}

// page returns copies of this node in the order of their digests, from the one behind after on. Next is where the
// following page begins; "" if there is none. The last copy of a damaged blob is known to be bad, and not returned.
func (c *storeCheck) page(after fsm.Digest) (page []ownCopy, next fsm.Digest, err error) {
	err = c.state.View(func(v fsm.View) error {
		for _, next = range v.BlobsOn(c.name, c.holder(), after, selfPage) {
			if own, ok := c.ownCopy(v, next); ok {
				page = append(page, own)
			}
		}
		return nil
	})
	return page, next, err
}

// ownCopy is this node's copy of a blob; false if it has none, or one that is known to be bad.
func (c *storeCheck) ownCopy(v fsm.View, d fsm.Digest) (own ownCopy, ok bool) {
	b, _ := v.Blob(c.name, d)
	for _, l := range b.Copies {
		if l.Held {
			own.held++
		}
		if l.Incarnation == c.holder() {
			own.digest, own.copy, own.size, ok = d, l.Copy, b.Size, !b.Damaged
		}
	}
	return own, ok
}

// eachPage goes through all copies of this node.
func (c *storeCheck) eachPage(ctx context.Context, do func(page []ownCopy) error) error {
	for after := fsm.Digest(""); ; {
		page, next, err := c.page(after)
		if err != nil {
			return err
		}
		if next == "" {
			return ctx.Err()
		}
		if err := do(page); err != nil {
			return err
		}
		after = next
	}
}

// checkCopies sees to it that each copy that is recorded on this node has its file, as long as it should be
// (invariant 5). No byte is read.
func (c *storeCheck) checkCopies(ctx context.Context) error {
	c.stage = stageNote{Name: "copies"}
	return c.eachPage(ctx, func(page []ownCopy) error {
		if err := c.pace(ctx, statCost*len(page)); err != nil {
			return err
		}
		var suspected []ownCopy
		for _, own := range page {
			c.copies, c.bytes = c.copies+1, c.bytes+own.size
			c.result.Copies, c.result.Bytes = c.result.Copies+1, c.result.Bytes+own.size
			err := c.look(ctx, own)
			if isOver(err) {
				return err
			}
			if err != nil {
				suspected = append(suspected, own)
			}
		}
		c.progress(c.copies)
		return c.settle(ctx, suspected, c.look)
	})
}

// untrue is why a copy is not what is recorded.
type untrue struct {
	why    string
	rotten bool // its file is there, and has other bytes: that can have no other reason
}

// Error is for people.
func (u untrue) Error() string { return u.why }

// look returns nil for a copy whose file is there, as long as it should be. It is untrue if not.
func (c *storeCheck) look(ctx context.Context, own ownCopy) error {
	info, err := c.store.Stat(ctx, blobstore.CopyID(own.copy))
	switch {
	case errors.Is(err, blobstore.ErrCopyUnknown):
		return untrue{why: "its file is gone"}
	case err == nil && info.Size != own.size:
		return untrue{why: fmt.Sprintf("its file has %d bytes, not %d", info.Size, own.size)}
	default:
		return err
	}
}

// isOver reports whether an error speaks of the whole store, or of the end, and not of one copy.
func isOver(err error) bool {
	return errors.Is(err, blobstore.ErrOffline) || errors.Is(err, blobstore.ErrClosed) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// settle looks again at copies that looked bad, after a round, and says which of them are. The state is asked last:
// a copy that is recorded then was recorded when it looked bad, for nothing is removed before this node's own state
// has doomed it, and nothing comes back after.
func (c *storeCheck) settle(ctx context.Context, suspected []ownCopy, look func(context.Context, ownCopy) error) error {
	if len(suspected) == 0 {
		return nil
	}
	_ = c.again(ctx) // without a round, the state of this node is as good
	for _, own := range suspected {
		bad := look(ctx, own)
		if isOver(bad) {
			return bad
		}
		recorded, err := c.recorded(own)
		if err != nil {
			return err
		}
		if bad != nil && recorded {
			c.isBad(own, bad)
		}
	}
	return nil
}

// recorded reports whether a copy still is, and is not known to be bad.
func (c *storeCheck) recorded(own ownCopy) (still bool, err error) {
	err = c.state.View(func(v fsm.View) error {
		now, ok := c.ownCopy(v, own.digest)
		still = ok && now.copy == own.copy
		return nil
	})
	return still, err
}

// isBad says that a copy is bad, or that nothing could be learnt of it.
func (c *storeCheck) isBad(own ownCopy, why error) {
	_, sure := errors.AsType[untrue](why)
	b := badCopy{Store: c.name, Digest: own.digest.String(), Copy: own.copy, Why: why.Error(), Unsure: !sure, Bucket: c.bucket, Held: own.held}
	switch {
	case c.bad[own.copy] || len(c.bad) > maxBad:
		return
	case len(c.bad) == maxBad:
		c.missed("the rest of its bad copies", fmt.Errorf("there are more than %d", maxBad))
	default:
		c.tell(checkNote{Bad: &b})
	}
	c.bad[own.copy] = !b.Unsure
}

// hashCopies hashes every copy again, but those that are bad already, at the pace of what is done for no client.
func (c *storeCheck) hashCopies(ctx context.Context) error {
	hashed := int64(0)
	c.stage = stageNote{Name: "hashing", Total: c.bytes}
	return c.eachPage(ctx, func(page []ownCopy) error {
		for _, own := range page {
			if _, known := c.bad[own.copy]; known {
				continue
			}
			if err := c.pace(ctx, statCost); err != nil {
				return err
			}
			err := c.hash(ctx, own)
			if isOver(err) {
				return err
			}
			if u, _ := errors.AsType[untrue](err); u.rotten {
				c.isBad(own, err) // also if it was given up by now, for just that
			} else if err != nil {
				err = c.settle(ctx, []ownCopy{own}, c.hash)
				if err != nil {
					return err
				}
			}
			hashed, c.result.Hashed = hashed+own.size, c.result.Hashed+own.size
			c.progress(hashed)
		}
		return nil
	})
}

// hash hashes a copy. It is untrue if its bytes are not those of its digest.
func (c *storeCheck) hash(ctx context.Context, own ownCopy) error {
	at := blobstore.Location{Incarnation: blobstore.Incarnation(c.holder()), Copy: blobstore.CopyID(own.copy)}
	b := blobstore.Blob{Digest: own.digest.Unpack(), Size: own.size, Locations: []blobstore.Location{at}}
	err := c.store.Verify(ctx, b, c.pace)
	if damage, ok := errors.AsType[*blobstore.DamageError](err); ok {
		return untrue{why: damage.Cause.Error(), rotten: true}
	}
	if errors.Is(err, blobstore.ErrCopyUnknown) {
		return untrue{why: "its file is gone"}
	}
	return err
}

// checkFiles looks for files that the state does not know, and the sweeper should have removed long ago. It is no
// broken invariant, and so it may be judged by the time of a file.
func (c *storeCheck) checkFiles(ctx context.Context) error {
	c.stage = stageNote{Name: "files", Total: c.copies}
	var due time.Time
	quiet := false
	err := c.state.View(func(v fsm.View) error {
		s, _ := v.Store(c.name)
		r, restored := v.Restored()
		quiet = restored && v.Time().Sub(r.At) < afterRestore
		due = time.Now().Add(-2*s.Numbers.Unknown - sweepingMargin) // its marks may have been taken just before, and live as long as the process
		return nil
	})
	if err != nil || quiet || c.began.After(due) {
		return err
	}
	found, err := c.unknownFiles(ctx, due)
	if err != nil || len(found) == 0 {
		return err
	}
	sleep(ctx, recordingTime) // an upload that was begun long ago may be about to be recorded
	if err := c.again(ctx); err != nil {
		return err
	}
	if found, err = c.forgotten(ctx, found, due); err != nil || len(found) == 0 {
		return err
	}
	c.tell(checkNote{Hint: fmt.Sprintf("%s files of copies that the state does not know are older than the sweeper lets any be, as %s",
		counted(len(found)), found[0])})
	return nil
}

// unknownFiles lists files that the state does not know and that were written before a time.
func (c *storeCheck) unknownFiles(ctx context.Context, due time.Time) (found []blobstore.CopyID, err error) {
	var page []blobstore.CopyID
	look := func() error {
		old, err := c.forgotten(ctx, page, due)
		found, page = append(found, old...), page[:0]
		return err
	}
	files := int64(0)
	for id, err := range c.store.Copies(ctx, blobstore.CopyID{}) {
		if err != nil {
			return nil, err
		}
		files++
		if page = append(page, id); len(page) < unknownPage {
			continue
		}
		if err := errors.Join(look(), c.pace(ctx, statCost)); err != nil {
			return nil, err
		}
		c.progress(files)
		if len(found) >= maxCounted {
			return found[:maxCounted], nil
		}
	}
	return found, look()
}

// forgotten returns those of ids that the state does not know, and whose files were written before a time.
func (c *storeCheck) forgotten(ctx context.Context, ids []blobstore.CopyID, due time.Time) (old []blobstore.CopyID, err error) {
	unknown, err := c.unknown(ids)
	if err != nil {
		return nil, err
	}
	for _, id := range unknown {
		info, err := c.store.Stat(ctx, id)
		if isOver(err) {
			return nil, err
		}
		if err == nil && info.Written.Before(due) { // else it was removed meanwhile
			old = append(old, id)
		}
	}
	return old, nil
}

// unknown returns those of ids that the state does not know.
func (c *storeCheck) unknown(ids []blobstore.CopyID) (unknown []blobstore.CopyID, err error) {
	err = c.state.View(func(v fsm.View) error {
		for _, id := range ids {
			at := fsm.Location{Incarnation: c.holder(), Copy: fsm.CopyID(id)}
			if state, _ := v.Copy(c.name, at); state == fsm.CopyUnknown {
				unknown = append(unknown, id)
			}
		}
		return nil
	})
	return unknown, err
}

// noteDoomed notes some copies that are doomed now.
func (c *storeCheck) noteDoomed(context.Context) error {
	return c.state.View(func(v fsm.View) error {
		c.doomed = v.Doomed(c.holder(), fsm.DoomedCopy{Store: c.name}, maxDoomed)
		c.doomed = slices.DeleteFunc(c.doomed, func(d fsm.DoomedCopy) bool { return d.Store != c.name }) // they come store by store
		return nil
	})
}

// checkDoomed waits for those to be removed. That some are not breaks nothing, but they take room for ever.
func (c *storeCheck) checkDoomed(ctx context.Context) error {
	c.stage = stageNote{Name: "doomed copies", Total: int64(len(c.doomed))}
	for began := time.Now(); ; sleep(ctx, removalPoll) {
		var left []fsm.DoomedCopy
		err := c.state.View(func(v fsm.View) error {
			for _, d := range c.doomed {
				if state, _ := v.Copy(d.Store, fsm.Location{Incarnation: c.holder(), Copy: d.Copy}); state == fsm.CopyDoomed {
					left = append(left, d)
				}
			}
			return nil
		})
		if err != nil || len(left) == 0 || ctx.Err() != nil {
			return err
		}
		c.progress(c.stage.Total - int64(len(left)))
		if time.Since(began) < removalTime {
			continue
		}
		if err := c.again(ctx); err != nil || c.alone {
			return err // then nothing can be confirmed either
		}
		c.tell(checkNote{Hint: fmt.Sprintf("%s doomed and not removed within %s, as %s",
			pluralCounted(len(left), "copy is", "copies are"), removalTime, left[0].Copy)})
		return nil
	}
}
