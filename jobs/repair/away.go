package repair

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
)

const (
	// patience is how long a member may be silent before its copies are made elsewhere: longer than a
	// machine takes to start again, so that nothing is copied for that.
	patience = 10 * time.Minute
	// hush is how long a store has not answered when its silence begins to count: a question is asked every
	// few seconds.
	hush = 15 * time.Second
	// watchEvery is how often each node looks.
	watchEvery = 10 * time.Second
)

// Watch judges which members are away, to one store: the disk of another may be there. Each node keeps one for each
// store, whoever leads: so a new leader knows since when they have been silent, and elections put nothing off.
type Watch struct {
	store  string
	copies Copies
	log    hclog.Logger

	mu    sync.Mutex
	since map[blobstore.Incarnation]blobstore.Time // the state time at which a silent member was first seen so
	away  map[blobstore.Incarnation]bool
}

// NewWatch returns a node's watch for the store of a name. It sees what Job and the job of the leader look at.
func NewWatch(store string, copies Copies, log hclog.Logger) *Watch {
	return &Watch{store: store, copies: copies, log: log, since: map[blobstore.Incarnation]blobstore.Time{}}
}

// Job is every node's: it looks at the members again and again.
func (w *Watch) Job(state State) jobs.Job {
	return jobs.Job{Name: "see which nodes are away from store " + w.store, Every: watchEvery, Do: func(context.Context) error {
		return state.View(func(v fsm.View) error {
			w.judge(members(v, w.store), blobstore.Time(v.Time()))
			return nil
		})
	}}
}

// judge says of each member whether it is away. It is asked again and again, with the state time of the moment.
//
// Both clocks must have gone on for long enough. State time stands still while this process, or the
// cluster, does. The silence alone begins anew with any answer, also one between two looks.
func (w *Watch) judge(members []member, now blobstore.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	since, away := map[blobstore.Incarnation]blobstore.Time{}, map[blobstore.Incarnation]bool{}
	for _, m := range members {
		silence := w.copies.Silence(m.incarnation)
		if silence < hush {
			continue
		}
		first, before := w.since[m.incarnation]
		if !before {
			first = now
		}
		since[m.incarnation] = first
		if silence >= patience && time.Duration(now-first) >= patience {
			away[m.incarnation] = true
		}
	}
	if 2*len(since) >= len(members) {
		clear(away) // no majority answers: it is rather this node that is cut off
	}
	for i := range members {
		members[i].away = away[members[i].incarnation]
		w.tell(members[i].incarnation, members[i].away)
	}
	w.since, w.away = since, away
}

// tell says that a member is away now, or is not any more.
func (w *Watch) tell(i blobstore.Incarnation, away bool) {
	switch {
	case away && !w.away[i]:
		w.log.Warn("node is away: what is on it is copied to other nodes", "store", w.store, "node", i.String(), "after_seconds", patience.Seconds())
	case !away && w.away[i]:
		w.log.Info("node is not away any more", "store", w.store, "node", i.String())
	}
}
