package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed-16d79997/zot/fsm"
)

// restorePatience is how long a restore waits for a cluster that does not get on.
const restorePatience = time.Minute

// restorer restores a snapshot. Whatever ends it, the same command goes on from there.
type restorer struct {
	node *snapshotClient
	from source
	tmp  string
	show *display
}

// restored is what became of a restore.
type restored struct {
	already bool // the state had been restored before
	records uint64
	blobs   int   // that were pushed
	bytes   int64 // of these
	missing []missingBlob
}

// run restores the state, then the bytes.
func (r *restorer) run(ctx context.Context) (done restored, err error) {
	saved, err := r.from.state(ctx, r.tmp)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, saved.Close()) }()
	if done.already, done.records, err = r.state(ctx, saved); err != nil {
		return done, err
	}
	return done, r.blobs(ctx, &done)
}

// state brings the state, from where an earlier attempt has left it.
func (r *restorer) state(ctx context.Context, saved *fsm.Saved) (already bool, records uint64, err error) {
	begin, err := saved.Begin()
	if err != nil {
		return false, 0, fmt.Errorf("snapshot %s cannot be used: %w", r.from, err)
	}
	p := newProgress(r.show, "restoring the state", int64(begin.Records), items) //nolint:gosec // a count
	defer p.end()
	began := time.Now()
	for counted := int64(0); ; {
		now, err := r.node.restoring(ctx)
		switch {
		case err != nil:
		case now.Restoring == nil && now.Restored != nil && now.Restored.Backup == saved.ID():
			return counted == 0, begin.Records, nil
		default:
			if now.Restoring != nil && now.Restoring.Backup == saved.ID() {
				done := int64(now.Restoring.Done) //nolint:gosec // a count
				if p.add(done - counted); done > counted {
					began = time.Now()
				}
				counted = done
			}
			var moved int64
			moved, err = r.bring(ctx, saved, begin, now.Restoring, p)
			if counted += moved; moved > 0 {
				began = time.Now()
			}
		}
		if err == nil {
			continue // look, whether it is so
		}
		_, refused := errors.AsType[*fsm.Refusal](err)
		waits := errors.Is(err, fsm.ErrRestoreStep) || errors.Is(err, fsm.ErrStoreUnknown) // another one restores too; a leader has not set its stores yet
		if refused && !waits || ctx.Err() != nil || errors.Is(err, errNoNode) || time.Since(began) > worthTrying(err) {
			return false, 0, wordsFor(err)
		}
		sleep(ctx, snapshotPause)
	}
}

// worthTrying is how long it is worth while to try again after an error.
func worthTrying(err error) time.Duration {
	if _, refused := errors.AsType[*fsm.Refusal](err); refused || isFinal(err) {
		return restorePatience / 12
	}
	return restorePatience
}

// bring begins the restore, or goes on with it, and ends it. It returns how many records have come.
func (r *restorer) bring(ctx context.Context, saved *fsm.Saved, begin fsm.BeginRestore, now *fsm.Restoring, p *progress) (moved int64, err error) {
	if now == nil || now.Backup != saved.ID() {
		if _, err := fsm.Do(ctx, r.node, begin); err != nil {
			return 0, err
		}
		now = &fsm.Restoring{}
	}
	for at := now.Through; ; {
		next, more, err := saved.Next(at)
		if err != nil {
			return moved, err
		}
		if !more {
			break
		}
		if _, err := fsm.Do(ctx, r.node, next); err != nil {
			return moved, err
		}
		at = next.Through
		moved += int64(len(next.Records))
		p.add(int64(len(next.Records)))
	}
	_, err = fsm.Do(ctx, r.node, fsm.EndRestore{Backup: saved.ID()})
	return moved, err
}

// wordsFor says what can be done about a refusal.
func wordsFor(err error) error {
	switch {
	case errors.Is(err, fsm.ErrNotEmpty):
		return fmt.Errorf("%w: a snapshot is restored into a cluster of new nodes, that holds nothing yet", err)
	case errors.Is(err, fsm.ErrStoreUnknown):
		return fmt.Errorf("%w: the snapshot has repositories in a store that no node's configuration has; add it to storage.subPaths, or take the snapshot's storage section", err)
	case errors.Is(err, fsm.ErrLevelTooLow):
		return fmt.Errorf("%w: raise the level of this cluster first", err)
	case errors.Is(err, fsm.ErrRestoring):
		return err
	case errors.Is(err, fsm.ErrRestoreStep):
		return fmt.Errorf("%w: what this cluster was given is not what the snapshot has; begin again with empty nodes", err)
	}
	return fmt.Errorf("%w; the same command goes on from there", err)
}

// blobs pushes the bytes of all blobs that have no good copy, those of the restored state among them.
func (r *restorer) blobs(ctx context.Context, done *restored) error {
	lacking, total, err := r.lacking(ctx)
	if err != nil {
		return wordsFor(err)
	}
	p := newProgress(r.show, "restoring blobs", total, bytesText)
	var mu sync.Mutex
	outer := ctx
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(snapshotWorkers)
	for _, b := range lacking {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			err := r.pushOne(ctx, b, p)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				done.blobs, done.bytes = done.blobs+1, done.bytes+b.Size
			case errors.Is(err, errBytes), errors.Is(err, fs.ErrNotExist):
				done.missing = append(done.missing, missingBlob{b.Digest, b.Size, b.Repository, whyBad(err)})
			default:
				return fmt.Errorf("push %s to %s: %w; what has come stays, and the same command goes on from there", b.Digest, b.Repository, err)
			}
			return nil
		})
	}
	err = errors.Join(group.Wait(), outer.Err())
	p.end()
	slices.SortFunc(done.missing, func(a, b missingBlob) int { return strings.Compare(a.Digest+a.Repository, b.Digest+b.Repository) })
	return err
}

// lacking lists the blobs that have no good copy, and their bytes.
func (r *restorer) lacking(ctx context.Context) (all []lackingBlob, bytes int64, err error) {
	var at lackingRequest
	for {
		var page lackingAnswer
		err := patiently(ctx, func() error { return r.node.call(ctx, http.MethodPost, "/snapshot/lacking", at, &page) })
		if err != nil {
			return nil, 0, err
		}
		if !page.More {
			return all, bytes, nil
		}
		for _, b := range page.Blobs {
			all = append(all, b)
			bytes += b.Size
		}
		at = page.Next
	}
}

// pushOne pushes one blob. Without a place it cannot be had.
func (r *restorer) pushOne(ctx context.Context, b lackingBlob, p *progress) error {
	if r.from.place == nil {
		return fs.ErrNotExist
	}
	return patiently(ctx, func() error {
		body, closer, err := openSaved(ctx, r.from.place, b.Digest, b.Size)
		if err != nil {
			return err
		}
		seen := &noting{from: body}
		counted := &counting{from: seen, into: p}
		err = r.node.push(ctx, b.Repository, b.Digest, b.Size, counted)
		if err != nil {
			counted.undo()
			if errors.Is(seen.err, errBytes) {
				err = seen.err
			}
		}
		return errors.Join(err, closer.Close())
	})
}
