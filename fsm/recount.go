package fsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// ErrBusy is returned by what only one caller at a time may do.
var ErrBusy = errors.New("already under way")

// recountAtOnce bounds the bytes that one step of a recount reads, and so how long Apply waits for it.
const recountAtOnce = 256 << 10

// recount is a bucket's sum on the way of being made anew: over the records up to and including a key,
// as they are now.
type recount struct {
	bucket bucket
	last   []byte // the key up to which records are in sum; nil: none is yet
	sum    sum
}

// passed reports whether the record at key is in the sum, or would be. A nil recount has passed none.
func (r *recount) passed(b bucket, key []byte) bool {
	return r != nil && r.bucket == b && r.last != nil && bytes.Compare(key, r.last) <= 0
}

// Recount reads every replicated record again and compares what it finds with the running sums, which
// do not see a disk that changes bits (DESIGN 2, "State hash"). A difference fences this node.
//
// It reads in small steps, each a transaction of its own, and before each asks pace, which waits as
// long as the caller wants, and ends the recount by failing. One transaction over all of it would let
// the file grow by everything that is changed meanwhile. A change to what was read already is counted
// by Apply itself, so sum and recount are of one state when the last record is read.
//
// It fails with pace's error, with ErrDamaged if the node is fenced for what was found, with ErrBusy
// while another one runs, with ErrClosed after Close.
func (s *State) Recount(ctx context.Context, pace func(ctx context.Context, bytes int) error) error {
	if !s.recounting.TryLock() {
		return fmt.Errorf("recount: %w", ErrBusy)
	}
	defer s.recounting.Unlock()
	defer s.setRecount(nil)
	for _, b := range replicated() {
		r := &recount{bucket: b}
		s.setRecount(r)
		for done := false; !done; {
			if err := pace(ctx, recountAtOnce); err != nil {
				return fmt.Errorf("recount of %s: %w", b, err)
			}
			var err error
			if done, err = s.recountStep(r); err != nil {
				return fmt.Errorf("recount of %s: %w", b, err)
			}
		}
	}
	return nil
}

func (s *State) setRecount(r *recount) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.recount = r
}

// recountStep reads on; it reports whether it was the bucket's last step.
func (s *State) recountStep(r *recount) (done bool, err error) {
	db := s.acquire()
	if db == nil {
		return false, ErrClosed
	}
	defer s.release(db)
	damage := s.lockedStep(db, r, &done)
	if damage != nil {
		s.fence(db, damage.Error())
	}
	return done, damage
}

func (s *State) lockedStep(db *database, r *recount, done *bool) error {
	s.writing.Lock() // no change between this transaction and what r has counted
	defer s.writing.Unlock()
	if !s.isCurrent(db) {
		return nil // the next step is of the new state
	}
	if s.recount != r { // a snapshot was installed: what was counted is of another state
		*r = recount{bucket: r.bucket}
		s.recount = r
	}
	damage, err := db.read(func(v View) error {
		*done = r.step(v.reader)
		return nil
	})
	return errors.Join(damage, err)
}

// step counts the next records; it reports whether they were the last, and then compares: it panics
// with ErrDamaged if the sum is not the running one.
func (r *recount) step(v reader) bool {
	size := 0
	for k, value := range v.scan(r.bucket, nil, r.last) {
		if r.last != nil && bytes.Equal(k, r.last) {
			continue
		}
		if size >= recountAtOnce {
			return false
		}
		r.sum.add(sumOf(r.bucket, k, value))
		r.last = append(r.last[:0], k...)
		size += len(k) + len(value)
	}
	if running := v.runningSum(r.bucket); r.sum != running {
		panic(fmt.Errorf("%w: bucket %s: its records add up to %x, its running sum is %x", ErrDamaged, r.bucket, r.sum.bytes(), running.bytes()))
	}
	return true
}
