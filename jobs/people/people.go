// Package people does what time brings for those who log in: it notes when API keys were used, and removes keys and
// sessions that are over.
//
// A use is counted in memory, and waits for nothing; what a node has not noted when it ends is lost. Whether a key or
// session still holds does not hang on this package: readers go by their own clocks.
//
// Start with New. Any node may note uses at any time; Expire is the leader's, though no invariant hangs on that.
package people

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
)

const (
	every       = 30 * time.Second
	expireEvery = 10 * time.Minute
	maxUses     = 10_000 // keys between two notes; the use of any other is not noted
	maxNoted    = 300    // in one command (fsm.UseAPIKeys)
)

// Uses knows when API keys were last used at this node.
type Uses struct {
	proposer fsm.Proposer

	mu   sync.Mutex
	last map[fsm.SecretHash]int64 // Unix milliseconds
}

// New returns what counts uses, and the job that notes them through a proposer that is bound to no term. It fails without one.
func New(p fsm.Proposer) (*Uses, jobs.Job, error) {
	if p == nil {
		return nil, jobs.Job{}, errors.New("people: a proposer is needed")
	}
	u := &Uses{proposer: p, last: map[fsm.SecretHash]int64{}}
	return u, jobs.Job{Name: "note uses of API keys", Every: every, Do: u.note}, nil
}

// Used counts a use of the key with a hash. It may be called from any goroutine.
func (u *Uses) Used(hash fsm.SecretHash, when time.Time) {
	u.add(fsm.KeyUse{Hash: hash, Date: when.UnixMilli()})
}

func (u *Uses) add(use fsm.KeyUse) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if last, counted := u.last[use.Hash]; counted && last < use.Date || !counted && len(u.last) < maxUses {
		u.last[use.Hash] = use.Date
	}
}

// take returns what was counted since the last time, by hash.
func (u *Uses) take() (all []fsm.KeyUse) {
	u.mu.Lock()
	defer u.mu.Unlock()
	compare := func(a, b fsm.SecretHash) int { return bytes.Compare(a[:], b[:]) }
	for _, hash := range slices.SortedFunc(maps.Keys(u.last), compare) {
		all = append(all, fsm.KeyUse{Hash: hash, Date: u.last[hash]})
	}
	clear(u.last)
	return all
}

// note notes what was counted. What could not be is noted the next time.
func (u *Uses) note(ctx context.Context) error {
	var failed error
	for batch := range slices.Chunk(u.take(), maxNoted) {
		if failed == nil {
			_, failed = fsm.Do(ctx, u.proposer, fsm.UseAPIKeys{Uses: batch})
		}
		if failed != nil {
			for _, use := range batch {
				u.add(use)
			}
		}
	}
	if failed != nil {
		return fmt.Errorf("note uses of API keys: %w", failed)
	}
	return nil
}

// State is the replicated state.
type State interface {
	// View calls fn with the newest applied state and returns its error.
	View(fn func(v fsm.View) error) error
}

// Expire is the job that removes sessions that are over, and API keys that have been for 30 days.
func Expire(state State, p fsm.Proposer) jobs.Job {
	return jobs.Job{Name: "remove what is over", Every: expireEvery, Do: func(ctx context.Context) error {
		var sessions, keys bool
		err := state.View(func(v fsm.View) error {
			now := time.Now()
			sessions, keys = v.ExpiredSessions(now), v.ExpiredAPIKeys(now)
			return nil
		})
		if err != nil {
			return err
		}
		if sessions {
			err = untilDone(ctx, p, fsm.ExpireSessions{})
		}
		if keys {
			err = errors.Join(err, untilDone(ctx, p, fsm.ExpireAPIKeys{}))
		}
		return err
	}}
}

// untilDone proposes a command until it has nothing more to remove.
func untilDone(ctx context.Context, p fsm.Proposer, cmd fsm.CommandOf[fsm.ExpiredRemoved]) error {
	for {
		done, err := fsm.Do(ctx, p, cmd)
		if err != nil || !done.More {
			return err
		}
	}
}
