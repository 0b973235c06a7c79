package retention

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/fsm"
)

const (
	maxLooks    = 50_000 // tags and manifests that a run looks at; it ends with the repository in which there are more
	maxRemovals = 1000   // what a run removes
	maxSaid     = 100    // what a dry run says of one repository
	catalogPage = 100
)

// keeper is the job of one store.
type keeper struct {
	Deps

	walk  *walk // nil: not yet read
	waits bool  // the registry is read-only, and that was said
}

// walk is how far the job has come, as it stands in the state.
type walk struct {
	Anchor anchor `json:"anchor"`
	Ended  int64  `json:"ended"` // state time at the end of the last whole walk
	Walks  bool   `json:"walks"` // one is under way
	After  string `json:"after"` // the last repository of it that is done

	// What it has removed so far, or would have.
	Repositories int `json:"repositories"`
	Tags         int `json:"tags"`
	Manifests    int `json:"manifests"`
	Needed       int `json:"needed"` // what it has judged to go, and somebody came to need in time
}

// run goes on with a walk, or begins one that is due.
func (k *keeper) run(ctx context.Context) error {
	if err := k.State.View(fsm.View.Writable); k.waitsFor(err) {
		return nil
	}
	now, at, err := k.look()
	if err != nil {
		return err
	}
	w := k.walk
	switch {
	case w.Anchor == anchor{}: // a clock that is wrong for the moment may be right soon
		w.Anchor = anchor{Date: time.Now().UnixMilli(), At: now}
		return k.note(ctx)
	case !w.Walks && w.Ended != 0 && time.Duration(now-w.Ended) < k.Every:
		return nil
	}
	w.Walks = true
	at.date, w.Anchor = w.Anchor.date(time.Now().UnixMilli(), now)
	b := &burst{keeper: k, at: at, looks: k.looks, removals: k.removals}
	if err := b.run(ctx); err != nil && !k.waitsFor(err) {
		return err
	}
	return k.note(ctx)
}

// waitsFor reports whether something is no fault, but that the registry is read-only. It says so once each time: the
// walk goes on where it is when that ends.
func (k *keeper) waitsFor(err error) bool {
	is := errors.Is(err, fsm.ErrReadOnly)
	if is && !k.waits {
		k.Logger.Info("retention waits until the registry is not read-only any more", "store", k.Store)
	}
	k.waits = is
	return is
}

// look returns the state time, and how long a lease is. At the job's first look it reads how far others have
// come.
func (k *keeper) look() (now int64, at moment, err error) {
	err = k.State.View(func(v fsm.View) error {
		store, _ := v.Store(k.Store)
		now, at.gcDelay = int64(v.Time()), store.GCDelay
		if k.walk != nil {
			return nil
		}
		come := &walk{}
		if p, known := v.Progress(k.job()); known {
			if err := json.Unmarshal(p.Value, come); err != nil {
				return fmt.Errorf("read how far retention has come: %w", err)
			}
		}
		k.walk = come
		return nil
	})
	return now, at, err
}

// job is the name of the job's record.
func (k *keeper) job() string { return "retention/" + k.Store }

// note records how far the job has come.
func (k *keeper) note(ctx context.Context) error {
	value, err := json.Marshal(k.walk)
	if err != nil {
		return err
	}
	cmd := fsm.SetProgress{Job: k.job(), Value: value}
	err = k.State.View(func(v fsm.View) error {
		cmd.Term = v.Position().Term // the leader's own: it has applied its first entry
		return nil
	})
	if err == nil {
		_, err = fsm.Do(ctx, k.Proposer, cmd)
	}
	if err != nil {
		return fmt.Errorf("note how far retention has come: %w", err)
	}
	return nil
}

// burst is one run.
type burst struct {
	*keeper

	at              moment
	looks, removals int // how many more
}

// run goes through the repositories until all are done, or it has done enough.
func (b *burst) run(ctx context.Context) error {
	for b.looks > 0 && b.removals > 0 {
		page, err := b.page()
		if err != nil {
			return err
		}
		if len(page) == 0 {
			b.end()
			return nil
		}
		for _, name := range page {
			if done, err := b.repository(ctx, name); !done || err != nil {
				return err
			}
			b.walk.After = name
		}
	}
	return nil
}

// page returns the next repositories.
func (b *burst) page() (names []string, err error) {
	err = b.State.View(func(v fsm.View) error {
		names = v.Catalog(b.walk.After, catalogPage)
		return nil
	})
	return names, err
}

// end ends the walk. It is worth a line to everybody if anything was removed.
func (b *burst) end() {
	w := b.walk
	level := hclog.Debug
	if w.Tags+w.Manifests > 0 {
		level = hclog.Info
	}
	b.Logger.Log(level, "retention has gone through all repositories", "store", b.Store, "dry_run", b.Policies.config.DryRun,
		"repositories", w.Repositories, "tags_removed", w.Tags, "manifests_removed", w.Manifests, "needed_again", w.Needed)
	*w = walk{Anchor: w.Anchor, Ended: w.Anchor.At}
}

// repository does what the policies say of one repository. It is not done if the run has done enough.
func (b *burst) repository(ctx context.Context, name string) (done bool, err error) {
	if b.looks <= 0 {
		return false, nil
	}
	b.looks--
	p, err := b.Policies.in(b.State, b.Store, name)
	if p == nil || err != nil {
		return err == nil, err
	}
	r, err := p.read(ctx, b.State, name, len(p.KeepTags) > 0)
	if err != nil {
		return false, err
	}
	b.looks -= len(r.tags) + len(r.manifests)
	if b.Policies.config.DryRun {
		b.would(name, p.judge(r, b.at))
	} else if done, err := b.carryOut(ctx, name, r.seen, p.judge(r, b.at)); !done || err != nil {
		return false, err
	}
	b.walk.Repositories++
	return true, nil
}

// carryOut removes what goes.
func (b *burst) carryOut(ctx context.Context, repository string, seen uint64, things iter.Seq[Thing]) (done bool, err error) {
	for t := range things {
		switch {
		case !t.Goes:
			continue
		case b.removals == 0:
			return false, nil
		}
		b.removals--
		if err := b.remove(ctx, repository, seen, t); err != nil {
			return false, err
		}
	}
	return true, nil
}

// would says what would go, up to a number.
func (b *burst) would(repository string, things iter.Seq[Thing]) {
	going := 0
	for t := range things {
		if !t.Goes {
			continue
		}
		if going++; going <= maxSaid {
			b.say("tag would be removed", "manifest would be removed", repository, t)
		}
		b.count(t)
	}
	if going > maxSaid {
		b.Logger.Info("and more would be removed", "store", b.Store, "repository", repository, "more", going-maxSaid)
	}
}

// count counts what goes.
func (b *burst) count(t Thing) {
	if t.Tag != "" {
		b.walk.Tags++
	} else {
		b.walk.Manifests++
	}
}

// say says what goes: one of two messages, and why.
func (b *burst) say(ofTag, ofManifest, repository string, t Thing) {
	message, more := ofManifest, []any(nil)
	if t.Tag != "" {
		message, more = ofTag, []any{"tag", t.Tag}
	}
	b.Logger.Info(message, append(more, "store", b.Store, "repository", repository, "digest", t.Digest.String(),
		"pushed", dateOf(t.Pushed), "pulled", dateOf(t.Pulled), "reason", t.Why)...)
}

// dateOf is a date for people.
func dateOf(ms int64) string {
	if ms == 0 {
		return "never"
	}
	return time.UnixMilli(ms).UTC().Format(time.RFC3339)
}
