package gc

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

const (
	// pageSize is how much is looked at in one view and collected by one command. With three copies a blob,
	// that is as much as one command may touch; pushes wait behind it no longer than for that.
	pageSize = 40
	// maxRest bounds the pause after a command.
	maxRest = time.Second
)

// collector is the job of one store.
type collector struct{ Deps }

// run collects until nothing is left that can go now. Repositories come last: one that loses its last link
// is vacant.
func (c *collector) run(ctx context.Context) error {
	b := &burst{collector: c, began: time.Now()}
	defer b.log()
	if err := through(ctx, c.State, c.expired, b.collectLinks); err != nil {
		return err
	}
	if err := through(ctx, c.State, c.unlinked, b.collectBlobs); err != nil {
		return err
	}
	return through(ctx, c.State, c.vacant, b.collectRepositories)
}

// through collects what an index lists behind after, page by page. A page is asked for again as long as
// something of it goes, for a command has bounds of its own. One of which nothing goes came into use since
// the look, all of it, and is left behind; what of it is still garbage comes up in the next run.
func through[T any](
	ctx context.Context, state State, look func(v fsm.View, after T) []T, collect func(ctx context.Context, page []T) (went int, err error),
) error {
	var after T
	for {
		var page []T
		err := state.View(func(v fsm.View) error {
			page = look(v, after)
			return nil
		})
		if err != nil || len(page) == 0 {
			return err
		}
		went, err := collect(ctx, page)
		if err != nil {
			return err
		}
		if went == 0 {
			after = page[len(page)-1]
		}
	}
}

// expired lists links whose lease has run out, from the first on: that is where what is left of them stands.
func (c *collector) expired(v fsm.View, after fsm.LinkName) []fsm.LinkName {
	if after != (fsm.LinkName{}) {
		return nil
	}
	return v.Expired(c.Store, pageSize)
}

// unlinked lists blobs that have lost their last link by a command of a client.
func (c *collector) unlinked(v fsm.View, after fsm.Digest) []fsm.Digest {
	return v.Unlinked(c.Store, after, pageSize)
}

// vacant lists repositories with nothing in them, those of other stores too.
func (c *collector) vacant(v fsm.View, after string) []string { return v.Vacant(after, pageSize) }

// burst is what one run has collected.
type burst struct {
	*collector
	began        time.Time
	blobs        fsm.BlobsCollected
	repositories int
}

// collectLinks collects links, and each blob that loses its last link with one of them.
func (b *burst) collectLinks(ctx context.Context, page []fsm.LinkName) (int, error) {
	done, err := b.propose(ctx, fsm.CollectBlobs{Store: b.Store, Links: page})
	return done.Links, err
}

func (b *burst) collectBlobs(ctx context.Context, page []fsm.Digest) (int, error) {
	done, err := b.propose(ctx, fsm.CollectBlobs{Store: b.Store, Digests: page})
	return done.Blobs, err
}

func (b *burst) propose(ctx context.Context, cmd fsm.CollectBlobs) (fsm.BlobsCollected, error) {
	done, err := do(ctx, b.Proposer, cmd)
	if err != nil {
		return done, fmt.Errorf("collect links and blobs: %w", err)
	}
	b.blobs.Links += done.Links
	b.blobs.Blobs += done.Blobs
	b.blobs.Copies += done.Copies
	b.blobs.Bytes += done.Bytes
	return done, nil
}

// collectRepositories ends those repositories that are of this store.
func (b *burst) collectRepositories(ctx context.Context, page []string) (int, error) {
	var cmd fsm.CollectRepositories
	err := b.State.View(func(v fsm.View) error {
		for _, name := range page {
			if r, err := v.Repository(name); err == nil && r.Store == b.Store {
				cmd.Repositories = append(cmd.Repositories, name)
			}
		}
		return nil
	})
	if err != nil || len(cmd.Repositories) == 0 {
		return 0, err
	}
	done, err := do(ctx, b.Proposer, cmd)
	if err != nil {
		return 0, fmt.Errorf("collect repositories: %w", err)
	}
	b.repositories += done.Repositories
	return done.Repositories, nil
}

// do proposes a command and then rests as long as that took: half of the log's time, and more, is left to
// those who push, however much garbage there is.
func do[R any](ctx context.Context, p fsm.Proposer, cmd fsm.CommandOf[R]) (R, error) {
	began := time.Now()
	done, err := fsm.Do(ctx, p, cmd)
	if err != nil {
		return done, err
	}
	rest := time.NewTimer(min(time.Since(began), maxRest))
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-ctx.Done(): // the next command fails by it
	}
	return done, nil
}

// log says what the run has collected, if it was anything.
func (b *burst) log() {
	if b.blobs == (fsm.BlobsCollected{}) && b.repositories == 0 {
		return
	}
	b.Logger.Info("garbage collected", "store", b.Store, "links", b.blobs.Links, "blobs", b.blobs.Blobs, "copies", b.blobs.Copies,
		"bytes", b.blobs.Bytes, "repositories", b.repositories, "duration_seconds", time.Since(b.began).Seconds())
}
