// Package retention removes tags, and manifests that no tag needs, by the policies of a store
// (storage.retention): what was pushed or pulled lately stays, and what no rule keeps goes.
//
// It is a job of the leader, and does not know it: its context ends with the leadership, its proposer is
// bound to the term (invariant 10). It walks through the repositories one by one. What the policy says of a
// repository is a function of what is known of it and of the date (judge.go), which is all that decides;
// the rest reads the one and carries out the other. Each command carries the log index of what was read, and
// removes nothing that somebody has pushed, tagged, listed or pulled since, or whose subject has come: what
// comes in between wins, and nothing is gone for a moment. Of manifests only those are read that no tag names
// and no index lists. How far a walk has come stands in the state: who leads next goes on there. A run looks at
// so many records and removes so many things at most, and one repository is in memory at a time, some 200 bytes
// for each tag and manifest.
//
// # Dates
//
// What was pushed or pulled when, the state says: the date of the entry that did it, by the clock of who led
// then. How long ago that is takes a second date, today's, and the leader's clock alone would not do: a
// machine that comes up in the wrong year would remove everything. So a walk's date is the leader's clock,
// held to what state time says (date.go). State time counts only while somebody leads, and by a clock that is
// never set. The date passes ten times as fast at most, counted from the walk before: a clock that is a year
// ahead for an hour ages nothing by more than ten hours, and after a weekend without power, or the restore of
// an old backup, what is old goes a little later. Where dates are wrong, things stay.
//
// Start with New; run.go is a run, policy.go what may be asked for, judge.go what follows from it.
package retention

import (
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
)

// every is how soon after a run the next one looks whether a walk is due or has to go on, at the latest.
const every = 10 * time.Second

// State is the replicated state of this node.
type State interface {
	// View calls fn with the newest applied state and returns its error.
	View(fn func(v fsm.View) error) error
}

// Deps is what the job of one store works with.
type Deps struct {
	Store    string // its name in the state
	Policies *Policies
	State    State
	Proposer fsm.Proposer  // of this term
	Every    time.Duration // from the end of one walk to the next, in state time
	Logger   hclog.Logger  // nil: none

	looks, removals int // how many in a run; 0: as many as there should be
}

// New returns the job of one store. It fails if something is missing that it cannot do without.
func New(d Deps) (jobs.Job, error) {
	switch {
	case d.Store == "":
		return jobs.Job{}, errors.New("retention: a store without a name")
	case d.Policies == nil || d.State == nil || d.Proposer == nil:
		return jobs.Job{}, errors.New("retention: policies, a state and a proposer are needed")
	case d.Every <= 0:
		return jobs.Job{}, errors.New("retention: an interval is needed")
	}
	if d.Logger == nil {
		d.Logger = hclog.NewNullLogger()
	}
	if d.looks == 0 {
		d.looks = maxLooks
	}
	if d.removals == 0 {
		d.removals = maxRemovals
	}
	k := &keeper{Deps: d}
	return jobs.Job{Name: "retention of store " + d.Store, Every: min(every, d.Every), Do: k.run}, nil
}
