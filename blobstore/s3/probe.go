package s3

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/seed-16d79997/zot/blobstore"
)

// probe finds out, with the key of a copy that is none, whether the bucket refuses to write a key that is there, by one request
// and by parts. A store that does not know the condition ignores it, or refuses all that carry it.
//
// Without it nothing is lost: a key is drawn anew for each copy, so that nobody overwrites another's. What is weaker
// is that a request which the network repeats late is carried out. What a crash leaves of it is a copy that the state
// does not know, and swept like any.
func (s *Store) probe(ctx context.Context, k keys) (onlyNew bool, err error) {
	key := k.copy(blobstore.NewCopyID())
	onlyNew, err = s.refusesTaken(ctx, key)
	if err = errors.Join(err, s.bucket.remove(ctx, key)); err != nil {
		return false, fmt.Errorf("probe the bucket: %w", err)
	}
	if !onlyNew {
		s.log.Warn("the bucket has no conditional writes: a write that the network repeats late is not refused, and brings bytes back that were removed until they are swept",
			"bucket", s.config.Bucket.Name)
	}
	return onlyNew, nil
}

// Conditional reports whether the bucket was found to have conditional writes.
func (s *Store) Conditional() bool { return s.onlyNew }

// refusesTaken reports whether two ways to write a key that is taken both fail for that.
func (s *Store) refusesTaken(ctx context.Context, key string) (bool, error) {
	if err := s.bucket.put(ctx, key, strings.NewReader("probe"), 5, false); err != nil {
		return false, err // this must work, or nothing will
	}
	if err := s.bucket.put(ctx, key, strings.NewReader("probe"), 5, true); !errors.Is(err, errExists) {
		return false, nil
	}
	upload, err := s.bucket.begin(ctx, key)
	if err != nil {
		return false, err
	}
	etag, err := s.bucket.part(ctx, key, upload, 1, strings.NewReader("probe"), 5)
	if err != nil {
		return false, errors.Join(err, s.bucket.abort(ctx, key, upload))
	}
	err = s.bucket.complete(ctx, key, upload, []string{etag}, true)
	return errors.Is(err, errExists), s.bucket.abort(ctx, key, upload)
}
