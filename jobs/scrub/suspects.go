package scrub

import (
	"context"
	"slices"
	"sync"

	"github.com/seed-16d79997/zot/blobstore"
)

// maxSuspects bounds how many are waited for. What finds no room is found again: by the next reader, or in
// the next pass.
const maxSuspects = 1000

// Suspects are copies of this node that somebody took for bad. They are judged by the job, not by those.
type Suspects struct {
	any chan struct{} // has something in it if there may be any

	mu  sync.Mutex
	all map[blobstore.CopyID]struct{}
}

// NewSuspects returns a list without any.
func NewSuspects() *Suspects {
	return &Suspects{any: make(chan struct{}, 1), all: map[blobstore.CopyID]struct{}{}}
}

// Add has a copy looked after. It may be called from anywhere, also in the middle of a read: it does nothing
// else, and waits for nothing.
func (s *Suspects) Add(id blobstore.CopyID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) < maxSuspects {
		s.all[id] = struct{}{}
	}
	select {
	case s.any <- struct{}{}:
	default:
	}
}

// wait returns those that there are, as soon as there are any; none if ctx ends before.
func (s *Suspects) wait(ctx context.Context) []blobstore.CopyID {
	for {
		if all := s.list(); len(all) > 0 {
			return all
		}
		select {
		case <-s.any:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Suspects) list() (all []blobstore.CopyID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.all {
		all = append(all, id)
	}
	slices.SortFunc(all, func(a, b blobstore.CopyID) int { return slices.Compare(a[:], b[:]) })
	return all
}

// settled takes one off the list.
func (s *Suspects) settled(id blobstore.CopyID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, id)
}
