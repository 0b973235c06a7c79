package replicated

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/seed-16d79997/zot/blobstore"
)

// Open is as the contract says. This node's own copy is read if there is one, else, or where that is damaged, one
// of another node: first of those that have answered lately. What a stream does when its source fails stands
// at stream.
//
//   - blobstore.ErrCopyUnknown only if every holder said that it has no such copy
//   - blobstore.ErrCopyDamaged if all that answered have a damaged one
//   - blobstore.ErrUnreachable if it is neither: a holder that did not answer may have the bytes
func (s *Store) Open(ctx context.Context, b blobstore.Blob, offset, length int64) (blobstore.Reader, error) {
	if !s.elsewhere(b) {
		return s.Local.Open(ctx, b, offset, length)
	}
	if s.closed.Load() {
		return nil, fmt.Errorf("open copy: %w", blobstore.ErrClosed)
	}
	r, err := s.openStream(ctx, part{blob: b, offset: offset, length: length}, s.sources(b))
	if err != nil {
		return nil, fmt.Errorf("open copy: %w", err)
	}
	if r.fromElsewhere() && offset == 0 && r.end == b.Size && b.Size > 0 {
		return newWhole(r)
	}
	return r, nil
}

// elsewhere reports whether another node has a copy.
func (s *Store) elsewhere(b blobstore.Blob) bool {
	return slices.ContainsFunc(b.Locations, func(l blobstore.Location) bool { return l.Incarnation != s.Incarnation() })
}

// source is a holder of the blob that a stream is of.
type source struct {
	at       blobstore.Location
	own      bool
	err      error // the last
	gone     bool  // it is of no use any more: there is no copy, or it is damaged
	failedAt int64 // the offset at which it failed last; -1 if it did not
	failures int   // at that offset
}

// eligible reports whether a source may serve at an offset: one that failed may once others have brought the
// stream further, and one that was only too slow may be waited for when all others are worse.
func (src *source) eligible(at int64) bool {
	return !src.gone && (src.failedAt < at || src.failures == 1 && errors.Is(src.err, errSilent))
}

// failedHere is how often a source failed at an offset.
func (src *source) failedHere(at int64) int {
	if src.failedAt < at {
		return 0
	}
	return src.failures
}

// sources returns the holders of a blob in the order in which they are to be tried.
func (s *Store) sources(b blobstore.Blob) []*source {
	all := make([]*source, 0, len(b.Locations))
	for _, i := range rand.Perm(len(b.Locations)) { //nolint:gosec // spreads load; nothing depends on it
		l := b.Locations[i]
		all = append(all, &source{at: l, own: l.Incarnation == s.Incarnation(), failedAt: -1})
	}
	slices.SortStableFunc(all, func(a, b *source) int { return s.distance(a) - s.distance(b) })
	return all
}

// distance is how far away a source is.
func (s *Store) distance(src *source) int {
	switch {
	case src.own:
		return 0
	case s.reachable(src.at.Incarnation):
		return 1
	}
	return 2
}

// fail notes what a source said at an offset.
func (src *source) fail(at int64, err error) {
	src.failures = src.failedHere(at) + 1
	src.err, src.failedAt = err, at
	src.gone = src.own || errors.Is(err, blobstore.ErrCopyUnknown) || errors.Is(err, blobstore.ErrCopyDamaged) ||
		errors.Is(err, ErrNodeUnknown)
}

// outcome is the error of a stream that no source is left for.
func outcome(sources []*source) error {
	var errs []error
	unknown, damaged, silent := 0, 0, 0
	for _, src := range sources {
		switch {
		case src.err == nil:
			continue
		case errors.Is(src.err, blobstore.ErrCopyUnknown), errors.Is(src.err, ErrNodeUnknown):
			unknown++
		case errors.Is(src.err, blobstore.ErrCopyDamaged):
			damaged++
		case isUnreachable(src.err):
			silent++
		}
		errs = append(errs, src.err)
	}
	all := errors.Join(errs...)
	switch {
	case unknown == len(sources):
		return fmt.Errorf("%w: %w", blobstore.ErrCopyUnknown, all)
	case damaged > 0 && damaged+silent == len(sources):
		return all
	}
	return &unreachable{all}
}

// unreachable is blobstore.ErrUnreachable. What single holders said must not be taken for what is true of all.
type unreachable struct{ cause error }

// Error is for people.
func (e *unreachable) Error() string {
	return blobstore.ErrUnreachable.Error() + ": " + e.cause.Error()
}

// Is makes the error ErrUnreachable, and what says that this node's own store could not look.
func (e *unreachable) Is(target error) bool {
	return target == blobstore.ErrUnreachable ||
		(target == blobstore.ErrOffline || target == blobstore.ErrClosed) && errors.Is(e.cause, target)
}
