package fsm

import (
	"fmt"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// The bounds of what jobs keep in the state.
const (
	maxJobName  = 512 // bytes
	maxProgress = 64 << 10
	maxJobs     = 1000
)

// SetProgress records how far a job has come, or what a leader has assigned to a node. A job names its
// records as it likes, by a path that begins with its own name; an empty Value removes one.
//
// Term is that of the leadership for which the job works: the leader's own when it assigns, and that of
// the assignment when a node reports. The record keeps it, so what a node still does for a deposed
// leader is refused as soon as the new one has assigned anew (invariant 10).
//
// Refused with:
//   - ErrTermOver if the record is of a later term
//   - ErrTooMany for the 1,001st record
type SetProgress struct {
	Job      string        `cbor:"1,keyasint"`
	Term     uint64        `cbor:"2,keyasint"`
	Value    []byte        `cbor:"3,keyasint,omitempty"`
	Lifetime time.Duration `cbor:"4,keyasint,omitempty"` // in state time; 0: it stays
}

// Progress is what a job has recorded.
type Progress struct {
	Job     string
	Term    uint64
	Value   []byte
	Expires entry.Time // 0: never
}

// progress is Progress as a record.
type progress struct {
	Term    uint64     `cbor:"1,keyasint"`
	Value   []byte     `cbor:"2,keyasint"`
	Expires entry.Time `cbor:"3,keyasint,omitempty"`
}

func (SetProgress) wire() kind { return kind{"set-progress", 1} }

func (c SetProgress) check() error {
	switch {
	case c.Job == "" || len(c.Job) > maxJobName:
		return fmt.Errorf("a job's name has 1 to %d bytes, not %d", maxJobName, len(c.Job))
	case len(c.Value) > maxProgress:
		return fmt.Errorf("progress of %d bytes is more than %d", len(c.Value), maxProgress)
	case c.Lifetime < 0 || c.Lifetime > maxGCDelay:
		return fmt.Errorf("lifetime %s is not between 0 and %s", c.Lifetime, maxGCDelay)
	case c.Term == 0:
		return fmt.Errorf("progress without a term")
	}
	return nil
}

func (c SetProgress) apply(t *tx) (None, error) {
	if c.Job == "" || len(c.Job) > maxJobName || c.Term > t.term {
		return None{}, ErrInvalid // a term that was not yet would shut out those that come
	}
	key := []byte(c.Job)
	old, known := load[progress](t.reader, jobs, key)
	switch {
	case known && old.Term > c.Term:
		return None{}, ErrTermOver.with("%s is of term %d, not %d", c.Job, old.Term, c.Term)
	case len(c.Value) == 0:
		t.del(jobs, key)
		return None{}, nil
	case !known && t.countRecords(jobs, maxJobs) == maxJobs:
		return None{}, ErrTooMany.with("%d records of jobs", maxJobs)
	}
	next := progress{Term: c.Term, Value: c.Value}
	if c.Lifetime > 0 {
		next.Expires = t.now.Add(c.Lifetime)
	}
	t.save(jobs, key, next)
	return None{}, nil
}

// Progress returns a job's record, unless it has expired at the view's state time.
func (v View) Progress(job string) (Progress, bool) {
	p, known := load[progress](v.reader, jobs, []byte(job))
	if !known || p.over(v.Time()) {
		return Progress{}, false
	}
	return Progress{Job: job, Term: p.Term, Value: p.Value, Expires: p.Expires}, true
}

// ProgressBelow returns the records whose names begin with prefix, by name, expired ones too: whoever
// leads removes those.
func (v View) ProgressBelow(prefix string) (all []Progress) {
	for key, value := range v.scan(jobs, []byte(prefix), nil) {
		p := mustDecode[progress](value)
		all = append(all, Progress{Job: string(key), Term: p.Term, Value: p.Value, Expires: p.Expires})
	}
	return all
}

func (p progress) over(now entry.Time) bool { return p.Expires != 0 && now >= p.Expires }
